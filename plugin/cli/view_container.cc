// The result of a container's restore, or what it would be, or what stands in its way.
#include "cli/view.h"

namespace davit::cli {

namespace {

class RestoreContainerView : public View {
 public:
  explicit RestoreContainerView(const Screen& screen) : screen_(screen) {}

  void message(const Json& message) override {
    const std::string type = text(message, "message_type");
    if (type == "conflict") screen_.err.write("davit: " + printable(text(message, "message")) + "\n");
    if (type == "summary") show(message);
  }
  int finish(int exit_code) override { return exit_code; }

 private:
  void show(const Json& message) {
    const bool dry_run = flag(message, "dry_run"), refused = number(message, "conflicts") > 0;
    if (refused) screen_.err.write("davit: nothing was made\n");
    if (screen_.quiet && !dry_run) return complain(message);
    if (refused && !dry_run) return;
    Terminal& out = screen_.out;
    std::string head = printable(text(message, "container")) + "  " +
                       (dry_run ? "would be restored" : out.in(Colour::green, "restored"));
    head += "  from " + short_id(text(message, "snapshot_id")) + " of " + local_time(text(message, "time"));
    if (!dry_run) head += "  " + duration_text(real(message, "total_duration"));
    out.write(head + "\n");
    out.write("  image    " + printable(text(message, "image")) +
              (flag(message, "image_loaded") ? "" : "  there already") + "\n");
    for (const std::string& network : texts(message, "networks")) out.write("  network  " + printable(network) + "  made\n");
    if (const auto volumes = message.find("volumes"); volumes != message.end() && volumes->is_array())
      for (const Json& volume : *volumes) show_volume(volume);
    for (const std::string& note : texts(message, "notes")) out.write("  note     " + printable(note) + "\n");
    if (dry_run) return;
    if (flag(message, "started")) out.write("It runs.\n");
    complain(message);
  }

  void show_volume(const Json& volume) {
    const std::string name = text(volume, "name"), saved = text(volume, "saved_name");
    std::string line = "  volume   " + printable(name.empty() ? "(without a name)" : name) + "  " +
                       printable(text(volume, "action"));
    if (const std::string snapshot = text(volume, "snapshot_id"); !snapshot.empty())
      line += "  from " + short_id(snapshot) + (name == saved ? "" : " of " + printable(saved));
    if (const std::string safety = text(volume, "safety_snapshot_id"); !safety.empty())
      line += "; what was there before is kept as snapshot " + short_id(safety);
    screen_.out.write(line + "\n");
  }

  void complain(const Json& message) {
    if (const std::string why = text(message, "start_error"); !why.empty())
      screen_.err.write("davit: the container " + printable(text(message, "container")) +
                        " is made, but does not run: " + printable(why) + "\n");
  }

  const Screen screen_;
};

}  // namespace

std::unique_ptr<View> make_restore_container_view(const Screen& screen) {
  return std::make_unique<RestoreContainerView>(screen);
}

}  // namespace davit::cli
