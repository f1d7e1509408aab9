#include "control/commands.h"

#include <algorithm>
#include <set>

#include "base/errors.h"
#include "control/messages.h"
#include "control/metrics.h"

namespace davit::control {

namespace {

using jobs::Operations;

jobs::Emit emit_to(Output& output) {
  return [&output](const jobs::ProgressEvent& event) {
    output.send_status(event.volume, status_message(event));
  };
}

int backup(Operations& operations, const Request& request, Output& output, std::stop_token stop) {
  int exit_code = kDone;
  for (const jobs::BackupOutcome& outcome :
       operations.backup(request.texts("volumes"), request.texts("containers"), emit_to(output), stop)) {
    output.send(backup_message(outcome));
    if (outcome.outcome == jobs::Outcome::failed) exit_code = kFailed;
    if (outcome.outcome == jobs::Outcome::partial && exit_code == kDone) exit_code = kPartial;
  }
  return exit_code;
}

int restore(Operations& operations, const Request& request, Output& output, std::stop_token stop) {
  jobs::RestoreRequest wanted;
  wanted.reference = request.get_text("reference");
  wanted.in_place = request.flag("in_place");
  wanted.target = request.text("target");
  if (auto options = request.find_map("options")) wanted.options = std::move(*options);
  if (wanted.in_place && !wanted.options.empty())
    throw base::UsageError("a volume that is restored in place keeps its options");
  if (wanted.target.empty()) wanted.target = volume_of_reference(operations, wanted.reference);
  const jobs::RestoreOutcome outcome = operations.restore(wanted, emit_to(output), stop);
  output.send(restore_message(outcome));
  return outcome.problems.empty() ? kDone : kPartial;
}

jobs::RestoreContainerRequest::Volumes volumes_of(const std::string& word) {
  using Volumes = jobs::RestoreContainerRequest::Volumes;
  if (word.empty()) return Volumes::automatic;
  if (word == "keep") return Volumes::keep;
  if (word == "point") return Volumes::point;
  throw base::UsageError("volumes are kept (keep) or those of the point (point), not '" + word +
                         "'");
}

int restore_container(Operations& operations, const Request& request, Output& output,
                      std::stop_token stop) {
  jobs::RestoreContainerRequest wanted;
  wanted.reference = request.get_text("reference");
  wanted.as = request.text("as");
  wanted.volumes = volumes_of(request.text("volumes"));
  wanted.publish = !request.flag("no_publish");
  wanted.start = request.flag("start");
  wanted.dry_run = request.flag("dry_run");
  const auto outcome = operations.restore_container(wanted, emit_to(output), stop);
  for (const std::string& conflict : outcome.conflicts)
    output.send({{"message_type", "conflict"}, {"message", conflict}});
  output.send(restore_container_message(outcome));
  return outcome.conflicts.empty() && outcome.start_error.empty() ? kDone : kFailed;
}

int wait(Operations& operations, const Request& request, Output& output, std::stop_token stop) {
  const std::string volume = request.get_text("volume");
  operations.wait(volume, emit_to(output), stop);
  output.send({{"message_type", "summary"}, {"volume", volume}});
  return kDone;
}

int snapshots(Operations& operations, const Request& request, Output& output, std::stop_token) {
  const std::string volume = request.text("volume"), container = request.text("container");
  if (!volume.empty() && !container.empty())
    throw base::UsageError("a snapshot is of a volume or of a container, not of both");
  for (const auto& info : operations.snapshots(volume, request.text("host")))
    if (container.empty() || info.container == container) output.send(snapshot_message(info));
  return kDone;
}

// `name`: only those with a snapshot of that volume or container.
int points(Operations& operations, const Request& request, Output& output, std::stop_token) {
  const std::string name = request.text("name");
  for (const jobs::Point& point :
       jobs::group_points(operations.snapshots("", request.text("host"))))
    if (name.empty() || point.find_volume(name) || point.find_container(name))
      output.send(point_message(point));
  return kDone;
}

int list_files(Operations& operations, const Request& request, Output& output, std::stop_token) {
  operations.list_files(request.get_text("reference"), request.text("path"),
                        request.flag("recursive"),
                        [&](const jobs::ListedNode& node) { output.send(node_message(node)); });
  return kDone;
}

int status(Operations& operations, const Request&, Output& output, std::stop_token) {
  const jobs::Status status = operations.status();
  output.send(daemon_message(status));
  for (const auto& mirror : status.mirrors) output.send(mirror_message(mirror));
  for (const auto& volume : status.volumes) output.send(volume_message(volume, false));
  for (const auto& volume : status.removed) output.send(volume_message(volume, true));
  for (const auto& container : status.containers) output.send(container_message(container));
  return kDone;
}

int init(Operations& operations, const Request&, Output& output, std::stop_token) {
  output.send({{"message_type", "initialized"}, {"id", operations.init_repository()}});
  return kDone;
}

int forget(Operations& operations, const Request& request, Output& output, std::stop_token) {
  jobs::ForgetRequest wanted;
  wanted.targets = request.texts("targets");
  wanted.dry_run = request.flag("dry_run");
  if (const auto policy = request.find_map("policy")) {
    for (const auto& [key, value] : *policy)
      if (!key.starts_with("keep-")) throw base::UsageError("a policy has no '" + key + "'");
    wanted.policy = upkeep::Policy::parse(*policy);
  }
  size_t kept = 0, removed = 0;
  for (const jobs::ForgetGroup& group : operations.forget(wanted)) {
    for (const auto& snapshot : group.keep) output.send(forget_message(group, snapshot));
    for (const auto& snapshot : group.remove) output.send(forget_message(group, snapshot));
    kept += group.keep.size();
    removed += group.remove.size();
  }
  output.send({{"message_type", "summary"},
               {"dry_run", wanted.dry_run},
               {"kept", kept},
               {"removed", removed}});
  return kDone;
}

int prune(Operations& operations, const Request& request, Output& output, std::stop_token stop) {
  const bool dry_run = request.flag("dry_run");
  output.send(prune_message(operations.prune(dry_run, emit_to(output), stop), dry_run));
  return kDone;
}

int check(Operations& operations, const Request& request, Output& output, std::stop_token stop) {
  const upkeep::CheckReport report =
      operations.check({request.flag("read_data"), request.text("subset")}, emit_to(output), stop);
  for (const std::string& repaired : report.repaired)
    output.send({{"message_type", "repaired"}, {"message", repaired}});
  for (const std::string& hint : report.hints)
    output.send({{"message_type", "hint"}, {"message", hint}});
  for (const std::string& error : report.errors)
    output.send({{"message_type", "problem"}, {"message", error}});
  output.send(check_message(report));
  return report.ok() ? kDone : kFailed;
}

int repair(Operations& operations, const Request& request, Output& output, std::stop_token stop) {
  jobs::RepairRequest wanted;
  wanted.read_data = request.flag("read_data");
  wanted.forget = request.flag("forget");
  wanted.dry_run = request.flag("dry_run");
  const upkeep::RepairReport report = operations.repair(wanted, emit_to(output), stop);
  for (const std::string& action : report.actions)
    output.send({{"message_type", "action"}, {"message", action}});
  for (const auto& lost : report.lost) output.send(lost_message(lost));
  for (const auto& mended : report.snapshots) output.send(mended_message(mended));
  output.send(repair_message(report, wanted.dry_run));
  return report.lost.empty() && report.errors_left == 0 ? kDone : kPartial;
}

int metrics(Operations& operations, const Request&, Output& output, std::stop_token) {
  output.send({{"message_type", "metrics"}, {"text", metrics_text(operations.status())}});
  return kDone;
}

int key_list(Operations& operations, const Request&, Output& output, std::stop_token) {
  for (const auto& key : operations.key_list()) output.send(key_message(key));
  return kDone;
}

int key_add(Operations& operations, const Request& request, Output& output, std::stop_token) {
  const std::string id = operations.key_add(request.get_text("new_password"));
  output.send({{"message_type", "key_added"}, {"id", id}});
  return kDone;
}

int key_remove(Operations& operations, const Request& request, Output&, std::stop_token) {
  operations.key_remove(request.get_text("id"));
  return kDone;
}

int key_passwd(Operations& operations, const Request& request, Output&, std::stop_token) {
  operations.key_passwd(request.get_text("new_password"));
  return kDone;
}

int key_export(Operations& operations, const Request&, Output& output, std::stop_token) {
  output.send({{"message_type", "password"}, {"password", operations.key_export()}});
  return kDone;
}

int locks(Operations& operations, const Request&, Output& output, std::stop_token) {
  for (const auto& lock : operations.locks()) output.send(lock_message(lock));
  return kDone;
}

int unlock(Operations& operations, const Request& request, Output& output, std::stop_token) {
  const size_t removed = operations.unlock(request.flag("all"));
  for (const auto& lock : operations.locks())
    output.send(lock_message(lock));  // what remains, and whose it is
  output.send({{"message_type", "summary"}, {"removed", removed}});
  return kDone;
}

int mirrors(Operations& operations, const Request&, Output& output, std::stop_token) {
  for (const auto& mirror : operations.mirrors()) output.send(mirror_message(mirror));
  return kDone;
}

int sync_mirrors(Operations& operations, const Request&, Output& output, std::stop_token stop) {
  int exit_code = kDone;
  for (const auto& mirror : operations.sync_mirrors(emit_to(output), stop)) {
    output.send(mirror_message(mirror));
    if (mirror.state != "in sync") exit_code = kFailed;
  }
  return exit_code;
}

int accept_mirror(Operations& operations, const Request& request, Output&, std::stop_token) {
  operations.accept_mirror(request.get_text("mirror"));
  return kDone;
}

int settings(Operations& operations, const Request&, Output& output, std::stop_token) {
  for (const auto& setting : operations.settings()) output.send(setting_message(setting));
  return kDone;
}

// Without a value: back to the default.
int set_setting(Operations& operations, const Request& request, Output&, std::stop_token) {
  operations.set_setting(request.get_text("key"), request.find_text("value"));
  return kDone;
}

int set_volume_option(Operations& operations, const Request& request, Output&, std::stop_token) {
  operations.set_volume_option(request.get_text("volume"), request.get_text("key"),
                               request.find_text("value"));
  return kDone;
}

const std::vector<Command>& commands() {
  static const std::vector<Command> kCommands{
      {"backup", Runs::to_its_end, {"volumes", "containers"}, backup},
      {"restore", Runs::to_its_end, {"reference", "target", "in_place", "options"}, restore},
      {"restore-container",
       Runs::to_its_end,
       {"reference", "as", "volumes", "no_publish", "start", "dry_run"},
       restore_container},
      {"wait", Runs::with_client, {"volume"}, wait},
      {"snapshots", Runs::here, {"volume", "container", "host"}, snapshots},
      {"points", Runs::here, {"name", "host"}, points},
      {"ls", Runs::here, {"reference", "path", "recursive"}, list_files},
      {"status", Runs::here, {}, status},
      {"init", Runs::here, {}, init},
      {"forget", Runs::here, {"targets", "policy", "dry_run"}, forget},
      {"prune", Runs::with_client, {"dry_run"}, prune},
      {"check", Runs::with_client, {"read_data", "subset"}, check},
      {"repair", Runs::to_its_end, {"read_data", "forget", "dry_run"}, repair},
      {"metrics", Runs::here, {}, metrics},
      {"key-list", Runs::here, {}, key_list},
      {"key-add", Runs::here, {"new_password"}, key_add},
      {"key-remove", Runs::here, {"id"}, key_remove},
      {"key-passwd", Runs::here, {"new_password"}, key_passwd},
      {"key-export", Runs::here, {}, key_export},
      {"locks", Runs::here, {}, locks},
      {"unlock", Runs::here, {"all"}, unlock},
      {"mirrors", Runs::here, {}, mirrors},
      {"mirrors-sync", Runs::with_client, {}, sync_mirrors},
      {"mirrors-accept", Runs::here, {"mirror"}, accept_mirror},
      {"settings", Runs::here, {}, settings},
      {"set-setting", Runs::here, {"key", "value"}, set_setting},
      {"set-volume-option", Runs::here, {"volume", "key", "value"}, set_volume_option},
  };
  return kCommands;
}

bool looks_like_id(const std::string& text) {
  return text.size() >= 8 && text.size() <= 64 &&
         text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

}  // namespace

const Command* find_command(std::string_view name) {
  for (const Command& command : commands())
    if (name == command.name) return &command;
  return nullptr;
}

std::string volume_of_reference(Operations& operations, const std::string& reference) {
  // HOST:VOLUME@…, where a time behind the @ has colons too.
  std::string name = reference.substr(0, reference.find('@'));
  if (const size_t colon = name.rfind(':'); colon != std::string::npos) name.erase(0, colon + 1);
  if (name.empty() || name == "auto")
    throw base::UsageError("'" + reference +
                           "' does not say which volume; name the target (--as NAME)");
  if (name != reference || !looks_like_id(name)) return name;

  // A bare ID, unless there is a volume of that name.
  std::set<std::string> volumes;
  for (const auto& info : operations.snapshots("", "")) {
    if (info.volume == name) return name;
    if (info.id.hex().starts_with(name)) volumes.insert(info.volume);
  }
  if (volumes.size() > 1)
    throw base::UsageError("'" + name + "' begins the IDs of several snapshots; give more digits");
  if (volumes.empty())
    throw base::NotFound("there is no volume and no snapshot '" + name + "' (davit snapshots)");
  if (volumes.begin()->empty())
    throw base::UsageError("the snapshot " + name +
                           " is of no volume; name the target (--as NAME)");
  return *volumes.begin();
}

}  // namespace davit::control
