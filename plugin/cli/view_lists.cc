// Listings: snapshots, files, what forget decides, keys, locks, settings.
#include <map>

#include "base/bytes.h"
#include "cli/table.h"
#include "cli/view.h"

namespace davit::cli {

namespace {

std::string joined(const std::vector<std::string>& parts) {
  std::string line;
  for (const std::string& part : parts) line += (line.empty() ? "" : ", ") + printable(part);
  return line;
}

// A snapshot that is of no volume and no container is known by its paths.
std::string subject(const Json& snapshot) {
  const std::string volume = text(snapshot, "volume");
  const std::string container = text(snapshot, "container");
  if (!container.empty()) return "container " + printable(container);
  return volume.empty() ? joined(texts(snapshot, "paths")) : printable(volume);
}

class SnapshotsView : public View {
 public:
  explicit SnapshotsView(const Screen& screen) : screen_(screen) {}

  void message(const Json& message) override {
    if (text(message, "message_type") != "snapshot") return;
    ++count_;
    const Json& summary = object(message, "summary");
    const bool sized = !summary.empty();
    const bool partial = flag(message, "partial");
    table_.add({screen_.verbose ? printable(text(message, "id")) : short_id(text(message, "id")),
                local_time(text(message, "time")),
                text(message, "container").empty() ? subject(message) : "",
                printable(text(message, "container")),
                short_id(text(message, "point")),
                printable(text(message, "hostname")),
                sized ? count_text(number(summary, "total_files_processed")) : "",
                sized ? base::human_size(number(summary, "total_bytes_processed")) : "",
                sized ? base::human_size(number(summary, "data_added")) : "",
                {partial ? "partial" : "", Colour::yellow},
                screen_.verbose ? joined(texts(message, "tags")) : ""});
  }
  int finish(int exit_code) override {
    if (exit_code != 0 && count_ == 0) return exit_code;
    if (count_ > 0) screen_.out.write(table_.render(screen_.out));
    if (!screen_.quiet)
      screen_.out.write(count_ == 0 ? "no snapshots\n"
                                    : counted(count_, "snapshot", "snapshots") + "\n");
    return exit_code;
  }

 private:
  const Screen screen_;
  uint64_t count_ = 0;
  Table table_{{{"ID"},
                {"TIME"},
                {"VOLUME"},
                {"CONTAINER"},
                {"POINT"},
                {"HOST"},
                {"FILES", Table::Align::right},
                {"SIZE", Table::Align::right},
                {"ADDED", Table::Align::right},
                {"NOTE"},
                {"TAGS"}}};
};

// As `ls -l` writes it.
std::string mode_text(const std::string& type, uint64_t mode) {
  static const std::map<std::string, char> kTypes{
      {"file", '-'},    {"dir", 'd'},  {"symlink", 'l'}, {"dev", 'b'},
      {"chardev", 'c'}, {"fifo", 'p'}, {"socket", 's'}};
  const auto found = kTypes.find(type);
  std::string text(1, found == kTypes.end() ? '?' : found->second);
  for (int shift = 6; shift >= 0; shift -= 3) {
    const uint64_t bits = mode >> shift & 7;
    text += bits & 4 ? 'r' : '-';
    text += bits & 2 ? 'w' : '-';
    text += bits & 1 ? 'x' : '-';
  }
  const auto special = [&](uint64_t bit, size_t at, char with_x, char without) {
    if (mode & bit) text[at] = text[at] == 'x' ? with_x : without;
  };
  special(04000, 3, 's', 'S');
  special(02000, 6, 's', 'S');
  special(01000, 9, 't', 'T');
  return text;
}

class LsView : public View {
 public:
  LsView(const Screen& screen, bool long_format) : screen_(screen), long_format_(long_format) {}

  void message(const Json& message) override {
    if (text(message, "message_type") != "node") return;
    std::string line;
    if (long_format_) {
      const std::string type = text(message, "type");
      char columns[96];
      std::snprintf(columns, sizeof columns, "%s %11s %10s  %s  ",
                    mode_text(type, number(message, "mode")).c_str(),
                    (std::to_string(static_cast<uint32_t>(number(message, "uid"))) + ":" +
                     std::to_string(static_cast<uint32_t>(number(message, "gid"))))
                        .c_str(),
                    type == "file" ? base::human_size(number(message, "size")).c_str() : "",
                    cut_to_width(local_time(text(message, "mtime")), 24).c_str());
      line = columns;
    }
    line += name(message, "path");
    if (long_format_ && text(message, "type") == "symlink")
      line += " -> " + name(message, "linktarget");
    screen_.out.write(line + "\n");
  }
  int finish(int exit_code) override { return exit_code; }

 private:
  // Escaped for a terminal, as they are for a pipe.
  std::string name(const Json& message, const char* field) const {
    const std::string raw = bytes(message, field);
    return screen_.out.is_terminal() ? printable(raw) : raw;
  }
  const Screen screen_;
  const bool long_format_;
};

class ForgetView : public View {
 public:
  ForgetView(const Screen& screen, bool dry_run) : screen_(screen), dry_run_(dry_run) {}

  void message(const Json& message) override {
    if (text(message, "message_type") != "forget") return;
    const Json& group = object(message, "group");
    const std::string title =
        printable(text(group, "volume")) + " of " + printable(text(group, "host"));
    if (groups_.empty() || groups_.back().title != title) groups_.emplace_back(title);
    Group& current = groups_.back();
    const bool keeps = text(message, "action") == "keep";
    ++(keeps ? current.kept : current.removed);
    current.table.add({{keeps ? "  keep" : "  remove", keeps ? Colour::none : Colour::red},
                       short_id(text(message, "id")),
                       local_time(text(message, "time")),
                       keeps ? joined(texts(message, "reasons")) : subject(message)});
  }
  int finish(int exit_code) override {
    if (screen_.quiet && !dry_run_) return exit_code;
    for (const Group& group : groups_) {
      const std::string verb = dry_run_ ? " would go" : group.removed == 1 ? " goes" : " go";
      screen_.out.write(screen_.out.in(Colour::bold, group.title) + ": " + count_text(group.kept) +
                        (group.kept == 1 ? " stays, " : " stay, ") + count_text(group.removed) +
                        verb + "\n");
      // What stays is of interest where somebody looks at the rules.
      if (dry_run_ || screen_.verbose) screen_.out.write(group.table.render(screen_.out));
    }
    if (groups_.empty() && exit_code == 0) screen_.out.write("no snapshots\n");
    return exit_code;
  }

 private:
  struct Group {
    std::string title;
    uint64_t kept = 0, removed = 0;
    Table table{{{""}, {""}, {""}, {""}}};
    explicit Group(std::string title) : title(std::move(title)) {}
  };
  const Screen screen_;
  const bool dry_run_;
  std::vector<Group> groups_;
};

class KeysView : public View {
 public:
  explicit KeysView(const Screen& screen) : screen_(screen) {}
  void message(const Json& message) override {
    if (text(message, "message_type") != "key") return;
    table_.add({{flag(message, "current") ? "*" : " "},
                short_id(text(message, "id")),
                printable(text(message, "userName")),
                printable(text(message, "hostName")),
                local_time(text(message, "created"))});
  }
  int finish(int exit_code) override {
    if (!table_.empty()) screen_.out.write(table_.render(screen_.out));
    return exit_code;
  }

 private:
  const Screen screen_;
  Table table_{{{""}, {"ID"}, {"USER"}, {"HOST"}, {"CREATED"}}};
};

class PasswordView : public View {
 public:
  explicit PasswordView(const Screen& screen) : screen_(screen) {}
  void message(const Json& message) override {
    if (text(message, "message_type") != "password") return;
    screen_.out.write(text(message, "password") + "\n");
    if (!screen_.quiet && screen_.out.is_terminal())
      screen_.err.write(
          "Keep it where this machine's loss does not reach: without it no snapshot can be "
          "read.\n");
  }
  int finish(int exit_code) override { return exit_code; }

 private:
  const Screen screen_;
};

class UnlockView : public View {
 public:
  explicit UnlockView(const Screen& screen) : screen_(screen) {}
  void message(const Json& message) override {
    const std::string type = text(message, "message_type");
    if (type == "summary") removed_ = number(message, "removed");
    if (type != "lock") return;
    table_.add({short_id(text(message, "id")), flag(message, "exclusive") ? "exclusive" : "shared",
                printable(text(message, "hostname")), printable(text(message, "username")),
                std::to_string(number(message, "pid")), local_time(text(message, "time")),
                flag(message, "ours")    ? "this daemon's"
                : flag(message, "stale") ? "stale"
                                         : ""});
  }
  int finish(int exit_code) override {
    if (screen_.quiet) return exit_code;
    if (exit_code == 0) screen_.out.write(counted(removed_, "lock", "locks") + " removed\n");
    if (!table_.empty()) screen_.out.write("still there:\n" + table_.render(screen_.out));
    return exit_code;
  }

 private:
  const Screen screen_;
  uint64_t removed_ = 0;
  Table table_{
      {{"ID"}, {"KIND"}, {"HOST"}, {"USER"}, {"PID", Table::Align::right}, {"SINCE"}, {"NOTE"}}};
};

class SettingsView : public View {
 public:
  explicit SettingsView(const Screen& screen) : screen_(screen) {}
  void message(const Json& message) override {
    if (text(message, "message_type") != "setting") return;
    const std::string origin = text(message, "origin");
    table_.add({printable(text(message, "key")),
                printable(text(message, "value")),
                {printable(origin), origin == "default" ? Colour::faint : Colour::none},
                printable(text(message, "description"))});
  }
  int finish(int exit_code) override {
    if (!table_.empty()) screen_.out.write(table_.render(screen_.out));
    return exit_code;
  }

 private:
  const Screen screen_;
  Table table_{{{"SETTING"}, {"VALUE"}, {"FROM"}, {""}}};
};

class SettingView : public View {
 public:
  SettingView(const Screen& screen, std::string key) : screen_(screen), key_(std::move(key)) {}
  void message(const Json& message) override {
    if (text(message, "message_type") != "setting" || text(message, "key") != key_) return;
    found_ = true;
    screen_.out.write(text(message, "value") + "\n");
  }
  int finish(int exit_code) override {
    if (exit_code != 0 || found_) return exit_code;
    screen_.err.write("davit: there is no setting '" + printable(key_) +
                      "' (davit config list shows all)\n");
    return 1;
  }

 private:
  const Screen screen_;
  const std::string key_;
  bool found_ = false;
};

// The options of one volume out of a status.
class VolumeOptionsView : public View {
 public:
  VolumeOptionsView(const Screen& screen, std::string volume, std::string key)
      : screen_(screen), volume_(std::move(volume)), key_(std::move(key)) {}

  void message(const Json& message) override {
    if (text(message, "message_type") != "volume" || text(message, "name") != volume_) return;
    found_ = true;
    for (const auto& [key, value] : object(message, "options").items()) {
      if (!value.is_string()) continue;
      if (key_.empty()) table_.add({printable(key), printable(value.get<std::string>())});
      if (key == key_) {
        has_key_ = true;
        screen_.out.write(value.get<std::string>() + "\n");
      }
    }
  }
  int finish(int exit_code) override {
    if (exit_code != 0) return exit_code;
    if (!found_) {
      screen_.err.write("davit: there is no volume '" + printable(volume_) +
                        "' (davit status shows all)\n");
      return 1;
    }
    if (!key_.empty() && !has_key_) {
      screen_.err.write("davit: the volume " + printable(volume_) + " has no option '" +
                        printable(key_) + "' of its own\n");
      return 1;
    }
    if (!table_.empty()) screen_.out.write(table_.render(screen_.out));
    return exit_code;
  }

 private:
  const Screen screen_;
  const std::string volume_, key_;
  bool found_ = false, has_key_ = false;
  Table table_{{{"OPTION"}, {"VALUE"}}};
};

}  // namespace

std::unique_ptr<View> make_snapshots_view(const Screen& screen) {
  return std::make_unique<SnapshotsView>(screen);
}
std::unique_ptr<View> make_ls_view(const Screen& screen, bool long_format) {
  return std::make_unique<LsView>(screen, long_format);
}
std::unique_ptr<View> make_forget_view(const Screen& screen, bool dry_run) {
  return std::make_unique<ForgetView>(screen, dry_run);
}
std::unique_ptr<View> make_keys_view(const Screen& screen) {
  return std::make_unique<KeysView>(screen);
}
std::unique_ptr<View> make_password_view(const Screen& screen) {
  return std::make_unique<PasswordView>(screen);
}
std::unique_ptr<View> make_unlock_view(const Screen& screen) {
  return std::make_unique<UnlockView>(screen);
}
std::unique_ptr<View> make_settings_view(const Screen& screen) {
  return std::make_unique<SettingsView>(screen);
}
std::unique_ptr<View> make_setting_view(const Screen& screen, const std::string& key) {
  return std::make_unique<SettingView>(screen, key);
}
std::unique_ptr<View> make_volume_options_view(const Screen& screen, const std::string& volume,
                                               const std::string& key) {
  return std::make_unique<VolumeOptionsView>(screen, volume, key);
}

}  // namespace davit::cli
