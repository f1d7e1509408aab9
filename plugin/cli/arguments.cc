#include "cli/arguments.h"

#include "base/errors.h"

namespace davit::cli {

namespace {

constexpr const char* kReferences =
    "REFERENCE is VOLUME (its newest snapshot), VOLUME@latest, VOLUME@2026-11-21T18:00 (the newest "
    "then), VOLUME@ID,\n"
    "a snapshot ID, or HOST:VOLUME@... for a volume of another host.";

// A command that notes its name when it was said.
CLI::App* add_command(CLI::App& parent, Arguments& arguments, const std::string& name,
                      const std::string& what) {
  CLI::App* command = parent.add_subcommand(name, what);
  command->fallthrough();  // --json and the like may come behind it
  const std::string full = parent.get_parent() == nullptr ? name : parent.get_name() + " " + name;
  command->final_callback([&arguments, full] { arguments.command = full; });
  return command;
}

// Exactly one of a volume and a container.
void add_restore(CLI::App& app, Arguments& arguments) {
  CLI::App* restore = add_command(app, arguments, "restore",
                                  "Bring a volume back from a snapshot, or a container with all that belongs to it");
  restore->footer(kReferences);
  CLI::Option* reference =
      restore->add_option("reference", arguments.reference, "The volume to bring back")
          ->type_name("REFERENCE");
  CLI::Option* container =
      restore
          ->add_option("--container", arguments.container,
                       "A container instead, with its image, volumes and networks: CONTAINER[@...]")
          ->type_name("CONTAINER")
          ->excludes(reference);
  CLI::Option* as = restore
                        ->add_option("--as", arguments.target,
                                     "Name of the new volume or container (default: that of the reference)")
                        ->type_name("VOLUME");
  CLI::Option* in_place =
      restore->add_flag("--in-place", arguments.in_place,
                        "Replace the content of the volume itself, after saving it once more; "
                        "refused while it is in use");
  in_place->excludes(as);
  CLI::Option* given_options = restore
      ->add_option("-o,--opt", arguments.options,
                   "Driver option of the new volume, over the saved ones; repeatable")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false)
      ->excludes(in_place);

  CLI::Option* of_containers[] = {
      restore
          ->add_option("--volumes", arguments.volumes,
                       "Of a container: 'keep' those that are there (the default), or bring back those of the "
                       "'point' (the default with --as, as NEW-VOLUME)")
          ->type_name("WHICH")
          ->check(CLI::IsMember({"keep", "point"})),
      restore->add_flag("--no-publish", arguments.no_publish,
                        "Of a container: publish no ports, claim no addresses and aliases; for a copy "
                        "beside the original"),
      restore->add_flag("--start", arguments.start, "Start the container then"),
      restore->add_flag("-n,--dry-run", arguments.dry_run,
                        "Of a container: only show what would be made, and what stands in the way")};
  for (CLI::Option* option : of_containers) option->needs(container);
  in_place->excludes(container);
  given_options->excludes(container);
  restore->parse_complete_callback([reference, container] {
    if (reference->empty() && container->empty())
      throw CLI::RequiredError("what to bring back: REFERENCE or --container CONTAINER");
  });
}

void add_volume_commands(CLI::App& app, Arguments& arguments) {
  CLI::App* backup =
      add_command(app, arguments, "backup", "Save volumes and containers now (all, if none is named)");
  backup->add_option("volumes", arguments.names, "Volumes to save")->type_name("VOLUME");
  backup
      ->add_option("-c,--container", arguments.containers,
                   "Container to commit and save, with its volumes; repeatable")
      ->type_name("CONTAINER")
      ->allow_extra_args(false);
  backup->footer(
      "Containers with the label davit.commit=true (or all, by DAVIT_COMMIT=all) are saved together "
      "with the volumes\nthat they use.");

  add_restore(app, arguments);

  CLI::App* wait = add_command(app, arguments, "wait", "Wait until nothing is at work on a volume");
  wait->add_option("volume", arguments.name, "The volume")->required()->type_name("VOLUME");

  add_command(app, arguments, "status", "Show the daemon, its repository and its volumes");
}

void add_snapshot_commands(CLI::App& app, Arguments& arguments) {
  CLI::App* snapshots =
      add_command(app, arguments, "snapshots", "List the snapshots in the repository");
  CLI::Option* volume =
      snapshots->add_option("volume", arguments.name, "Only those of this volume");
  volume->type_name("VOLUME");
  snapshots->add_option("--container", arguments.container, "Only those of this container")
      ->type_name("CONTAINER")
      ->excludes(volume);
  snapshots->add_option("--host", arguments.host, "Only those of this host")->type_name("HOST");

  CLI::App* points = add_command(app, arguments, "points",
                                 "List what was saved together: volumes and containers of a moment");
  points
      ->add_option("name", arguments.name, "Only those with a snapshot of this volume or container")
      ->type_name("VOLUME|CONTAINER");
  points->add_option("--host", arguments.host, "Only those of this host")->type_name("HOST");

  CLI::App* ls = add_command(app, arguments, "ls", "List the files in a snapshot");
  ls->footer(kReferences);
  ls->add_option("reference", arguments.reference, "The snapshot")
      ->required()
      ->type_name("REFERENCE");
  ls->add_option("path", arguments.path, "A directory or file in the volume (default: its root)")
      ->type_name("PATH");
  ls->add_flag("-R,--recursive", arguments.recursive, "Directories within, too");
  ls->add_flag("-l,--long", arguments.long_format, "With mode, owner, size and time");

  CLI::App* forget = add_command(app, arguments, "forget",
                                 "Remove snapshots: by the rules of retention, or by ID");
  forget->footer(
      "A volume's name applies its retention, an ID removes that snapshot; none applies every "
      "volume's retention.\n"
      "With --keep-... these rules apply instead of the volumes' own. The space is freed by "
      "'prune'.");
  forget->add_option("targets", arguments.names, "Volumes or snapshot IDs")->type_name("VOLUME|ID");
  forget->add_flag("-n,--dry-run", arguments.dry_run,
                   "Only show what would go, and why the others stay");
  for (const auto& [name, what] : keep_options()) {
    if (name == "keep-tag") {
      forget->add_option("--keep-tag", arguments.keep_tags, what)
          ->type_name("TAG[,TAG]")
          ->allow_extra_args(false);
      continue;
    }
    forget
        ->add_option_function<std::string>(
            "--" + name,
            [&arguments, key = name](const std::string& value) { arguments.policy[key] = value; },
            what)
        ->type_name(name.starts_with("keep-within") ? "DURATION" : "N");
  }
}

void add_repository_commands(CLI::App& app, Arguments& arguments) {
  add_command(app, arguments, "init", "Make the repository that the settings name");
  CLI::App* prune =
      add_command(app, arguments, "prune", "Free the space of what no snapshot needs");
  prune->add_flag("-n,--dry-run", arguments.dry_run, "Only show what would be freed");
  CLI::App* check =
      add_command(app, arguments, "check", "Prove that every snapshot can be restored");
  CLI::Option* read_data =
      check->add_flag("--read-data", arguments.read_data,
                      "Read and verify every byte, not only what describes it");
  check
      ->add_option("--read-data-subset", arguments.subset,
                   "Read and verify a part: n/t (the nth of t parts), a percentage or a size "
                   "(2.5%, 500M: by chance)")
      ->type_name("SUBSET")
      ->excludes(read_data);
  CLI::App* repair = add_command(app, arguments, "repair",
                                 "Make a damaged repository whole, and tell what is lost");
  repair->add_flag("--read-data", arguments.read_data,
                   "Look for damage in every byte, not only where the last check found it");
  repair->add_flag("--forget", arguments.forget,
                   "Remove the snapshots that lost something, once what is left of them is saved anew");
  repair->add_flag("-n,--dry-run", arguments.dry_run, "Only show what would be done, and what is lost");
  repair->footer(
      "Every blob that is whole is saved, also out of damaged packs. A snapshot that needs what is "
      "lost gets a sibling\nwithout it (tags 'repaired' and 'partial'), and stays itself unless "
      "--forget is given.");
  add_command(app, arguments, "metrics", "Print the daemon's state in Prometheus' text format");
  CLI::App* unlock =
      add_command(app, arguments, "unlock", "Remove stale locks from the repository");
  unlock->add_flag("--remove-all", arguments.remove_all,
                   "All locks, also those that seem to be in use");

  CLI::App* mirrors = app.add_subcommand("mirrors", "Show the mirrors of the repository");
  mirrors->fallthrough()->require_subcommand(0, 1);
  mirrors->final_callback([&arguments] {
    if (arguments.command.empty()) arguments.command = "mirrors";
  });
  add_command(*mirrors, arguments, "sync", "Bring them up to date now");
  CLI::App* accept = add_command(*mirrors, arguments, "accept",
                                 "Fill one anew that was seen before and is empty now");
  accept->add_option("mirror", arguments.name, "As 'davit mirrors' calls it")
      ->required()
      ->type_name("MIRROR");

  CLI::App* key = app.add_subcommand("key", "Manage the passwords of the repository");
  key->fallthrough()->require_subcommand(1);
  add_command(*key, arguments, "list", "List them");
  CLI::App* add = add_command(*key, arguments, "add", "Add a password");
  CLI::App* passwd = add_command(*key, arguments, "passwd", "Change the daemon's password");
  for (CLI::App* command : {add, passwd})
    command
        ->add_option("--new-password-file", arguments.password_file,
                     "Read it from this file (default: stdin, or ask on a terminal)")
        ->type_name("FILE");
  CLI::App* remove = add_command(*key, arguments, "remove", "Remove a password");
  remove->add_option("id", arguments.name, "The key's ID, or how it begins")
      ->required()
      ->type_name("ID");
  add_command(*key, arguments, "export", "Print the password in use, to be kept in a safe place");
}

void add_setting_commands(CLI::App& app, Arguments& arguments) {
  CLI::App* config =
      app.add_subcommand("config", "Show and change settings, of the daemon or of a volume");
  config->fallthrough()->require_subcommand(1);
  const auto with_volume = [&](CLI::App* command) {
    command->add_option("--volume", arguments.volume, "The options of this volume instead")
        ->type_name("VOLUME");
    return command;
  };
  const auto with_key = [&](CLI::App* command) {
    command->add_option("key", arguments.name, "The setting")->required()->type_name("KEY");
    return command;
  };
  with_volume(add_command(*config, arguments, "list", "List all"));
  with_volume(with_key(add_command(*config, arguments, "get", "Print one")));
  CLI::App* set =
      with_key(add_command(*config, arguments, "set", "Change one; it takes effect at once"));
  set->add_option_function<std::string>(
         "value",
         [&arguments](const std::string& value) {
           arguments.value = value;
           arguments.value_given = true;
         },
         "Its value (default: read from stdin, or asked for; so should secrets be)")
      ->type_name("VALUE");
  with_volume(set);
  with_volume(with_key(add_command(*config, arguments, "unset", "Back to the default")));
}

}  // namespace

const std::vector<std::pair<std::string, std::string>>& keep_options() {
  static const std::vector<std::pair<std::string, std::string>> kOptions{
      {"keep-last", "Keep the last N"},
      {"keep-hourly", "Keep the last of each of the last N hours that have one"},
      {"keep-daily", "The same for days"},
      {"keep-weekly", "The same for weeks"},
      {"keep-monthly", "The same for months"},
      {"keep-yearly", "The same for years"},
      {"keep-within", "Keep all that are younger than this, such as 1y5m7d2h"},
      {"keep-within-hourly", "Keep the last of each hour within this time"},
      {"keep-within-daily", "The same for each day"},
      {"keep-within-weekly", "The same for each week"},
      {"keep-within-monthly", "The same for each month"},
      {"keep-within-yearly", "The same for each year"},
      {"keep-tag", "Keep those with all of these tags; repeatable"},
  };
  return kOptions;
}

std::unique_ptr<CLI::App> make_application(Arguments& arguments, const std::string& called_as) {
  auto app =
      std::make_unique<CLI::App>("Docker and Podman volumes that back themselves up", called_as);
  app->require_subcommand(0, 1);
  app->add_option("--socket", arguments.socket,
                  "Where the daemon listens (default: $DAVIT_SOCKET, or found)")
      ->type_name("FILE");
  app->add_flag("--json", arguments.json, "One JSON object a line, for programs");
  app->add_flag("-q,--quiet", arguments.quiet, "Only what was asked for, and errors");
  app->add_flag("-v,--verbose", arguments.verbose, "Say more");
  app->set_version_flag("--version", std::string("davit ") + DAVIT_VERSION,
                        "Print the version of this client");
  app->footer("Run '" + called_as + " COMMAND --help' for more about a command.");

  add_volume_commands(*app, arguments);
  add_snapshot_commands(*app, arguments);
  add_repository_commands(*app, arguments);
  add_setting_commands(*app, arguments);
  add_command(*app, arguments, "version", "Show the versions of client and daemon");
  CLI::App* completion =
      add_command(*app, arguments, "completion", "Print what teaches a shell to complete davit");
  completion->add_option("shell", arguments.name, "bash, zsh or fish")
      ->required()
      ->type_name("SHELL");
  completion->footer(
      "bash:  davit completion bash > /etc/bash_completion.d/davit\n"
      "zsh:   davit completion zsh > /usr/local/share/zsh/site-functions/_davit\n"
      "fish:  davit completion fish > ~/.config/fish/completions/davit.fish\n"
      "'docker davit' is completed by docker's own completion.");
  return app;
}

}  // namespace davit::cli
