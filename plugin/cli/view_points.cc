// Points: which volumes and containers were saved together.
#include <map>

#include "cli/table.h"
#include "cli/view.h"

namespace davit::cli {

namespace {

// A line a point. A piece that is partial is marked with a star.
class PointsView : public View {
 public:
  explicit PointsView(const Screen& screen) : screen_(screen) {}

  void message(const Json& message) override {
    if (text(message, "message_type") != "point") return;
    ++count_;
    std::map<std::string, std::string> names;  // by kind
    bool partial = false;
    const auto pieces = message.find("pieces");
    if (pieces != message.end() && pieces->is_array()) {
      for (const Json& piece : *pieces) {
        for (const char* kind : {"volume", "container"}) {
          const std::string name = text(piece, kind);
          if (name.empty()) continue;
          std::string& all = names[kind];
          all += (all.empty() ? "" : ", ") + printable(name) + (flag(piece, "partial") ? "*" : "");
        }
        partial |= flag(piece, "partial");
      }
    }
    const std::string id = text(message, "id");
    table_.add({screen_.verbose ? printable(id) : short_id(id),
                local_time(text(message, "time")),
                printable(text(message, "hostname")),
                names["volume"],
                names["container"],
                {partial ? "* partial" : "", Colour::yellow}});
  }
  int finish(int exit_code) override {
    if (exit_code != 0 && count_ == 0) return exit_code;
    if (count_ > 0) screen_.out.write(table_.render(screen_.out));
    if (!screen_.quiet)
      screen_.out.write(count_ == 0 ? "no points\n" : counted(count_, "point", "points") + "\n");
    return exit_code;
  }

 private:
  const Screen screen_;
  uint64_t count_ = 0;
  Table table_{{{"POINT"}, {"TIME"}, {"HOST"}, {"VOLUMES"}, {"CONTAINERS"}, {"NOTE"}}};
};

}  // namespace

std::unique_ptr<View> make_points_view(const Screen& screen) {
  return std::make_unique<PointsView>(screen);
}

}  // namespace davit::cli
