// The process that a crash test of restores kills.
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "base/errors.h"
#include "base/fault.h"
#include "base/log.h"
#include "restore_crash.h"
#include "support/unix_client.h"

namespace davit::crash {
namespace {

std::atomic<long> points_left{0};

void restore_container(test::Rooms& rooms) {
  const auto outcome = rooms.manager.restore_container({.reference = kContainer}, {}, {});
  if (!outcome.conflicts.empty()) throw base::Error("conflicts: " + outcome.conflicts[0]);
}

void make_volume(test::Rooms& rooms, const std::string& snapshot) {
  rooms.engine.create_volume(copy_body(snapshot));
  rooms.settle(kCopy);
  const bool loaded = test::eventually([&] {
    const auto volume = rooms.registry.find(kCopy);
    return !volume->images_owed && volume->images.size() == 1 &&
           volume->images[0].state == volumes::ImageLoad::State::loaded;
  });
  if (!loaded) throw base::Error("the image does not come");
}

int run(const std::string& data, long point, const std::string& work) {
  {
    test::Rooms rooms(data, {.engine_state = engine_state(data)});
    connect(rooms);
    rooms.start();
    const std::string snapshot = snapshot_of_volume(rooms);
    points_left = point;
    base::fault_hook = [](const char* name) {
      if (points_left.fetch_sub(1) != 1) return;
      std::fprintf(stderr, "at %s\n", name);
      ::_exit(kKilled);
    };
    if (work == "container") {
      restore_container(rooms);
    } else if (work == "volume") {
      make_volume(rooms, snapshot);
    } else {
      std::exception_ptr failure;
      std::thread beside([&] {
        try {
          make_volume(rooms, snapshot);
        } catch (...) {
          failure = std::current_exception();
        }
      });
      restore_container(rooms);
      beside.join();
      if (failure) std::rethrow_exception(failure);
    }
    base::fault_hook = nullptr;
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
    std::fprintf(stderr, "restore_crash_child: %s\n", davit::base::current_message().c_str());
    return 1;
  }
}
