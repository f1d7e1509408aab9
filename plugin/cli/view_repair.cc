// What a repair did, or would do, and what is lost; and the metrics, which are shown as they are.
#include "base/bytes.h"
#include "cli/view.h"

namespace davit::cli {

namespace {

class RepairView : public View {
 public:
  explicit RepairView(const Screen& screen) : screen_(screen) {}

  void message(const Json& message) override {
    const std::string type = text(message, "message_type");
    if (type == "action") {
      if (!screen_.quiet) screen_.out.write(printable(text(message, "message")) + "\n");
    } else if (type == "lost") {
      screen_.err.write("davit: lost: snapshot " + short_id(text(message, "snapshot_id")) + ", " +
                        printable(bytes(message, "path")) + ": " +
                        printable(text(message, "what")) + "\n");
    } else if (type == "mended") {
      mended_.push_back(message);
    } else if (type == "summary") {
      summary(message);
    }
  }
  int finish(int exit_code) override { return exit_code; }

 private:
  void summary(const Json& message) {
    const bool dry_run = flag(message, "dry_run");
    for (const Json& each : mended_) {
      std::string line = "snapshot " + short_id(text(each, "snapshot_id"));
      const std::string sibling = text(each, "new_snapshot_id");
      if (sibling.empty())
        line += ": nothing of it can be had (" + printable(text(each, "why")) + ")";
      else if (dry_run)
        line += ": what is left of it would be saved anew";
      else
        line += ": what is left of it is " + short_id(sibling);
      if (flag(each, "forgotten"))
        line += dry_run ? "; it would be removed" : "; it is removed";
      else
        line += "; it stays, and cannot be restored as it was saved (--forget removes it)";
      screen_.out.write(line + "\n");
    }
    if (flag(message, "whole")) {
      if (!screen_.quiet)
        screen_.out.write(screen_.out.in(Colour::green, "nothing to repair") + "\n");
      return;
    }
    const uint64_t lost = number(message, "files_lost");
    std::string line = dry_run ? "nothing is changed yet: " : "repaired: ";
    line += counted(number(message, "packs_salvaged"), "damaged pack", "damaged packs") + ", " +
            counted(number(message, "packs_missing"), "missing pack", "missing packs") + ", " +
            counted(number(message, "packs_indexed"), "pack", "packs") + " indexed, " +
            counted(number(message, "blobs_salvaged"), "blob", "blobs") + " saved; ";
    line += lost == 0
                ? screen_.out.in(Colour::green, "nothing is lost")
                : screen_.out.in(Colour::red, counted(lost, "file", "files") + " lost something");
    screen_.out.write(line + "\n");
    if (const uint64_t left = number(message, "errors_left"); left > 0)
      screen_.err.write("davit: " + counted(left, "error is", "errors are") +
                        " left: `davit check` names them\n");
  }

  const Screen screen_;
  std::vector<Json> mended_;
};

class MetricsView : public View {
 public:
  explicit MetricsView(const Screen& screen) : screen_(screen) {}
  void message(const Json& message) override {
    // Labels hold names that others chose; the format escapes none but three characters.
    for (const char c : text(message, "text")) {
      const auto byte = static_cast<unsigned char>(c);
      text_ += byte < 0x20 && c != '\n' ? '?' : byte == 0x7f ? '?' : c;
    }
  }
  int finish(int exit_code) override {
    screen_.out.write(text_);
    return exit_code;
  }

 private:
  const Screen screen_;
  std::string text_;
};

}  // namespace

std::unique_ptr<View> make_repair_view(const Screen& screen) {
  return std::make_unique<RepairView>(screen);
}
std::unique_ptr<View> make_metrics_view(const Screen& screen) {
  return std::make_unique<MetricsView>(screen);
}

}  // namespace davit::cli
