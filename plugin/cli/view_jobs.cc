// Results of work: backup, restore, wait, prune, check.
#include <algorithm>

#include "base/bytes.h"
#include "cli/table.h"
#include "cli/view.h"

namespace davit::cli {

namespace {

constexpr size_t kShownProblems = 10;

std::string size_text(const Json& message, const char* field) {
  return base::human_size(number(message, field));
}

void complain(const Screen& screen, const std::string& what) {
  screen.err.write("davit: " + what + "\n");
}

// What could not be saved or brought back: a few, or with --verbose all that came.
void show_problems(const Screen& screen, const std::string& volume,
                   const std::vector<std::string>& problems) {
  const size_t shown = screen.verbose ? problems.size() : std::min(problems.size(), kShownProblems);
  for (size_t i = 0; i < shown; ++i) complain(screen, volume + ": " + printable(problems[i]));
  if (shown < problems.size())
    complain(screen, volume + ": and " + count_text(problems.size() - shown) +
                         " more (--verbose shows them)");
}

class BackupView : public View {
 public:
  explicit BackupView(const Screen& screen) : screen_(screen) {}

  void message(const Json& message) override {
    if (text(message, "message_type") != "summary") return;
    any_ = true;
    const std::string container = printable(text(message, "container")),
                      outcome = text(message, "outcome"),
                      volume = container.empty() ? printable(text(message, "volume"))
                                                 : "container " + container;
    if (outcome == "failed") {
      complain(screen_, volume + ": " + printable(text(message, "error")));
      table_.add({volume, {"failed", Colour::red}});
      return;
    }
    show_problems(screen_, volume, texts(message, "problems"));
    const bool partial = outcome == "partial";
    std::string note = printable(text(message, "consistency"));
    if (const uint64_t unreadable = number(message, "unreadable"))
      note += (note.empty() ? "" : ", ") + count_text(unreadable) + " unreadable";
    if (const uint64_t changed = number(message, "changed_while_read"))
      note += (note.empty() ? "" : ", ") + count_text(changed) + " changed while read";
    table_.add({volume,
                {partial ? "partial" : "saved", partial ? Colour::yellow : Colour::green},
                short_id(text(message, "snapshot_id")),
                count_text(number(message, "files_new")) + " new, " +
                    count_text(number(message, "files_changed")) + " changed of " +
                    counted(number(message, "total_files_processed"), "file", "files"),
                size_text(message, "data_added") + " added of " +
                    size_text(message, "total_bytes_processed"),
                duration_text(real(message, "total_duration")),
                note});
  }
  int finish(int exit_code) override {
    if (!screen_.quiet)
      screen_.out.write(any_ ? table_.render(screen_.out) : exit_code == 0 ? "nothing to save\n" : "");
    return exit_code;
  }

 private:
  const Screen screen_;
  bool any_ = false;
  Table table_{{{""}, {""}, {""}, {""}, {""}, {"", Table::Align::right}, {""}}};
};

class RestoreView : public View {
 public:
  explicit RestoreView(const Screen& screen) : screen_(screen) {}

  void message(const Json& message) override {
    if (text(message, "message_type") != "summary") return;
    const std::string volume = printable(text(message, "volume"));
    show_problems(screen_, volume, texts(message, "problems"));
    if (screen_.quiet) return;
    screen_.out.write(volume + "  " + screen_.out.in(Colour::green, "restored") + "  from " +
                      short_id(text(message, "snapshot_id")) + "  " +
                      counted(number(message, "files_restored"), "file", "files") + ", " +
                      size_text(message, "bytes_restored") + "  " +
                      duration_text(real(message, "total_duration")) + "\n");
    if (const std::string safety = text(message, "safety_snapshot_id"); !safety.empty())
      screen_.out.write("What was there before is kept as snapshot " + short_id(safety) + ".\n");
  }
  int finish(int exit_code) override { return exit_code; }

 private:
  const Screen screen_;
};

class WaitView : public View {
 public:
  explicit WaitView(const Screen& screen) : screen_(screen) {}
  void message(const Json& message) override {
    if (!screen_.quiet && text(message, "message_type") == "summary")
      screen_.out.write(printable(text(message, "volume")) + ": nothing is at work on it\n");
  }
  int finish(int exit_code) override { return exit_code; }

 private:
  const Screen screen_;
};

class PruneView : public View {
 public:
  explicit PruneView(const Screen& screen) : screen_(screen) {}

  void message(const Json& message) override {
    if (text(message, "message_type") != "summary") return;
    const bool dry_run = flag(message, "dry_run");
    if (screen_.quiet && !dry_run) return;
    Table table({{""}, {"", Table::Align::right}, {""}});
    const auto blobs = [&](const char* field) {
      return counted(number(message, field), "blob", "blobs");
    };
    table.add({"in use", size_text(message, "bytes_used"), blobs("blobs_used")});
    table.add({"not in use", size_text(message, "bytes_unused"),
               blobs("blobs_unused") + ", " + count_text(number(message, "blobs_duplicate")) +
                   " stored twice"});
    table.add({dry_run ? "to rewrite" : "rewritten", size_text(message, "bytes_repacked"),
               counted(number(message, "packs_repacked"), "pack", "packs")});
    const uint64_t gone = number(message, "packs_deleted") + number(message, "packs_unindexed");
    table.add(
        {dry_run ? "would be freed" : "freed",
         {size_text(message, "bytes_freed"), Colour::green},
         counted(gone, "pack", "packs") + " of " + count_text(number(message, "packs_total"))});
    screen_.out.write(table.render(screen_.out));
  }
  int finish(int exit_code) override { return exit_code; }

 private:
  const Screen screen_;
};

class CheckView : public View {
 public:
  explicit CheckView(const Screen& screen) : screen_(screen) {}

  void message(const Json& message) override {
    const std::string type = text(message, "message_type");
    if (type == "problem") {
      complain(screen_, printable(text(message, "message")));
    } else if (type == "repaired") {
      complain(screen_, "repaired: " + printable(text(message, "message")));
    } else if (type == "hint") {
      if (screen_.verbose) screen_.out.write("hint: " + printable(text(message, "message")) + "\n");
    } else if (type == "summary") {
      summary(message);
    }
  }
  int finish(int exit_code) override { return exit_code; }

 private:
  void summary(const Json& message) {
    const bool ok = flag(message, "ok");
    const uint64_t errors = number(message, "num_errors"), hints = number(message, "num_hints"),
                   repaired = number(message, "num_repaired");
    if (screen_.quiet && ok && repaired == 0) return;
    std::string line = ok ? screen_.out.in(Colour::green, "no errors")
                          : screen_.out.in(Colour::red, counted(errors, "error", "errors"));
    line += " in " + counted(number(message, "snapshots"), "snapshot", "snapshots") + ", " +
            counted(number(message, "trees"), "tree", "trees") + ", " +
            counted(number(message, "blobs"), "blob", "blobs") + ", " +
            counted(number(message, "packs"), "pack", "packs");
    if (const uint64_t read = number(message, "bytes_read"); read > 0)
      line += "; " + base::human_size(read) + " read";
    if (repaired > 0)
      line += "; " + screen_.out.in(Colour::yellow, counted(repaired, "file was", "files were") +
                                                        " damaged or missing and put right");
    if (hints > 0)
      line += "; " + counted(hints, "hint", "hints") +
              (screen_.verbose ? "" : " (--verbose shows them)");
    screen_.out.write(line + "\n");
  }
  const Screen screen_;
};

class DoneView : public View {
 public:
  DoneView(const Screen& screen, std::string sentence)
      : screen_(screen), sentence_(std::move(sentence)) {}
  void message(const Json& message) override { id_ = printable(text(message, "id")); }
  int finish(int exit_code) override {
    if (exit_code != 0 || screen_.quiet) return exit_code;
    std::string line = sentence_;
    if (const size_t at = line.find("{id}"); at != std::string::npos) line.replace(at, 4, id_);
    screen_.out.write(line + "\n");
    return exit_code;
  }

 private:
  const Screen screen_;
  const std::string sentence_;
  std::string id_;
};

}  // namespace

std::unique_ptr<View> make_backup_view(const Screen& screen) {
  return std::make_unique<BackupView>(screen);
}
std::unique_ptr<View> make_restore_view(const Screen& screen) {
  return std::make_unique<RestoreView>(screen);
}
std::unique_ptr<View> make_wait_view(const Screen& screen) {
  return std::make_unique<WaitView>(screen);
}
std::unique_ptr<View> make_prune_view(const Screen& screen) {
  return std::make_unique<PruneView>(screen);
}
std::unique_ptr<View> make_check_view(const Screen& screen) {
  return std::make_unique<CheckView>(screen);
}
std::unique_ptr<View> make_done_view(const Screen& screen, const std::string& sentence) {
  return std::make_unique<DoneView>(screen, sentence);
}

}  // namespace davit::cli
