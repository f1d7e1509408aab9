// The daemon and its volumes at a glance: a table, and below it what needs somebody's attention.
#include <algorithm>

#include "base/bytes.h"
#include "cli/mirror_table.h"
#include "cli/table.h"
#include "cli/view.h"

namespace davit::cli {

namespace {

class StatusView : public View {
 public:
  explicit StatusView(const Screen& screen) : screen_(screen) {}

  void message(const Json& message) override {
    const std::string type = text(message, "message_type");
    if (type == "daemon")
      daemon(message);
    else if (type == "volume")
      volume(message);
    else if (type == "removed_volume")
      removed(message);
    else if (type == "container")
      container(message);
    else if (type == "mirror")
      mirrors_.add(message, screen_);
  }
  int finish(int exit_code) override {
    screen_.out.write(head_);
    if (!mirrors_.empty()) screen_.out.write("\n" + mirrors_.render(screen_));
    if (!table_.empty())
      screen_.out.write("\n" + table_.render(screen_.out));
    else if (exit_code == 0 && !screen_.quiet)
      screen_.out.write("\nno volumes yet: docker volume create -d davit NAME\n");
    if (!containers_.empty()) screen_.out.write("\n" + containers_.render(screen_.out));
    if (!images_.empty()) {
      Table table{{{"IMAGE"}, {"OF"}, {"CAME WITH"}, {"STATE"}}};
      for (const Image& image : images_) table.add({image.name, image.container, image.volumes, image.state});
      screen_.out.write("\n" + table.render(screen_.out));
    }
    if (!removed_.empty())
      screen_.out.write("\nremoved; their last backup is still to be stored:\n" +
                        removed_.render(screen_.out));
    if (!notes_.empty()) screen_.out.write("\n" + notes_);
    return exit_code;
  }

 private:
  std::string when(const std::string& time) const {
    return screen_.verbose ? local_time(time) : relative_time(time, screen_.now);
  }
  void note(Colour colour, const std::string& subject, const std::string& what) {
    notes_ +=
        screen_.out.in(colour, subject.empty() ? "!" : "! " + subject + ":") + " " + what + "\n";
  }

  void daemon(const Json& message) {
    const std::string state = text(message, "repository_state");
    head_ =
        "davit " + printable(text(message, "version")) + " on " + printable(text(message, "host"));
    if (screen_.verbose) head_ += ", installation " + printable(text(message, "installation"));
    head_ += "\nrepository " + printable(text(message, "repository")) + ": " +
             screen_.out.in(state == "ok" ? Colour::green : Colour::red, printable(state)) + "\n";
    const std::string last = text(message, "last_prune"), next = text(message, "next_prune");
    if (!last.empty())
      head_ += "pruned " + when(last) + (next.empty() ? "" : ", next " + when(next)) + "\n";
    else if (!next.empty())
      head_ += "never pruned, first " + when(next) + "\n";
    if (const std::string error = text(message, "last_prune_error"); !error.empty())
      note(Colour::red, "", "the last prune failed: " + printable(error));
    scrub(object(message, "scrub"));
    damage(object(message, "damage"));
    if (const std::string error = text(message, "engine_error"); !error.empty())
      note(Colour::red, "", "containers are not saved: " + printable(error));
    for (const std::string& repair : texts(message, "repairs")) note(Colour::yellow, "", printable(repair));
    if (flag(message, "password_generated"))
      note(Colour::yellow, "",
           "the repository's password was made here and exists nowhere else; keep a copy: davit "
           "key export");
  }

  void scrub(const Json& scrub) {
    if (scrub.empty()) return;
    const uint64_t packs = number(scrub, "packs"), covered = number(scrub, "packs_covered");
    const std::string next = text(scrub, "next"), oldest = text(scrub, "oldest");
    const std::string period = days_text(number(scrub, "period_seconds"));
    if (oldest.empty()) {
      head_ += "data not yet read again by a scrub";
    } else {
      // Rounded down: 100 % is all.
      head_ += "scrubbed: " + std::to_string(packs == 0 ? 100 : covered * 100 / packs) +
               " % read within " + period + ", oldest " + when(oldest);
    }
    head_ += (next.empty() ? "" : ", next " + when(next)) + "\n";
    if (const std::string error = text(scrub, "error"); !error.empty())
      note(Colour::red, "", "the last scrub failed: " + printable(error));
  }
  void damage(const Json& damage) {
    if (damage.empty()) return;
    const std::vector<std::string> messages = texts(damage, "messages");
    note(Colour::red, "",
         "the repository is damaged: the " + printable(text(damage, "by")) + " " +
             when(text(damage, "found")) + " found " +
             counted(number(damage, "errors"), "error", "errors") +
             (messages.empty() ? "" : ", the first: " + printable(messages.front())) +
             " (davit check shows them; davit repair --dry-run what can be done)");
  }
  static std::string days_text(uint64_t seconds) {
    const uint64_t day = 86'400;
    return seconds % day == 0 ? std::to_string(seconds / day) + " d"
                              : std::to_string(seconds / 3600) + " h";
  }

  static std::string percent(const Json& message) {
    return " " + std::to_string(static_cast<int>(std::clamp(real(message, "percent_done"), 0.0, 1.0) * 100)) + "%";
  }
  Cell state_cell(const Json& message) const {
    const Json& running = object(message, "running");
    const std::string state = text(message, "state");
    if (running.empty())
      return {printable(state), state == "failed"  ? Colour::red
                                : state == "ready" ? Colour::none
                                                   : Colour::yellow};
    std::string what = printable(text(running, "phase"));
    if (running.contains("percent_done")) what += percent(running);
    if (running.contains("seconds_remaining"))
      what +=
          ", " + clock_text(static_cast<int64_t>(number(running, "seconds_remaining"))) + " left";
    return {what, Colour::yellow};
  }

  Cell last_cell(const Json& last) const {
    const std::string succeeded = text(last, "succeeded");
    const bool partial = flag(last, "partial");
    Cell cell = succeeded.empty() ? Cell("never", Colour::yellow)
                                  : Cell(when(succeeded) + (partial ? ", partial" : ""),
                                         partial ? Colour::yellow : Colour::none);
    if (!text(last, "error").empty()) cell.colour = Colour::red;
    return cell;
  }
  std::string next_text(const Json& message) const {
    const std::string next = text(message, "next_backup");
    return next.empty() ? "-" : when(next);
  }
  // What is wrong with it, and with its last run.
  void complain(const Json& message, const std::string& name) {
    const Json& last = object(message, "last_backup");
    if (const std::string why = text(message, "error"); !why.empty())
      note(Colour::red, name, printable(why));
    if (const size_t damaged = texts(message, "damaged_snapshots").size(); damaged > 0)
      note(Colour::red, name,
           counted(damaged, "snapshot", "snapshots") + " cannot be restored as saved");
    if (const std::string error = text(last, "error"); !error.empty()) {
      const std::string attempted = text(last, "attempted");
      note(Colour::red, name,
           "the last backup" + (attempted.empty() ? "" : " (" + when(attempted) + ")") +
               " failed: " + printable(error));
    }
  }

  void volume(const Json& message) {
    const Json& last = object(message, "last_backup");
    const std::string name = printable(text(message, "name"));
    table_.add({name, state_cell(message), last_cell(last), next_text(message),
                count_text(number(message, "snapshots")),
                text(last, "succeeded").empty() ? "" : base::human_size(number(last, "bytes")),
                printable(text(last, "consistency")), printable(text(message, "schedule")),
                screen_.verbose ? printable(text(message, "retention")) : ""});
    complain(message, name);
    if (const std::string tracking = text(message, "tracking"); screen_.verbose && !tracking.empty())
      note(Colour::none, name, "tracking " + printable(tracking));
    images(message, name);
  }

  void container(const Json& message) {
    const Json& last = object(message, "last_backup");
    const std::string name = printable(text(message, "name")), state = text(message, "state");
    std::string with;
    for (const std::string& volume : texts(message, "volumes"))
      with += (with.empty() ? "with " : ", ") + printable(volume);
    Cell now = state_cell(message);
    if (object(message, "running").empty())
      now = {state.empty() ? "gone" : printable(state), Colour::none};
    containers_.add({name, now, printable(text(message, "image")), last_cell(last),
                     next_text(message), count_text(number(message, "snapshots")),
                     text(last, "succeeded").empty() ? "" : base::human_size(number(last, "bytes")),
                     with.empty() ? printable(text(message, "schedule")) : with,
                     screen_.verbose ? printable(text(message, "retention")) : ""});
    complain(message, "container " + name);
  }

  // Volumes of one point have brought the same.
  void images(const Json& message, const std::string& volume) {
    if (flag(message, "images_owed")) images_.push_back({"", "", volume, {"to be looked up", Colour::yellow}});
    const auto list = message.find("images");
    if (list == message.end() || !list->is_array()) return;
    for (const Json& each : *list) {
      const std::string name = printable(text(each, "image")), state = text(each, "state");
      const auto known = std::find_if(images_.begin(), images_.end(), [&](const Image& image) { return image.name == name; });
      if (known != images_.end()) {
        known->volumes += ", " + volume;
        continue;
      }
      std::string what = printable(state);
      if (each.contains("percent_done")) what += percent(each);
      images_.push_back({name, printable(text(each, "container")), volume,
                         {what, state == "failed"   ? Colour::red
                                : state == "loaded" ? Colour::none
                                                    : Colour::yellow}});
      if (const std::string why = text(each, "error"); !why.empty())
        note(Colour::red, volume, "the image " + name + " could not be loaded: " + printable(why));
    }
  }

  void removed(const Json& message) {
    const Json& running = object(message, "running");
    const std::string error = text(object(message, "last_backup"), "error");
    removed_.add({"  " + printable(text(message, "name")),
                  "removed " + when(text(message, "removed")),
                  running.empty() ? Cell(error.empty() ? "waiting" : printable(error),
                                         error.empty() ? Colour::none : Colour::red)
                                  : state_cell(message)});
  }

  struct Image {
    std::string name, container, volumes;
    Cell state;
  };

  const Screen screen_;
  std::string head_, notes_;
  MirrorTable mirrors_;
  Table table_{{{"VOLUME"},
                {"STATE"},
                {"LAST BACKUP"},
                {"NEXT"},
                {"SNAPSHOTS", Table::Align::right},
                {"SIZE", Table::Align::right},
                {"CONSISTENCY"},
                {"SCHEDULE"},
                {"RETENTION"}}};
  Table containers_{{{"CONTAINER"},
                     {"STATE"},
                     {"IMAGE"},
                     {"LAST COMMIT"},
                     {"NEXT"},
                     {"SNAPSHOTS", Table::Align::right},
                     {"SIZE", Table::Align::right},
                     {"SCHEDULE"},
                     {"RETENTION"}}};
  std::vector<Image> images_;
  Table removed_{{{""}, {""}, {""}}};
};

}  // namespace

std::unique_ptr<View> make_status_view(const Screen& screen) {
  return std::make_unique<StatusView>(screen);
}

}  // namespace davit::cli
