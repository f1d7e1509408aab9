// The daemon's rooms are killed at their fault points (each call of the store, each write of a journal, each rename
// that decides), one run for each point: a seeded sample, or all with DAVIT_SOAK. After each the next start must bring
// everything in order: the repository whole, each snapshot restorable, each volume complete or absent, nothing lost
// that was acknowledged, and nothing left lying about.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <random>
#include <set>
#include <sstream>

#include "base/errors.h"
#include "base/fd.h"
#include "base/files.h"
#include "base/log.h"
#include "crash_script.h"
#include "jobs/points.h"
#include "jobs/references.h"
#include "repo/keyring.h"
#include "restore/restorer.h"
#include "support/program.h"
#include "support/quick_repository.h"
#include "support/restic.h"
#include "support/rooms.h"
#include "support/temp_dir.h"
#include "support/unix_client.h"

namespace davit::crash {
namespace {

using ::testing::AnyOf;
using ::testing::Eq;
using ::testing::IsEmpty;
namespace fs = std::filesystem;

using Files = std::map<std::string, std::string>;

Files files_of(int content) {
  Files files;
  for (const auto& [name, text] : content_of(content)) files[name] = text;
  return files;
}

Files read_all(const std::string& directory) {
  Files files;
  for (const auto& entry : fs::recursive_directory_iterator(directory))
    if (entry.is_regular_file())
      files[fs::relative(entry.path(), directory)] = base::as_text(base::get_file(entry.path()));
  return files;
}

// Which content this is; -1: none of them.
int number_of(const Files& files) {
  for (int content = 0; content <= 4; ++content)
    if (files == files_of(content)) return content;
  return -1;
}

struct Saved {
  std::string volume;
  int content = 0;
  bool operator==(const Saved&) const = default;
};

// What there must be after so many steps.
struct Model {
  std::map<std::string, int> volumes;                    // to their content
  std::vector<std::pair<std::string, Saved>> snapshots;  // that the child told of, by ID, oldest first
  std::vector<Saved> last_backups;                       // owed, by whatever ID

  bool has(const std::string& id) const {
    return std::any_of(snapshots.begin(), snapshots.end(), [&](const auto& each) { return each.first == id; });
  }

  void apply(const Step& step, const std::string& made, const std::map<std::string, bool>& keeps) {
    switch (step.verb) {
      case Verb::make: volumes[step.volume] = 0; break;
      case Verb::write: volumes[step.volume] = step.content; break;
      case Verb::backup:
        if (!made.empty()) snapshots.push_back({made, {step.volume, volumes[step.volume]}});
        break;
      case Verb::restore_new: volumes[step.volume] = 1; break;
      case Verb::restore_over:
        if (!made.empty()) snapshots.push_back({made, {step.volume, volumes[step.volume]}});
        volumes[step.volume] = 1;
        break;
      case Verb::remove:
        if (keeps.at(step.volume)) last_backups.push_back({step.volume, volumes[step.volume]});
        volumes.erase(step.volume);
        break;
      case Verb::forget: {
        std::string newest;
        for (const auto& [id, saved] : snapshots)
          if (saved.volume == step.volume) newest = id;
        std::erase_if(snapshots, [&](const auto& each) {
          return each.second.volume == step.volume && each.first != newest;
        });
        break;
      }
      case Verb::contain:
      case Verb::vanish:
      case Verb::prune:
      case Verb::passwd: break;
    }
  }
};

class DaemonCrash : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    // What is killed here is a process, not a machine: hundreds of runs need no disk.
    if (::access("/dev/shm", W_OK) == 0) ::setenv("TMPDIR", "/dev/shm", 0);
    spdlog::set_level(spdlog::level::off);
  }

  struct Run {
    bool died = false;
    long points = 0;
    std::vector<std::string> made;  // of each acknowledged step
  };
  static Run run_child(const std::string& data, long point, const std::string& name) {
    const auto outcome = test::run({CRASH_CHILD, data, std::to_string(point), name});
    Run run;
    run.died = outcome.exit_code == kKilled;
    EXPECT_TRUE(outcome.exit_code == 0 || run.died) << outcome.exit_code << ": " << outcome.errors;
    if (const size_t at = outcome.errors.find("points "); at != std::string::npos)
      run.points = std::atol(outcome.errors.c_str() + at + 7);
    std::istringstream lines(outcome.output);
    for (std::string line; std::getline(lines, line);) run.made.push_back(line.substr(line.find(' ') + 1));
    return run;
  }

  // A container's snapshot holds all that brings it back, and its moment's volume is there or was to be.
  static void expect_whole(repo::Repository& repository, const jobs::SnapshotInfo& info) {
    const std::string place = std::string(jobs::kContainersPath) + info.container;
    for (const char* file : {"/container.json", "/davit.json", "/image/manifest.json", "/image/config.json"})
      EXPECT_TRUE(restore::find_small_file(repository, info.snapshot.tree, place + file, 1 << 20)) << file;
    EXPECT_FALSE(info.point.empty());
  }

  // What commits do to the engine is taken back, wherever they were when the process (and the engine) died.
  static void expect_nothing_in_the_engine(test::Rooms& rooms) {
    if (rooms.engine.state(kContainer).empty()) return;
    EXPECT_TRUE(test::eventually([&] {
      return rooms.engine.state(kContainer) == "running" && rooms.engine.dangling() == 0 &&
             rooms.engine.references() == std::vector<std::string>{kImage};
    })) << rooms.engine.state(kContainer) << ", " << rooms.engine.references().size() << " images, "
        << rooms.engine.dangling() << " without a name";
  }

  // What is in each snapshot, restored.
  std::map<std::string, Saved> restore_all(test::Rooms& rooms) {
    std::map<std::string, Saved> found;
    const auto repository = rooms.repository.get();
    repository->refresh_index();
    for (const auto& info : rooms.manager.snapshots("", "")) {
      if (!info.container.empty()) {
        expect_whole(*repository, info);
        continue;
      }
      const test::TempDir place;
      const base::Fd directory = base::open_file(place.path(), O_RDONLY | O_DIRECTORY);
      restore::Options options;
      options.sync = false;
      restore::restore_tree(*repository, info.snapshot.tree, info.snapshot.paths.at(0), directory.get(), options);
      found[info.id.hex()] = {info.volume, number_of(read_all(place.path()))};
    }
    return found;
  }

  void expect_tidy(const std::string& data) {
    for (const char* place : {"staging", "removed"})
      EXPECT_THAT(base::list_directory(data + "/" + place), IsEmpty()) << place;
    // Half written files of the store go when they are old enough to be nobody's.
    for (const auto& name : base::list_directory(data + "/repository/locks"))
      EXPECT_NE(name.find("-tmp-davit-"), std::string::npos) << "the lock " << name << " is left";
    for (const char* place : {"registry", "state", "secrets"})
      for (const auto& name : base::list_directory(data + "/" + place))
        EXPECT_EQ(name.find(".tmp-"), std::string::npos) << place << "/" << name;
  }

  // One kill, and all that must hold after it. Returns how the child ended.
  Run kill_and_check(long point, bool with_restic) {
    const test::TempDir directory;
    const std::string data = directory / "data";
    test::make_data_directory(data);
    const Run run = run_child(data, point, "all");
    check_after(data, run);
    if (with_restic && test::Restic::is_installed()) {
      const auto check =
          test::Restic(data + "/repository", test::kQuickPassword).run({"check", "--read-data", "--no-cache"});
      EXPECT_EQ(check.exit_code, 0) << check.output;
    }
    return run;
  }

  void check_after(const std::string& data, const Run& run) {
    const auto steps = script("all");
    std::map<std::string, bool> keeps;
    for (const Step& step : steps)
      if (step.verb == Verb::make || step.verb == Verb::restore_new) keeps.insert({step.volume, step.final_backup});
    Model before;
    for (size_t i = 0; i < run.made.size(); ++i) before.apply(steps[i], run.made[i], keeps);
    Model after = before;
    if (run.made.size() < steps.size()) after.apply(steps[run.made.size()], "", keeps);

    {
      test::Rooms rooms(data, {.environment = keep_all(), .engine_state = engine_state(data)});
      rooms.start();
      settle(rooms);

      // Each volume is there, whole, where both say so; and nothing is there that neither does.
      std::set<std::string> names;
      for (const auto& volume : rooms.registry.list()) {
        names.insert(volume.name);
        EXPECT_EQ(volume.state, volumes::State::ready) << volume.name << ": " << volume.error;
        const int content = number_of(read_all(rooms.directory(volume.name)));
        std::set<int> allowed;
        for (const Model* model : {&before, &after})
          if (const auto at = model->volumes.find(volume.name); at != model->volumes.end()) allowed.insert(at->second);
        EXPECT_TRUE(allowed.contains(content)) << volume.name << " holds content " << content;
      }
      for (const auto& [name, content] : before.volumes)
        if (after.volumes.contains(name)) {
          EXPECT_TRUE(names.contains(name)) << name << " is lost";
        }
      EXPECT_EQ(std::set<std::string>(names), [&] {
        const auto directories = base::list_directory(data + "/volumes");
        return std::set<std::string>(directories.begin(), directories.end());
      }());

      const auto found = restore_all(rooms);
      for (const auto& [id, saved] : found) EXPECT_GE(saved.content, 0) << "snapshot " << id << " of " << saved.volume;
      for (const auto& [id, saved] : before.snapshots) {
        if (!after.has(id)) continue;  // being forgotten
        ASSERT_TRUE(found.contains(id)) << "the snapshot of " << saved.volume << " is lost";
        EXPECT_EQ(found.at(id), saved);
      }
      for (const Saved& owed : before.last_backups)
        EXPECT_TRUE(std::any_of(found.begin(), found.end(), [&](const auto& each) { return each.second == owed; }))
            << "the last backup of " << owed.volume << " is lost";

      expect_nothing_in_the_engine(rooms);
      // And the next run goes on.
      for (const auto& outcome : rooms.manager.backup({}, {}, {}, {})) EXPECT_EQ(outcome.outcome, jobs::Outcome::ok);
      expect_nothing_in_the_engine(rooms);
      EXPECT_NO_THROW(rooms.manager.prune(false, {}, {}));
      EXPECT_THAT(rooms.manager.check(true, {}, {}).errors, IsEmpty());
    }
    expect_tidy(data);
  }

  static void settle(test::Rooms& rooms) {
    for (const auto& volume : rooms.registry.list()) rooms.settle(volume.name);
    EXPECT_TRUE(test::eventually([&] { return rooms.registry.list_removed().empty(); }));
    // The sweep of the start.
    EXPECT_TRUE(test::eventually([&] {
      return base::list_directory(rooms.data + "/removed").empty() && base::list_directory(rooms.data + "/staging").empty();
    }));
  }

  static bool soak() { return std::getenv("DAVIT_SOAK") != nullptr; }
  static uint64_t seed() {
    const char* text = std::getenv("DAVIT_SEED");
    return text != nullptr ? std::strtoull(text, nullptr, 10) : 20261122;
  }
};

TEST_F(DaemonCrash, WithoutAKillTheScriptEndsAsItShould) {
  const Run run = kill_and_check(0, true);
  EXPECT_FALSE(run.died);
  EXPECT_EQ(run.made.size(), script("all").size());
  EXPECT_GT(run.points, 200) << "the points are not passed any more";
}

TEST_F(DaemonCrash, KilledAtAnyPointNothingThatWasAcknowledgedIsLost) {
  long points = 0;
  {
    const test::TempDir directory;
    test::make_data_directory(directory / "data");
    points = run_child(directory / "data", 0, "all").points;
  }
  std::vector<long> chosen;
  for (long point = 1; point <= points; ++point) chosen.push_back(point);
  std::mt19937_64 random(seed());
  if (!soak()) {
    // One of each stretch, so that no part of the script is left out.
    constexpr long kRuns = 45;
    chosen.clear();
    for (long i = 0; i < kRuns; ++i) {
      const long first = points * i / kRuns + 1, last = points * (i + 1) / kRuns;
      chosen.push_back(std::uniform_int_distribution<long>(first, std::max(first, last))(random));
    }
  }
  int died = 0, number = 0;
  for (const long point : chosen) {
    SCOPED_TRACE("killed at point " + std::to_string(point) + " of " + std::to_string(points));
    died += kill_and_check(point, number++ % 20 == 0).died;
    if (HasFailure()) return;
  }
  EXPECT_GT(died, static_cast<int>(chosen.size() * 8 / 10));
}

TEST_F(DaemonCrash, KilledTwiceInARowItStillComesRight) {
  std::mt19937_64 random(seed() + 1);
  for (int i = 0; i < (soak() ? 100 : 8) && !HasFailure(); ++i) {
    const test::TempDir directory;
    const std::string data = directory / "data";
    test::make_data_directory(data);
    const long first = std::uniform_int_distribution<long>(100, 600)(random);
    const long second = std::uniform_int_distribution<long>(1, 40)(random);
    SCOPED_TRACE("killed at points " + std::to_string(first) + " and " + std::to_string(second));
    const Run run = run_child(data, first, "all");
    // The second one dies in what the start does (an empty script), if that passes so many points.
    const auto again = test::run({CRASH_CHILD, data, std::to_string(second), "nothing"});
    EXPECT_TRUE(again.exit_code == 0 || again.exit_code == kKilled) << again.errors;
    check_after(data, run);
  }
}

TEST_F(DaemonCrash, KilledWhileThePasswordChangesTheFileAlwaysOpensTheRepository) {
  long points = 0, died = 0;
  for (long point = 0; point <= points; ++point) {
    const test::TempDir directory;
    const std::string data = directory / "data";
    test::make_data_directory(data);
    if (point == 0) {
      points = run_child(data, 0, "passwd").points;
      continue;
    }
    // The points before and after it are the other test's. A third of a second each: a sample.
    if (!soak() && (point * 7 + static_cast<long>(seed())) % 9 != 0) continue;
    const Run run = run_child(data, point, "passwd");
    died += run.died;
    SCOPED_TRACE("killed at point " + std::to_string(point));
    test::Rooms rooms(data, {.environment = keep_all(), .engine_state = engine_state(data)});
    rooms.start();
    settle(rooms);
    const auto repository = rooms.repository.get();
    const size_t keys = repo::list_keys(repository->store()).size();
    EXPECT_THAT(keys, AnyOf(Eq(1u), Eq(2u)));
    if (run.made.size() > 3) {
      EXPECT_EQ(rooms.repository.password(), kNewPassword);
      EXPECT_EQ(keys, 1u);
    }
    for (size_t i = 0; i < run.made.size(); ++i)
      if (!run.made[i].empty()) {
        EXPECT_NO_THROW(repository->load_snapshot(*base::Id::parse(run.made[i])));
      }
    EXPECT_THAT(rooms.manager.check(false, {}, {}).errors, IsEmpty());
    if (HasFailure()) return;
  }
  EXPECT_GT(died, 3);
}

}  // namespace
}  // namespace davit::crash
