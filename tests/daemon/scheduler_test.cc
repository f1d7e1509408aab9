// The planner's thread over the real jobs, at a time that the test moves.
#include "scheduler.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

#include "base/fd.h"
#include "support/fake_clock.h"
#include "support/pause_at.h"
#include "support/rooms.h"
#include "support/temp_dir.h"
#include "support/unix_client.h"

namespace davit::daemon {
namespace {

using namespace std::chrono_literals;
using test::eventually;
using ::testing::SizeIs;

class SchedulerTest : public ::testing::Test {
 protected:
  SchedulerTest() {
    test::make_data_directory(data_);
    start();
  }
  ~SchedulerTest() override { stop(); }

  void start() {
    test::RoomsOptions options;
    options.clock = &clock_;
    options.environment = environment_;
    options.environment.merge(
        std::map<std::string, std::string>{{"DAVIT_SCHEDULE", "off"}, {"DAVIT_PRUNE_SCHEDULE", "off"}});
    rooms_.emplace(data_, std::move(options));
    scheduler_.emplace(rooms_->context);
    rooms_->start();
    scheduler_->start(rooms_->manager);
  }
  void stop() {
    if (!rooms_) return;
    scheduler_->stop();
    rooms_->manager.stop();
    // In the daemon the planner outlives the jobs, which tell it of their ends.
    for (const auto& volume : rooms_->registry.list()) rooms_->settle(volume.name);
    for (const auto& container : rooms_->manager.status().containers) rooms_->settle_container(container.name);
    rooms_.reset();
    scheduler_.reset();
  }
  void pass(std::chrono::nanoseconds time) {
    clock_.advance(time);
    scheduler_->replan();
  }
  size_t saved(const std::string& name) { return rooms_->snapshots(name).size(); }
  bool reaches(const std::string& name, size_t count) {
    return eventually([&] { return saved(name) == count; });
  }
  // The planner has looked at the time as it is now, and the jobs have ended.
  void let_it_look(const std::string& name) {
    const auto now = clock_.now();
    ASSERT_TRUE(eventually([&] {
      scheduler_->replan();
      const auto next = scheduler_->next_backup(name);
      return !next || *next > now;
    }));
    rooms_->settle(name);
  }

  const test::TempDir dir_;
  const std::string data_ = dir_ / "data";
  test::FakeClock clock_;
  std::map<std::string, std::string> environment_;
  std::optional<Scheduler> scheduler_;
  std::optional<test::Rooms> rooms_;
};

TEST_F(SchedulerTest, SavesWhatIsDueAndNothingElse) {
  rooms_->create("hourly", {{"schedule", "@hourly"}});
  rooms_->create("never", {});
  scheduler_->replan();
  ASSERT_TRUE(eventually([&] { return scheduler_->next_backup("hourly").has_value(); }));
  EXPECT_EQ(*scheduler_->next_backup("hourly"), base::parse_rfc3339("2026-11-21T19:00:00Z"));
  EXPECT_FALSE(scheduler_->next_backup("never"));
  EXPECT_EQ(saved("hourly"), 0u);
  pass(1h);
  ASSERT_TRUE(reaches("hourly", 1));
  let_it_look("hourly");
  pass(30min);
  let_it_look("hourly");
  EXPECT_EQ(saved("hourly"), 1u);
  pass(30min);
  ASSERT_TRUE(reaches("hourly", 2));
  EXPECT_EQ(saved("never"), 0u);
}

TEST_F(SchedulerTest, OneRunMakesUpForADowntime) {
  rooms_->create("db", {{"schedule", "@hourly"}});
  pass(1h);
  ASSERT_TRUE(reaches("db", 1));
  stop();
  clock_.advance(72h);
  start();
  ASSERT_TRUE(reaches("db", 2));
  let_it_look("db");
  EXPECT_EQ(saved("db"), 2u);
  EXPECT_EQ(*scheduler_->next_backup("db"), clock_.now() + 1h);
}

TEST_F(SchedulerTest, RunsOfOneVolumeNeverOverlap) {
  rooms_->create("db", {{"schedule", "@every 1m"}});
  scheduler_->replan();
  ASSERT_TRUE(eventually([&] { return scheduler_->next_backup("db").has_value(); }));
  std::optional<test::PauseAt> pause(std::in_place, "backup:finished");
  pass(1min);
  ASSERT_TRUE(pause->wait_until_reached());
  // Many come due while the first one runs.
  for (int i = 0; i < 10; ++i) pass(1min);
  EXPECT_EQ(saved("db"), 0u);
  pause->release();
  // One makes up for them.
  ASSERT_TRUE(reaches("db", 2));
  let_it_look("db");
  EXPECT_EQ(saved("db"), 2u);
}

TEST_F(SchedulerTest, AVolumeThatIsBusyIsSavedRightAfter) {
  rooms_->create("db", {{"schedule", "@hourly"}});
  rooms_->write("db", "file", "text");
  const auto id = rooms_->backup("db").snapshot;
  std::optional<test::PauseAt> pause(std::in_place, "restore:filled");
  std::thread restore([&] {
    rooms_->manager.restore({.reference = id, .target = "db", .in_place = true, .options = {}}, {}, {});
  });
  ASSERT_TRUE(pause->wait_until_reached());
  const size_t before = saved("db");  // the safety backup among them
  pass(1h);
  ASSERT_TRUE(eventually([&] {
    scheduler_->replan();
    const auto next = scheduler_->next_backup("db");
    return next && *next > clock_.now();
  }));
  EXPECT_EQ(saved("db"), before);
  pause->release();
  restore.join();
  ASSERT_TRUE(reaches("db", before + 1));
}

TEST_F(SchedulerTest, SettingsAndOptionsAreFollowedWithoutARestart) {
  rooms_->create("db");
  scheduler_->replan();
  EXPECT_FALSE(scheduler_->next_backup("db"));
  rooms_->manager.set_volume_option("db", "schedule", "@daily");
  scheduler_->replan();
  ASSERT_TRUE(eventually([&] { return scheduler_->next_backup("db").has_value(); }));
  // Written by hand, with a line that cannot be: the old ones stay in force.
  base::write_file_atomic(data_ + "/davit.conf", base::as_bytes("DAVIT_JOBS=3\nnonsense\n"));
  scheduler_->replan();
  pass(24h);
  ASSERT_TRUE(reaches("db", 1));
  EXPECT_EQ(rooms_->settings.number("DAVIT_JOBS"), 2);
  base::write_file_atomic(data_ + "/davit.conf", base::as_bytes("DAVIT_JOBS=3\n"));
  ASSERT_TRUE(eventually([&] {
    scheduler_->replan();
    return rooms_->settings.number("DAVIT_JOBS") == 3;
  }));
}

TEST_F(SchedulerTest, PruneThatNeverHadItsTimeIsMadeUpFor) {
  stop();
  environment_["DAVIT_PRUNE_SCHEDULE"] = "0 3 * * SUN";
  start();
  EXPECT_FALSE(rooms_->manager.last_prune().attempted);
  stop();
  // The machine slept at three on Sunday.
  clock_.advance(24h);
  start();
  EXPECT_TRUE(eventually([&] { return rooms_->manager.last_prune().succeeded.has_value(); }));
  ASSERT_TRUE(eventually([&] { return !rooms_->manager.find_job("prune"); }));
  EXPECT_EQ(scheduler_->next_prune(), base::parse_rfc3339("2026-11-29T03:00:00Z"));
}

TEST_F(SchedulerTest, ScrubsEachDayUnlessItIsOff) {
  rooms_->create("db");
  rooms_->write("db", "file", "text");
  rooms_->backup("db");
  EXPECT_FALSE(rooms_->manager.last_scrub().attempted);
  for (int day = 0; day < 2; ++day) {
    pass(24h);
    const auto now = clock_.now();
    ASSERT_TRUE(eventually([&] {
      scheduler_->replan();
      return rooms_->manager.last_scrub().succeeded == now;
    }));
    ASSERT_TRUE(eventually([&] { return !rooms_->manager.find_job("scrub"); }));
  }
  ASSERT_TRUE(eventually([&] {
    scheduler_->replan();
    const auto next = scheduler_->next_scrub();
    return next && *next > clock_.now();
  }));
  const auto last = rooms_->manager.last_scrub().succeeded;
  rooms_->manager.set_setting("DAVIT_SCRUB_PERIOD", "off");
  pass(24h);
  let_it_look("db");
  EXPECT_TRUE(eventually([&] {
    scheduler_->replan();
    return !scheduler_->next_scrub();
  }));
  EXPECT_EQ(rooms_->manager.last_scrub().succeeded, last);
}

TEST_F(SchedulerTest, ABackupThatFailsIsTriedAtItsNextTime) {
  rooms_->create("db", {{"schedule", "@hourly"}});
  scheduler_->replan();
  ASSERT_TRUE(eventually([&] { return scheduler_->next_backup("db").has_value(); }));
  ASSERT_EQ(::rename((data_ + "/repository").c_str(), (data_ + "/elsewhere").c_str()), 0);
  pass(1h);
  ASSERT_TRUE(eventually([&] { return !rooms_->registry.find("db")->last_backup.error.empty(); }));
  ASSERT_EQ(::rename((data_ + "/elsewhere").c_str(), (data_ + "/repository").c_str()), 0);
  let_it_look("db");
  EXPECT_EQ(saved("db"), 0u);
  pass(1h);
  ASSERT_TRUE(reaches("db", 1));
  // The snapshot is there before the volume's record says so.
  EXPECT_TRUE(eventually([&] { return rooms_->registry.find("db")->last_backup.error.empty(); }));
}

// Nobody can read the file a moment later either: the snapshots would pile up.
TEST_F(SchedulerTest, ABackupThatIsPartialWaitsForItsNextTimeAlsoAfterARestart) {
  rooms_->create("db", {{"schedule", "@hourly"}});
  rooms_->write("db", "good", "good");
  rooms_->write("db", "bad", "bad");
  scheduler_->replan();
  ASSERT_TRUE(eventually([&] { return scheduler_->next_backup("db").has_value(); }));
  // Whoever opens a leased file without waiting is turned away, root too.
  ::signal(SIGIO, SIG_IGN);
  const base::Fd leased = base::open_file(rooms_->directory("db") + "/bad", O_RDWR);
  ASSERT_EQ(::fcntl(leased.get(), F_SETLEASE, F_WRLCK), 0);
  pass(1h);
  ASSERT_TRUE(reaches("db", 1));
  let_it_look("db");
  EXPECT_TRUE(rooms_->snapshots("db")[0].partial);
  EXPECT_EQ(*scheduler_->next_backup("db"), clock_.now() + 1h);
  stop();
  clock_.advance(30min);
  start();
  ASSERT_TRUE(eventually([&] { return scheduler_->next_backup("db").has_value(); }));
  let_it_look("db");
  EXPECT_EQ(saved("db"), 1u);
  EXPECT_EQ(*scheduler_->next_backup("db"), clock_.now() + 30min);
  pass(30min);
  ASSERT_TRUE(reaches("db", 2));
  let_it_look("db");
  EXPECT_EQ(saved("db"), 2u);
}

TEST_F(SchedulerTest, ContainersWithoutVolumesAreCommittedOnTheirOwnSchedule) {
  rooms_->engine.add_container({.name = "cron", .labels = {{"davit.commit", "true"}, {"davit.schedule", "@hourly"}}});
  rooms_->engine.add_container({.name = "never", .labels = {{"davit.commit", "true"}}});
  rooms_->engine.add_container({.name = "silent", .labels = {{"davit.schedule", "@hourly"}}});
  rooms_->manager.set_setting("DAVIT_COMMIT", "labelled");  // it looks now, and not in a minute
  const auto commits = [&] {
    size_t count = 0;
    for (const auto& info : rooms_->manager.snapshots("", "")) {
      EXPECT_EQ(info.container, "cron");
      ++count;
    }
    return count;
  };
  ASSERT_TRUE(eventually([&] {
    scheduler_->replan();
    return scheduler_->next_commit("cron").has_value();
  }));
  EXPECT_EQ(*scheduler_->next_commit("cron"), base::parse_rfc3339("2026-11-21T19:00:00Z"));
  EXPECT_FALSE(scheduler_->next_commit("never"));
  EXPECT_FALSE(scheduler_->next_commit("silent"));
  pass(1h);
  ASSERT_TRUE(eventually([&] { return commits() == 1; }));
  pass(1h);
  ASSERT_TRUE(eventually([&] { return commits() == 2; }));
  rooms_->settle_container("cron");
  EXPECT_TRUE(eventually([&] { return rooms_->engine.references() == std::vector<std::string>{"base:1"}; }));
}

TEST_F(SchedulerTest, VolumesThatAreDueTogetherAndBelongTogetherAreSavedOnce) {
  for (const char* name : {"a", "b", "c"}) rooms_->create(name, {{"schedule", "@hourly"}});
  rooms_->create("off", {});
  rooms_->engine.add_container(
      {.name = "web", .labels = {{"davit.commit", "true"}}, .volumes = {"a", "b", "c", "off"}});
  scheduler_->replan();
  ASSERT_TRUE(eventually([&] { return scheduler_->next_backup("c").has_value(); }));
  pass(1h);
  for (const char* name : {"a", "b", "c"}) ASSERT_TRUE(reaches(name, 1));
  for (const char* name : {"a", "b", "c"}) let_it_look(name);
  rooms_->settle_container("web");
  EXPECT_THAT(rooms_->manager.snapshots("", ""), SizeIs(4));
  EXPECT_EQ(saved("off"), 0u) << "no schedule saves what is never to be saved by one";
}

}  // namespace
}  // namespace davit::daemon
