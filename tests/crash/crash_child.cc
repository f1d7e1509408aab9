// The process that a crash test kills: the daemon's rooms, doing a script.
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "base/errors.h"
#include "base/fault.h"
#include "base/log.h"
#include "crash_script.h"
#include "support/rooms.h"
#include "support/unix_client.h"

namespace davit::crash {
namespace {

std::atomic<long> points_left{0};

void write_content(const std::string& directory, int number) {
  ::mkdir((directory + "/dir").c_str(), 0755);
  for (const auto& [name, text] : content_of(number)) std::ofstream(directory + "/" + name, std::ios::binary) << text;
}

void acknowledge(size_t step, const std::string& made) {
  const std::string line = std::to_string(step) + " " + made + "\n";
  if (::write(STDOUT_FILENO, line.data(), line.size()) < 0) ::_exit(3);
}

class Script {
 public:
  explicit Script(test::Rooms& rooms) : rooms_(rooms) {}

  // What it made: a snapshot's ID, or nothing.
  std::string run(const Step& step) {
    const std::string reference = step.reference == "first" ? first_ : step.reference;
    switch (step.verb) {
      case Verb::make:
        rooms_.create(step.volume, step.final_backup ? volumes::OptionMap{}
                                                     : volumes::OptionMap{{"final-backup", "off"}});
        return "";
      case Verb::contain:
        rooms_.engine.add_container(
            {.name = kContainer, .image = kImage, .labels = {{"davit.commit", "true"}}, .volumes = {step.volume}});
        return "";
      case Verb::write: write_content(rooms_.directory(step.volume), step.content); return "";
      case Verb::backup: {
        const std::string id = rooms_.backup(step.volume).snapshot;
        if (first_.empty()) first_ = id;
        return id;
      }
      case Verb::restore_new: rooms_.create(step.volume, {{"from", reference}}); return "";
      case Verb::restore_over:
        return rooms_.manager
            .restore({.reference = reference, .target = step.volume, .in_place = true, .options = {}}, {}, {})
            .safety_snapshot;
      case Verb::remove: rooms_.driver.remove(step.volume); return "";
      case Verb::vanish:
        if (!test::eventually([&] { return rooms_.registry.list_removed().empty(); })) throw base::Error("it stays");
        return "";
      case Verb::forget: {
        upkeep::Policy policy;
        policy.last = 1;
        rooms_.manager.forget({.targets = {step.volume}, .policy = policy, .dry_run = false});
        return "";
      }
      case Verb::prune: rooms_.manager.prune(false, {}, {}); return "";
      case Verb::passwd: rooms_.manager.key_passwd(kNewPassword); return "";
    }
    return "";
  }

 private:
  test::Rooms& rooms_;
  std::string first_;
};

int run(const std::string& data, long point, const std::string& name) {
  points_left = point;
  if (point > 0)
    base::fault_hook = [](const char*) {
      if (points_left.fetch_sub(1) == 1) ::_exit(kKilled);
    };
  else
    base::fault_hook = [](const char*) { points_left.fetch_sub(1); };
  {
    test::Rooms rooms(data, {.environment = keep_all(), .engine_state = engine_state(data)});
    rooms.start();
    Script script(rooms);
    const auto steps = crash::script(name);
    for (size_t i = 0; i < steps.size(); ++i) acknowledge(i, script.run(steps[i]));
    // What the start began comes to its end too.
    for (const auto& volume : rooms.registry.list()) rooms.settle(volume.name);
    rooms.settle_container(kContainer);
    test::eventually([&] { return rooms.registry.list_removed().empty(); });
  }
  std::fprintf(stderr, "points %ld\n", -points_left.load());
  return 0;
}

}  // namespace
}  // namespace davit::crash

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  try {
    spdlog::set_level(spdlog::level::off);
    return davit::crash::run(argv[1], std::atol(argv[2]), argv[3]);
  } catch (...) {
    std::fprintf(stderr, "crash_child: %s\n", davit::base::current_message().c_str());
    return 1;
  }
}
