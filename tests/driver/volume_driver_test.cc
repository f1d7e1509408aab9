#include "driver/volume_driver.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <latch>
#include <thread>

#include "base/errors.h"
#include "base/fault.h"
#include "base/files.h"
#include "fake_background.h"
#include "support/fake_clock.h"
#include "support/temp_dir.h"
#include "support/unix_client.h"

namespace davit::driver {
namespace {

using test::eventually;
using volumes::State;
using Clock = std::chrono::steady_clock;

Budget soon() {
  return {Clock::now() + std::chrono::minutes(1)};
}
Budget spent() {
  return {Clock::now()};
}

using Notes = std::vector<std::string>;

class VolumeDriverTest : public ::testing::Test {
 protected:
  template <typename Call>
  std::string refusal_of(Call call) {
    try {
      call();
    } catch (const base::Error& error) {
      return error.what();
    }
    return "";
  }
  void restore(const std::string& name, const volumes::OptionMap& options = {{"from", "auto"}}) {
    background.source = Background::Source{std::string(64, 'a'), "/volumes/" + name, {}, ""};
    driver.create(name, options, soon());
    background.take_notes();
  }
  void finish_restore(const std::string& uuid) {
    base::write_file_atomic(registry.prepare_staging(uuid) + "/content",
                            base::as_bytes("restored"));
    registry.make_ready(uuid);
  }

  test::TempDir dir;
  test::FakeClock clock;
  volumes::Registry registry{dir.path(), clock};
  FakeBackground background{registry};
  VolumeDriver driver{registry, background, [](const std::string& schedule, const std::string&) {
                        if (schedule == "bad") throw base::UsageError("no cron line");
                      }};
};

TEST_F(VolumeDriverTest, MakesMountsAndRemovesAVolume) {
  driver.create("v", {{"schedule", "@hourly"}}, soon());
  EXPECT_EQ(background.take_notes(), Notes{"made v"});
  const std::string path = driver.mount("v", "id", soon());
  EXPECT_EQ(path, dir / "volumes/v");
  EXPECT_EQ(driver.path("v"), path);
  EXPECT_TRUE(base::list_directory(path).empty());
  EXPECT_EQ(registry.find("v")->options.at("schedule"), "@hourly");

  const auto info = driver.get("v");
  EXPECT_EQ(info->mountpoint, path);
  EXPECT_EQ(info->created, clock.now());
  EXPECT_EQ(info->status,
            (std::map<std::string, std::string>{{"state", "ready"}, {"last backup", "never"}}));
  ASSERT_EQ(driver.list().size(), 1u);
  EXPECT_EQ(driver.list()[0].mountpoint, path);

  driver.unmount("v", "id");
  driver.unmount("v", "never mounted");
  driver.unmount("unknown", "id");
  EXPECT_EQ(driver.mount("v", "id", soon()), path);

  driver.remove("v");
  EXPECT_EQ(background.take_notes(), (Notes{"last backup v", "removed v"}));
  EXPECT_FALSE(driver.get("v"));
  EXPECT_TRUE(driver.list().empty());
  EXPECT_THROW(driver.remove("v"), base::NotFound);
  EXPECT_THROW(driver.mount("v", "id", soon()), base::NotFound);
  EXPECT_THROW(driver.path("v"), base::NotFound);
}

TEST_F(VolumeDriverTest, BadRequestsLeaveNothingBehind) {
  EXPECT_THROW(driver.create("../evil", {}, soon()), base::UsageError);
  EXPECT_THROW(driver.create("v", {{"colour", "red"}}, soon()), base::UsageError);
  EXPECT_THROW(driver.create("v", {{"schedule", "bad"}}, soon()), base::UsageError);
  background.failure = std::make_exception_ptr(base::NotFound("no snapshot of w; there are a, b"));
  EXPECT_EQ(refusal_of([&] {
              driver.create("v", {{"from", "w"}}, soon());
            }),
            "no snapshot of w; there are a, b");
  EXPECT_TRUE(registry.list().empty());
  EXPECT_TRUE(base::list_directory(dir / "volumes").empty());
  EXPECT_FALSE(driver.get("../evil"));  // cannot be: certain
  EXPECT_FALSE(driver.get(""));
  // The name is free again.
  background.failure = nullptr;
  driver.create("v", {}, soon());
}

TEST_F(VolumeDriverTest, RepeatedCreateIsTheSameCreate) {
  driver.create("v", {{"keep-daily", "7"}, {"from", ""}}, soon());
  driver.create("v", {{"keep-daily", "7"}}, soon());
  EXPECT_NE(refusal_of([&] { driver.create("v", {{"keep-daily", "8"}}, soon()); }), "");
  EXPECT_NE(refusal_of([&] { driver.create("v", {}, soon()); }), "");
  EXPECT_EQ(registry.list().size(), 1u);

  background.source =
      Background::Source{std::string(64, 'a'), "/volumes/w", {{"keep-daily", "7"}}, ""};
  driver.create("r", {{"from", "w"}}, soon());
  driver.create("r", {{"from", "w"}}, soon());  // what came from the snapshot does not count
  finish_restore(registry.find("r")->uuid);
  driver.create("r", {{"from", "w"}}, soon());
  EXPECT_EQ(background.take_notes(), (Notes{"made v", "resolve w for r", "restore r", "made r"}));
}

TEST_F(VolumeDriverTest, OverlappingCreatesAreOne) {
  std::latch resolved(1);
  background.resolving = &resolved;
  background.source = Background::Source{std::string(64, 'a'), "/volumes/w", {}, ""};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] { driver.create("v", {{"from", "w"}}, soon()); });
  ASSERT_TRUE(
      eventually([&] { return driver.list().empty() && !background.take_notes().empty(); }));
  EXPECT_THROW(driver.create("v", {}, soon()), base::Conflict);
  EXPECT_THROW(driver.create("v", {{"from", "w"}}, spent()), base::Conflict);
  EXPECT_THROW(driver.remove("v"), base::Conflict);
  EXPECT_FALSE(driver.get("v"));
  resolved.count_down();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(registry.list().size(), 1u);
  const Notes notes = background.take_notes();
  EXPECT_EQ(std::count(notes.begin(), notes.end(), "restore v"), 1);
}

TEST_F(VolumeDriverTest, OverlappingCreatesFailTogether) {
  std::latch resolved(1);
  background.resolving = &resolved;
  background.failure = std::make_exception_ptr(base::IoError("the store cannot be reached", 0));
  std::atomic<int> failed{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i)
    threads.emplace_back([&] {
      failed += refusal_of([&] {
                  driver.create("v", {{"from", "auto"}}, soon());
                }) == "the store cannot be reached";
    });
  ASSERT_TRUE(eventually([&] { return !background.take_notes().empty(); }));
  resolved.count_down();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failed, 3);  // auto fails closed: no empty volume
  EXPECT_TRUE(registry.list().empty());
}

TEST_F(VolumeDriverTest, AutoMakesAnEmptyVolumeOnlyWhereThereIsNothing) {
  driver.create("v", {{"from", "auto"}}, soon());
  EXPECT_EQ(registry.find("v")->state, State::ready);
  EXPECT_EQ(background.take_notes(), (Notes{"resolve auto for v", "made v"}));
}

TEST_F(VolumeDriverTest, RestoreIsWrittenDownBeforeItIsAnswered) {
  background.source = Background::Source{"",
                                         "/volumes/v",
                                         {{"schedule", "@hourly"}, {"keep-daily", "7"}},
                                         "11111111-2222-4333-8444-555555555555"};
  driver.create("v", {{"from", "v"}, {"keep-daily", "3"}}, soon());
  const volumes::Registry after_a_crash(dir.path(), clock);
  const auto volume = after_a_crash.find("v");
  ASSERT_TRUE(volume);
  EXPECT_EQ(volume->state, State::restoring);
  EXPECT_EQ(volume->waits_for, "11111111-2222-4333-8444-555555555555");
  EXPECT_EQ(volume->source_path, "/volumes/v");
  EXPECT_EQ(volume->options,
            (volumes::OptionMap{{"from", "v"}, {"schedule", "@hourly"}, {"keep-daily", "3"}}));
  EXPECT_TRUE(volume->images_owed);
}

TEST_F(VolumeDriverTest, ImagesAreOwedAsTheOptionOrElseTheSettingSays) {
  background.source = Background::Source{std::string(64, 'a'), "/volumes/v", {}, ""};
  driver.create("off", {{"from", "v"}, {"images", "false"}}, soon());
  EXPECT_FALSE(registry.find("off")->images_owed);
  background.images_default = false;
  driver.create("unwanted", {{"from", "v"}}, soon());
  EXPECT_FALSE(registry.find("unwanted")->images_owed);
  driver.create("on", {{"from", "v"}, {"images", "on"}}, soon());
  EXPECT_TRUE(registry.find("on")->images_owed);
  background.source = std::nullopt;
  driver.create("empty", {{"from", "auto"}, {"images", "on"}}, soon());
  EXPECT_FALSE(registry.find("empty")->images_owed);
}

TEST_F(VolumeDriverTest, MountWaitsForTheRestore) {
  restore("v");
  EXPECT_EQ(driver.get("v")->status.at("state"), "restoring");
  EXPECT_EQ(driver.get("v")->mountpoint, dir / "volumes/v");
  EXPECT_EQ(driver.list().size(), 1u);
  background.on_wait = [&](const std::string& uuid) { finish_restore(uuid); };
  EXPECT_EQ(base::as_text(base::get_file(driver.mount("v", "id", soon()) + "/content")),
            "restored");
}

TEST_F(VolumeDriverTest, MountOfARestoringVolumeTellsHowFarItIs) {
  restore("v");
  background.running = Background::Progress{"", 0.4267, 200};
  EXPECT_EQ(refusal_of([&] { driver.mount("v", "id", spent()); }),
            "volume v is still being restored: 42 % done, about 3 min left. Try again then, or "
            "wait for it with: davit wait v");
  background.running = Background::Progress{"waiting for the last backup of v", {}, {}};
  EXPECT_EQ(refusal_of([&] { driver.mount("v", "id", spent()); }),
            "volume v is still being restored (waiting for the last backup of v). Try again then, "
            "or wait for it with: davit wait v");
  background.running = Background::Progress{"", 1.0, 0};
  EXPECT_NE(refusal_of([&] { driver.mount("v", "id", spent()); }).find("99 %"), std::string::npos);
  EXPECT_THROW(driver.path("v"), base::Conflict);
}

TEST_F(VolumeDriverTest, NobodyMountsAVolumeWhoseDataIsBeingReplaced) {
  driver.create("v", {}, soon());
  background.running = Background::Progress{"", 0.5, 10};
  EXPECT_NE(refusal_of([&] { driver.mount("v", "id", spent()); }).find("50 %"), std::string::npos);
  background.running.reset();
  EXPECT_EQ(driver.mount("v", "id", soon()), dir / "volumes/v");
}

TEST_F(VolumeDriverTest, AMountIsToldBeforeTheLastLookForARestore) {
  driver.create("v", {}, soon());
  const auto mounts = [&] { return *background.mounts.lock(); };
  driver.mount("v", "one", soon());
  driver.mount("v", "two", soon());
  EXPECT_EQ(mounts(), (std::set<std::string>{"v for one", "v for two"}));
  driver.unmount("v", "one");
  driver.unmount("nobody", "two");
  EXPECT_EQ(mounts(), (std::set<std::string>{"v for two"}));
  // A restore in place begins after the first look: either it sees the mount, or the mount sees it.
  std::set<std::string> seen;
  background.on_wait = [&](const std::string&) {
    background.on_wait = [&](const std::string&) {
      seen = mounts();
      background.running = Background::Progress{"", 0.5, 10};
    };
  };
  EXPECT_NE(refusal_of([&] { driver.mount("v", "three", soon()); }).find("50 %"), std::string::npos);
  EXPECT_TRUE(seen.contains("v for three"));
  EXPECT_EQ(mounts(), (std::set<std::string>{"v for two"}));
}

TEST_F(VolumeDriverTest, FailedRestoreSaysWhyAndCanBeRemoved) {
  restore("v");
  background.on_wait = [&](const std::string& uuid) {
    registry.set_failed(uuid, "pack 1a2b is damaged");
  };
  const std::string said = refusal_of([&] { driver.mount("v", "id", soon()); });
  EXPECT_NE(said.find("pack 1a2b is damaged"), std::string::npos) << said;
  EXPECT_EQ(driver.get("v")->status.at("state"), "failed");
  EXPECT_EQ(driver.get("v")->status.at("error"), "pack 1a2b is damaged");
  EXPECT_NE(refusal_of([&] { driver.create("v", {{"from", "auto"}}, soon()); }), "");
  background.take_notes();
  driver.remove("v");
  EXPECT_EQ(background.take_notes(),
            (Notes{"sweep", "removed v"}));  // never complete: nothing to save
  EXPECT_FALSE(driver.get("v"));
}

TEST_F(VolumeDriverTest, InterruptedRestoreIsBegunAnew) {
  restore("v");
  EXPECT_THROW(driver.mount("v", "id", soon()), base::Conflict);
  EXPECT_EQ(background.take_notes(), Notes{"restore v"});
}

TEST_F(VolumeDriverTest, RemovingARestoringVolumeEndsTheRestore) {
  restore("v");
  driver.remove("v");
  EXPECT_EQ(background.take_notes(), (Notes{"cancel v", "sweep", "removed v"}));
  EXPECT_TRUE(registry.list_removed().empty());
}

TEST_F(VolumeDriverTest, OnlyWhatWouldBeMissedIsSavedOnceMore) {
  const std::string anonymous(64, 'd');
  driver.create(anonymous, {}, soon());
  driver.create("unwanted", {{"final-backup", "false"}}, soon());
  background.take_notes();
  driver.remove(anonymous);
  driver.remove("unwanted");
  EXPECT_EQ(background.take_notes(),
            (Notes{"sweep", "removed " + anonymous, "sweep", "removed unwanted"}));
  EXPECT_TRUE(registry.list_removed().empty());
}

TEST_F(VolumeDriverTest, NameCanBeTakenAgainAtOnceAfterItsRemoval) {
  driver.create("v", {}, soon());
  base::write_file_atomic(driver.mount("v", "id", soon()) + "/old", base::as_bytes("x"));
  driver.remove("v");
  driver.create("v", {}, soon());
  EXPECT_TRUE(base::list_directory(driver.mount("v", "id", soon())).empty());
  EXPECT_EQ(registry.list_removed().size(), 1u);
}

TEST_F(VolumeDriverTest, GetNeverFailsForAVolumeThatIsThere) {
  driver.create("v", {}, soon());
  background.failure = std::make_exception_ptr(base::NoRepository("the repository is gone"));
  const auto info = driver.get("v");
  ASSERT_TRUE(info);
  EXPECT_NE(info->status.at("status").find("the repository is gone"), std::string::npos);
}

TEST_F(VolumeDriverTest, NeverMountsADirectoryThatIsNotThere) {
  driver.create("v", {}, soon());
  base::remove_tree(dir / "volumes/v");
  EXPECT_THROW(driver.mount("v", "id", soon()), base::Conflict);
  ASSERT_EQ(::symlink("/etc", (dir / "volumes/v").c_str()), 0);
  EXPECT_THROW(driver.mount("v", "id", soon()), base::Conflict);
  EXPECT_TRUE(driver.get("v"));
}

TEST_F(VolumeDriverTest, CreateThatCannotWriteLeavesNothing) {
  base::fault_hook = [](const char* point) {
    if (std::string_view(point) == "registry:make_ready") throw base::IoError("planted", EIO);
  };
  EXPECT_THROW(driver.create("v", {}, soon()), base::IoError);
  base::fault_hook = nullptr;
  EXPECT_FALSE(driver.get("v"));
  registry.sweep();
  EXPECT_TRUE(base::list_directory(dir / "staging").empty());
  driver.create("v", {}, soon());
}

TEST_F(VolumeDriverTest, CreateWhoseEngineHungUpMakesNothing) {
  std::stop_source stop;
  stop.request_stop();
  EXPECT_THROW(driver.create("v", {{"from", "auto"}},
                             {Clock::now() + std::chrono::minutes(1), stop.get_token()}),
               base::Cancelled);
  EXPECT_TRUE(registry.list().empty());
}

TEST_F(VolumeDriverTest, HundredVolumesAreMadeMountedAndRemovedAtOnce) {
  std::atomic<int> good{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 10; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 10; ++i) {
        const std::string name = "v" + std::to_string(t) + "-" + std::to_string(i);
        driver.create(name, {}, soon());
        good += driver.mount(name, "id", soon()) == dir / ("volumes/" + name) &&
                driver.get(name).has_value();
        driver.list();
        driver.unmount(name, "id");
        if (i % 2) driver.remove(name);
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 100);
  EXPECT_EQ(driver.list().size(), 50u);
  EXPECT_EQ(registry.list_removed().size(), 50u);
}

}  // namespace
}  // namespace davit::driver
