// The restore of a container, and the load of the image behind a volume, are killed at their fault points: each write of
// the journal and of a record, each call of the engine, each step between. A seeded sample, or all with DAVIT_SOAK. The
// engine dies with davit, or it lives and brings to its end what it was asked for. After each, everything is there or
// nothing, and a second run succeeds and loads nothing that is there.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "base/files.h"
#include "base/log.h"
#include "jobs/undo_restore.h"
#include "restore_crash.h"
#include "support/container_snapshot.h"
#include "support/program.h"
#include "support/temp_dir.h"
#include "support/unix_client.h"

namespace davit::crash {
namespace {

using nlohmann::json;
using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
namespace fs = std::filesystem;

enum class Engine { dies, lives };

struct Outcome {
  bool died = false;
  long points = 0;
  std::string at;  // the name of the point where it died
};

class RestoreCrash : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    // What is killed here is a process, not a machine: hundreds of runs need no disk.
    if (::access("/dev/shm", W_OK) == 0) ::setenv("TMPDIR", "/dev/shm", 0);
    spdlog::set_level(spdlog::level::off);
  }
  void SetUp() override { make_template(); }

  // The container's point in a repository, and nothing of it anywhere else.
  void make_template() {
    const std::string data = template_ / "data";
    test::make_data_directory(data);
    test::Rooms rooms(data, {.engine_state = engine_state(data)});
    connect(rooms);
    rooms.start();
    rooms.engine.create_volume(R"({"Name":"data","Driver":"davit:latest","DriverOpts":{"schedule":"off","final-backup":"off"}})");
    rooms.settle(kVolume);
    rooms.write(kVolume, "file", "from the point");
    rooms.backup(kVolume);
    test::put_into_point(rooms, kVolume);
    const json inspect = {
        {"Id", std::string(64, 'a')},
        {"Name", "/web"},
        {"Config", {{"Cmd", {"serve"}}, {"Labels", {{"app", "shop"}}}, {"Hostname", std::string(12, 'a')}}},
        {"HostConfig", {{"NetworkMode", kNetwork}, {"Binds", {"data:/data"}}}},
        {"Mounts", {{{"Type", "volume"}, {"Name", kVolume}, {"Driver", "davit:latest"}, {"Destination", "/data"}, {"RW", true}}}},
        {"NetworkSettings", {{"Networks", {{kNetwork, json::object()}}}}}};
    test::save_container(rooms, {.inspect = inspect.dump(),
                                 .networks = {json{{"Name", kNetwork}, {"Driver", "bridge"}, {"Scope", "local"}}.dump()}});
    rooms.engine.remove_volume(kVolume);
    settle(rooms);
  }

  static Outcome run_child(const std::string& data, long point, const std::string& work) {
    const auto outcome = test::run({RESTORE_CRASH_CHILD, data, std::to_string(point), work});
    Outcome run;
    run.died = outcome.exit_code == kKilled;
    EXPECT_TRUE(outcome.exit_code == 0 || run.died) << outcome.exit_code << ": " << outcome.errors;
    if (const size_t at = outcome.errors.find("points "); at != std::string::npos)
      run.points = std::atol(outcome.errors.c_str() + at + 7);
    if (outcome.errors.starts_with("at ")) run.at = outcome.errors.substr(3);
    return run;
  }

  static std::vector<jobs::RestoreEntry> entries(const std::string& data) { return jobs::RestoreJournal(data).list(); }
  static bool is_undone(const std::string& data) {
    const auto all = entries(data);
    return std::all_of(all.begin(), all.end(), [](const auto& entry) { return entry.undone; });
  }

  static void settle(test::Rooms& rooms) {
    EXPECT_TRUE(test::eventually([&] { return is_undone(rooms.data); })) << "the journal is not undone";
    for (const auto& volume : rooms.registry.list()) rooms.settle(volume.name);
    EXPECT_TRUE(test::eventually([&] {
      for (const auto& volume : rooms.registry.list()) {
        if (volume.images_owed) return false;
        for (const auto& image : volume.images)
          if (image.state == volumes::ImageLoad::State::pending) return false;
      }
      return rooms.registry.list_removed().empty() && base::list_directory(rooms.data + "/removed").empty() &&
             base::list_directory(rooms.data + "/staging").empty();
    })) << "something is still under way";
  }

  static size_t loads(test::Rooms& rooms) {
    const auto calls = rooms.engine.calls();
    return static_cast<size_t>(std::count(calls.begin(), calls.end(), "load_image"));
  }

  // The container with all that belongs to it; or, of what a restore makes, nothing.
  static bool expect_all_or_nothing(test::Rooms& rooms) {
    test::FakeEngine& engine = rooms.engine;
    const bool is_there = !engine.state(kContainer).empty();
    EXPECT_EQ(engine.has_network(kNetwork), is_there);
    EXPECT_EQ(engine.has_volume(kVolume), is_there);
    EXPECT_EQ(rooms.registry.find(kVolume).has_value(), is_there);
    if (is_there) {
      EXPECT_EQ(engine.state(kContainer), "created");
      EXPECT_EQ(rooms.read(kVolume, "file"), "from the point");
    }
    const bool has_copy = rooms.registry.find(kCopy).has_value();
    if (has_copy) {
      EXPECT_EQ(rooms.read(kCopy, "file"), "from the point");
      EXPECT_THAT(rooms.registry.find(kCopy)->images, ::testing::SizeIs(1));
    }
    EXPECT_EQ(engine.references(), is_there || has_copy ? std::vector<std::string>{test::saved_reference()}
                                                        : std::vector<std::string>{});
    EXPECT_EQ(engine.dangling(), 0u);
    return is_there;
  }

  static void expect_tidy(const std::string& data) {
    for (const auto& entry : entries(data)) {
      EXPECT_TRUE(entry.undone);
      EXPECT_EQ(entry.asked, jobs::RestoreEntry::Asked::image);
    }
    for (const auto& entry : fs::recursive_directory_iterator(data))
      if (entry.path().string().find("/repository/") == std::string::npos) {
        EXPECT_EQ(entry.path().filename().string().find(".tmp-"), std::string::npos) << entry.path();
      }
  }

  // One kill, and all that must hold after it.
  Outcome kill_and_check(long point, const std::string& work, Engine engine) {
    const test::TempDir directory;
    const std::string data = directory / "data";
    fs::copy(template_ / "data", data, fs::copy_options::recursive);
    fs::copy(engine_state(template_ / "data"), engine_state(data));
    const Outcome run = run_child(data, point, work);
    SCOPED_TRACE("at " + run.at);
    {
      test::Rooms rooms(data, {.engine_state = engine_state(data)});
      connect(rooms);
      const std::string unfinished = rooms.engine.unfinished();
      const bool comes = engine == Engine::lives && !unfinished.empty();
      rooms.context.engine_goes_on = comes ? std::chrono::minutes(1) : std::chrono::milliseconds(100);
      if (engine == Engine::lives) finish_once_looked_for(rooms, unfinished);
      const size_t images = rooms.engine.references().size();
      rooms.start();
      settle(rooms);
      if (engine == Engine::lives && !rooms.engine.unfinished().empty()) rooms.engine.finish();  // what nobody looked for
      jobs::remove_late_images(rooms.context, {});
      settle(rooms);
      const bool was_there = expect_all_or_nothing(rooms);
      EXPECT_LE(loads(rooms) + images, 1u) << "loaded though it was there";
      if (!run.died) {
        EXPECT_TRUE(was_there || work == "volume");
      }

      // And the second run.
      const size_t before = loads(rooms), there = rooms.engine.references().size();
      if (work != "volume" && !was_there) {
        EXPECT_THAT(rooms.manager.restore_container({.reference = kContainer}, {}, {}).conflicts, IsEmpty());
      }
      if (work != "container") rooms.engine.create_volume(copy_body(snapshot_of_volume(rooms)));
      settle(rooms);
      EXPECT_EQ(expect_all_or_nothing(rooms), work != "volume");
      EXPECT_EQ(rooms.registry.find(kCopy).has_value(), work != "container");
      EXPECT_EQ(loads(rooms) - before, 1 - there);
      EXPECT_THAT(rooms.manager.check(true, {}, {}).errors, IsEmpty());
    }
    expect_tidy(data);
    return run;
  }

  // The engine comes to the end of what it was asked for when it has been looked for in vain.
  static void finish_once_looked_for(test::Rooms& rooms, const std::string& unfinished) {
    static const std::map<std::string, std::string> kLook = {
        {"create_container", "inspect_container "}, {"create_network", "find_network "}, {"create_volume", "find_volume "}};
    const size_t space = unfinished.find(' ');
    const auto look = kLook.find(unfinished.substr(0, space));
    if (look == kLook.end()) return;
    const auto looks = std::make_shared<std::atomic<int>>(0);
    rooms.engine.on_call([&rooms, looks, call = look->second + unfinished.substr(space + 1)](const std::string& made) {
      if (made == call && ++*looks == 2) rooms.engine.finish();
    });
  }

  void sweep(const std::string& work, long runs) {
    const long points = kill_and_check(0, work, Engine::dies).points;
    EXPECT_GT(points, 25) << "the points are not passed any more";
    std::mt19937_64 random(seed());
    const bool soak = std::getenv("DAVIT_SOAK") != nullptr;
    if (soak) runs = points;
    int died = 0;
    for (long i = 0; i < runs && !HasFailure(); ++i) {
      // One of each stretch, so that no part is left out.
      const long first = points * i / runs + 1, last = std::max(first, points * (i + 1) / runs);
      const long point = std::uniform_int_distribution<long>(first, last)(random);
      for (const Engine engine : {Engine::dies, Engine::lives}) {
        if (!soak && (i + static_cast<long>(engine)) % 2) continue;
        SCOPED_TRACE("killed at point " + std::to_string(point) + " of " + std::to_string(points) +
                     (engine == Engine::lives ? ", the engine lives" : ", with the engine"));
        died += kill_and_check(point, work, engine).died;
      }
    }
    EXPECT_GT(died, runs * 8 / 10);
  }

  static uint64_t seed() {
    const char* text = std::getenv("DAVIT_SEED");
    return text != nullptr ? std::strtoull(text, nullptr, 10) : 20261122;
  }

  const test::TempDir template_;
};

TEST_F(RestoreCrash, OfAContainerLeavesAllOrNothing) { sweep("container", 30); }
TEST_F(RestoreCrash, OfAVolumeWithItsImageGoesOn) { sweep("volume", 15); }
TEST_F(RestoreCrash, OfBothBesideEachOther) { sweep("both", 20); }

}  // namespace
}  // namespace davit::crash
