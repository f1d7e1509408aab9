// The mirrors of the repository: for `davit mirrors` and as a part of `davit status`.
#include "base/bytes.h"
#include "cli/mirror_table.h"
#include "cli/table.h"
#include "cli/view.h"

namespace davit::cli {

void MirrorTable::add(const Json& message, const Screen& screen) {
  const auto when = [&](const std::string& time) {
    return screen.verbose ? local_time(time) : relative_time(time, screen.now);
  };
  const std::string place = printable(text(message, "mirror")), state = text(message, "state");
  const std::string in_sync = text(message, "in_sync"), away = text(message, "away_since");
  const uint64_t files = number(message, "behind_files");
  table_.add({place,
              {printable(state) + (away.empty() ? "" : " since " + when(away)),
               state == "in sync" ? Colour::green : Colour::yellow},
              in_sync.empty() ? "never" : when(in_sync),
              files == 0 ? ""
                         : counted(files, "file", "files") + ", " +
                               base::human_size(number(message, "behind_bytes")),
              flag(message, "append_only") ? "append-only" : ""});
  for (const char* field : {"error", "note"})
    if (const std::string why = text(message, field); !why.empty())
      notes_ += screen.out.in(Colour::red, "! " + place + ":") + " " + printable(why) + "\n";
}

std::string MirrorTable::render(const Screen& screen) const {
  return table_.empty() ? "" : table_.render(screen.out) + notes_;
}

namespace {

class MirrorsView : public View {
 public:
  explicit MirrorsView(const Screen& screen) : screen_(screen) {}
  void message(const Json& message) override {
    if (text(message, "message_type") == "mirror") mirrors_.add(message, screen_);
  }
  int finish(int exit_code) override {
    screen_.out.write(mirrors_.render(screen_));
    if (mirrors_.empty() && exit_code == 0 && !screen_.quiet)
      screen_.out.write("no mirrors: davit config set DAVIT_MIRRORS URL\n");
    return exit_code;
  }

 private:
  const Screen screen_;
  MirrorTable mirrors_;
};

}  // namespace

std::unique_ptr<View> make_mirrors_view(const Screen& screen) {
  return std::make_unique<MirrorsView>(screen);
}

}  // namespace davit::cli
