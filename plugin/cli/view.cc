#include "cli/view.h"

namespace davit::cli {

std::unique_ptr<View> make_view(const Screen& screen, const Arguments& arguments) {
  const std::string& command = arguments.command;
  const std::string name = printable(arguments.name);
  if (command == "backup") return make_backup_view(screen);
  if (command == "restore")
    return arguments.container.empty() ? make_restore_view(screen) : make_restore_container_view(screen);
  if (command == "wait") return make_wait_view(screen);
  if (command == "prune") return make_prune_view(screen);
  if (command == "check") return make_check_view(screen);
  if (command == "repair") return make_repair_view(screen);
  if (command == "metrics") return make_metrics_view(screen);
  if (command == "status") return make_status_view(screen);
  if (command == "snapshots") return make_snapshots_view(screen);
  if (command == "points") return make_points_view(screen);
  if (command == "ls") return make_ls_view(screen, arguments.long_format);
  if (command == "forget") return make_forget_view(screen, arguments.dry_run);
  if (command == "unlock") return make_unlock_view(screen);
  if (command == "init") return make_done_view(screen, "made the repository {id}");
  if (command == "mirrors" || command == "mirrors sync") return make_mirrors_view(screen);
  if (command == "mirrors accept") return make_done_view(screen, name + " will be filled anew");
  if (command == "key list") return make_keys_view(screen);
  if (command == "key export") return make_password_view(screen);
  if (command == "key add") return make_done_view(screen, "added the key {id}");
  if (command == "key passwd") return make_done_view(screen, "the password is changed");
  if (command == "key remove") return make_done_view(screen, "removed the key " + name);
  if (command == "config set") return make_done_view(screen, name + " is set");
  if (command == "config unset") return make_done_view(screen, name + " is back to its default");
  if (!arguments.volume.empty())
    return make_volume_options_view(screen, arguments.volume, arguments.name);
  if (command == "config get") return make_setting_view(screen, arguments.name);
  return make_settings_view(screen);
}

}  // namespace davit::cli
