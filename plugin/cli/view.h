// What a person sees of an answer. A view takes the messages of one command as they come and shows
// them: listings at once, tables and results at the end. One thread.
#pragma once

#include <memory>
#include <string>

#include "cli/arguments.h"
#include "cli/terminal.h"
#include "cli/text.h"

namespace davit::cli {

// Where a view writes and how much.
struct Screen {
  Terminal& out;  // results
  Terminal& err;  // what went wrong: "davit: …"
  bool quiet = false, verbose = false;
  base::Time now{};
};

class View {
 public:
  virtual ~View() = default;
  // Any message but status, error and exit.
  virtual void message(const Json& message) = 0;
  // All has come; `exit_code` is what the daemon said. Returns what the client exits with.
  virtual int finish(int exit_code) = 0;
};

// `screen` and `arguments` are borrowed.
std::unique_ptr<View> make_view(const Screen& screen, const Arguments& arguments);

// The views, by what they show.
std::unique_ptr<View> make_backup_view(const Screen& screen);
std::unique_ptr<View> make_restore_view(const Screen& screen);
std::unique_ptr<View> make_restore_container_view(const Screen& screen);
std::unique_ptr<View> make_wait_view(const Screen& screen);
std::unique_ptr<View> make_prune_view(const Screen& screen);
std::unique_ptr<View> make_check_view(const Screen& screen);
std::unique_ptr<View> make_repair_view(const Screen& screen);
std::unique_ptr<View> make_metrics_view(const Screen& screen);
std::unique_ptr<View> make_status_view(const Screen& screen);
std::unique_ptr<View> make_snapshots_view(const Screen& screen);
std::unique_ptr<View> make_points_view(const Screen& screen);
std::unique_ptr<View> make_ls_view(const Screen& screen, bool long_format);
std::unique_ptr<View> make_forget_view(const Screen& screen, bool dry_run);
std::unique_ptr<View> make_keys_view(const Screen& screen);
std::unique_ptr<View> make_mirrors_view(const Screen& screen);
std::unique_ptr<View> make_password_view(const Screen& screen);
std::unique_ptr<View> make_unlock_view(const Screen& screen);
std::unique_ptr<View> make_settings_view(const Screen& screen);
// One setting; exit code 1 when there is none of that name.
std::unique_ptr<View> make_setting_view(const Screen& screen, const std::string& key);
std::unique_ptr<View> make_volume_options_view(const Screen& screen, const std::string& volume,
                                               const std::string& key);
// For commands that say nothing when they are done: prints `sentence` unless quiet. {id} becomes
// the message's id.
std::unique_ptr<View> make_done_view(const Screen& screen, const std::string& sentence);

}  // namespace davit::cli
