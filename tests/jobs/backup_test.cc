#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <csignal>

#include "base/fault.h"
#include "base/fd.h"
#include "jobs_fixture.h"
#include "restore/restorer.h"
#include "support/made_repository.h"

namespace davit::jobs {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

using Backup = JobsFixture;

// Whoever opens the file without waiting is turned away, root too.
class Unreadable {
 public:
  explicit Unreadable(const std::string& path) {
    file_ = base::open_file(path, O_RDWR);
    // The kernel tells the owner of a lease that somebody came, by a signal.
    ::signal(SIGIO, SIG_IGN);
    if (::fcntl(file_.get(), F_SETLEASE, F_WRLCK) != 0) base::throw_errno("cannot take a lease", errno);
  }

 private:
  base::Fd file_;
};

// At the point where everything is in the repository.
int niceness_of_a_backup(test::Rooms& rooms, const std::string& volume) {
  static std::atomic<int> niceness;
  niceness = -100;
  base::fault_hook = [](const char* point) {
    if (std::string_view(point) == "backup:finished")
      niceness = ::getpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()));
  };
  rooms.backup(volume);
  base::fault_hook = nullptr;
  return niceness;
}

TEST_F(Backup, RunsAtLowPriorityUnlessTheSettingsSayOtherwise) {
  const int ours = ::getpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()));
  rooms().create("db");
  EXPECT_EQ(niceness_of_a_backup(rooms(), "db"), std::max(ours, 10));
  rooms().settings.set("DAVIT_PRIORITY", "normal");
  EXPECT_EQ(niceness_of_a_backup(rooms(), "db"), ours);
}

TEST_F(Backup, TakesItsTimeWhereUploadsAreLimited) {
  rooms().create("db");
  rooms().settings.set("DAVIT_LIMIT_UPLOAD", "64");  // KiB/s
  rooms().write("db", "one", test::noise(1, 40 << 10));
  rooms().write("db", "two", test::noise(2, 40 << 10));
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(rooms().backup("db").outcome, Outcome::ok);
  // The first may go at once, the second when it has gone; a tenth of a second may be made up for.
  EXPECT_GE(std::chrono::steady_clock::now() - begun, std::chrono::milliseconds(500));
}

TEST_F(Backup, MakesASnapshotThatSaysWhatItIs) {
  rooms().create("db", {{"schedule", "@hourly"}, {"keep-daily", "3"}, {"exclude", "*.tmp"}});
  rooms().write("db", "table", "rows");
  rooms().write("db", "x.tmp", "left out");
  const BackupOutcome outcome = rooms().backup("db");
  EXPECT_EQ(outcome.outcome, Outcome::ok);
  EXPECT_EQ(outcome.consistency, "live");
  EXPECT_EQ(outcome.summary.total_files_processed, 1u);

  const auto all = rooms().snapshots("db");
  ASSERT_EQ(all.size(), 1u);
  const repo::Snapshot& snapshot = all[0].snapshot;
  EXPECT_EQ(outcome.snapshot, snapshot.id.hex());
  EXPECT_EQ(snapshot.time.time, clock_.now());
  EXPECT_THAT(snapshot.paths, ElementsAre("/volumes/db"));
  EXPECT_THAT(snapshot.tags, ElementsAre("davit", "point:" + outcome.point));
  EXPECT_THAT(snapshot.excludes, ElementsAre("*.tmp"));
  EXPECT_EQ(snapshot.hostname, "here");
  EXPECT_EQ(snapshot.program_version, "davit test");

  const auto saved = restore::find_small_file(repository(), snapshot.tree, kVolumeFile, 1 << 20);
  ASSERT_TRUE(saved);
  EXPECT_EQ(parse_volume_file(*saved),
            (volumes::OptionMap{{"schedule", "@hourly"}, {"keep-daily", "3"}, {"exclude", "*.tmp"}}));

  const auto record = registry().find("db")->last_backup;
  EXPECT_EQ(record.attempted, clock_.now());
  EXPECT_EQ(record.succeeded, clock_.now());
  EXPECT_EQ(record.snapshot, outcome.snapshot);
  EXPECT_EQ(record.error, "");
  EXPECT_EQ(driver().get("db")->status.at("consistency"), "live");
  EXPECT_EQ(driver().get("db")->status.at("snapshots"), "1");
  EXPECT_TRUE(files_in("repository/locks").empty());
}

TEST_F(Backup, AnUnchangedVolumeIsSavedAgainWithoutOpeningAFile) {
  rooms().create("db");
  for (int i = 0; i < 20; ++i) rooms().write("db", "file" + std::to_string(i), test::noise(i, 1000));
  // Files that were written a moment before they were read are read once more.
  ASSERT_TRUE(test::eventually([&] { return rooms().backup("db").summary.files_unmodified == 20; }));

  const base::Fd watch(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  ASSERT_GE(::inotify_add_watch(watch.get(), rooms().directory("db").c_str(), IN_OPEN), 0);
  const BackupOutcome again = rooms().backup("db");
  EXPECT_EQ(again.summary.files_unmodified, 20u);
  EXPECT_EQ(again.summary.data_added, 0u);
  EXPECT_EQ(again.summary.tree_blobs, 0u);
  alignas(inotify_event) char events[65536];
  std::vector<std::string> opened;
  for (ssize_t got; (got = ::read(watch.get(), events, sizeof events)) > 0;)
    for (ssize_t at = 0; at < got;) {
      const auto* event = reinterpret_cast<const inotify_event*>(events + at);
      if (!(event->mask & IN_ISDIR)) opened.emplace_back(event->len ? event->name : "?");
      at += static_cast<ssize_t>(sizeof *event + event->len);
    }
  EXPECT_THAT(opened, ElementsAre());
}

TEST_F(Backup, WhatCannotBeReadMakesItPartialAndIsNamed) {
  rooms().create("db");
  rooms().write("db", "good", "good");
  rooms().write("db", "bad", "bad");
  const std::string whole = rooms().backup("db").snapshot;
  rooms().write("db", "bad", "worse");
  clock_.advance(std::chrono::hours(1));
  {
    const Unreadable lease(rooms().directory("db") + "/bad");
    const BackupOutcome outcome = rooms().backup("db");
    EXPECT_EQ(outcome.outcome, Outcome::partial);
    EXPECT_EQ(outcome.unreadable, 1u);
    EXPECT_THAT(outcome.error, HasSubstr("bad"));
    ASSERT_EQ(outcome.problems.size(), 1u);
    EXPECT_THAT(outcome.problems[0], HasSubstr("bad: "));
  }
  const auto all = rooms().snapshots("db");
  ASSERT_EQ(all.size(), 2u);
  EXPECT_TRUE(all[1].partial);
  EXPECT_TRUE(registry().find("db")->last_backup.partial);
  EXPECT_EQ(driver().get("db")->status.at("consistency"), "live, partial");
  EXPECT_THAT(driver().get("db")->status.at("last_error"), HasSubstr("bad"));
  // The newest that is whole is what counts.
  rooms().create("copy", {{"from", "db"}});
  EXPECT_EQ(registry().find("copy")->source_snapshot, whole);
  EXPECT_EQ(rooms().read("copy", "bad"), "bad");
}

TEST_F(Backup, AFailureIsNotedWithTheVolumeAndTheNextSuccessClearsIt) {
  rooms().create("db");
  rooms().write("db", "file", test::noise(1, 1000));
  rooms().backup("db");
  rooms().write("db", "file", test::noise(2, 1000));
  ASSERT_EQ(::rename((data() + "/repository").c_str(), (data() + "/elsewhere").c_str()), 0);
  EXPECT_THAT(refusal([&] { rooms().backup("db"); }), HasSubstr("repository"));
  EXPECT_NE(registry().find("db")->last_backup.error, "");
  EXPECT_NE(manager().status().repository_state, "ok");
  EXPECT_EQ(registry().find("db")->state, volumes::State::ready);
  // Nothing new grew where it was.
  ASSERT_EQ(::rename((data() + "/elsewhere").c_str(), (data() + "/repository").c_str()), 0);
  rooms().backup("db");
  EXPECT_EQ(registry().find("db")->last_backup.error, "");
  EXPECT_EQ(rooms().snapshots("db").size(), 2u);
}

TEST_F(Backup, AskingAgainJoinsTheOneThatRuns) {
  rooms().create("db");
  rooms().write("db", "file", "text");
  test::PauseAt pause("backup:finished");
  BackupOutcome first, second;
  std::thread one([&] { first = rooms().backup("db"); });
  ASSERT_TRUE(pause.wait_until_reached());
  std::thread two([&] { second = rooms().backup("db"); });
  std::atomic<bool> told{false};
  manager().start_scheduled_backup(registry().find("db")->uuid, [&](bool ok) { told = ok; });
  // The second one has surely joined: the job cannot end before the pause does.
  ASSERT_TRUE(test::eventually([&] { return manager().status().volumes.at(0).running.has_value(); }));
  pause.release();
  one.join();
  two.join();
  rooms().settle("db");
  EXPECT_FALSE(first.snapshot.empty());
  EXPECT_TRUE(test::eventually([&] { return told.load(); }));
  EXPECT_LE(rooms().snapshots("db").size(), 2u);
}

TEST_F(Backup, OfAVolumeThatIsGoneWithItsDataMakesNoSnapshot) {
  environment_["RESTIC_PACK_SIZE"] = "4";
  rooms().create("db", {{"final-backup", "off"}});
  for (int i = 0; i < 12; ++i) rooms().write("db", "file" + std::to_string(10 + i), test::noise(i, 1 << 20));
  test::PauseAt pause("store:put:begin", 2);  // the first one is its lock, then come packs
  BackupOutcome outcome;
  std::thread backup([&] { outcome = rooms().backup("db"); });
  ASSERT_TRUE(pause.wait_until_reached());
  driver().remove("db");
  ASSERT_TRUE(test::eventually([&] { return files_in("removed").empty(); }));
  pause.release();
  backup.join();
  EXPECT_EQ(outcome.outcome, Outcome::failed);
  EXPECT_EQ(outcome.snapshot, "");
  EXPECT_TRUE(rooms().snapshots("db").empty());
}

TEST_F(Backup, ReadsTheDataToItsEndBeforeTheSnapshotCounts) {
  // The removal comes when all is read and stored: only the look at the directory itself can tell.
  rooms().create("db", {{"final-backup", "off"}});
  rooms().write("db", "file", "text");
  test::PauseAt pause("backup:finished");
  std::thread backup([&] { refusal([&] { rooms().backup("db"); }); });
  ASSERT_TRUE(pause.wait_until_reached());
  registry().remove("db", false);  // not through the driver, which would stop the job
  pause.release();
  backup.join();
  EXPECT_TRUE(rooms().snapshots("db").empty());
}

TEST_F(Backup, RetentionFollowsEachRunAndTheNewestWholeOneStays) {
  rooms().create("db", {{"keep-last", "2"}});
  std::vector<std::string> made;
  for (int i = 0; i < 4; ++i) {
    rooms().write("db", "file", std::to_string(i));
    made.push_back(rooms().backup("db").snapshot);
    clock_.advance(std::chrono::hours(1));
  }
  const auto ids = [&] {
    std::vector<std::string> all;
    for (const auto& info : rooms().snapshots("db")) all.push_back(info.id.hex());
    return all;
  };
  EXPECT_THAT(ids(), ElementsAre(made[2], made[3]));
  // Partial ones fill the rule; the last whole one stays beside them.
  rooms().write("db", "file", "new");
  for (int i = 0; i < 3; ++i) {
    const Unreadable lease(rooms().directory("db") + "/file");
    clock_.advance(std::chrono::hours(1));
    EXPECT_EQ(rooms().backup("db").outcome, Outcome::partial);
  }
  EXPECT_EQ(ids().size(), 3u);
  EXPECT_THAT(ids(), Contains(made[3]));
}

TEST_F(Backup, RetentionThatFailsLeavesTheBackupAndIsTold) {
  rooms().create("db", {{"keep-last", "1"}});
  rooms().write("db", "file", "1");
  rooms().backup("db");
  clock_.advance(std::chrono::hours(1));
  // A rule that an older davit may have let through.
  registry().update(registry().find("db")->uuid, [](volumes::Volume& volume) { volume.options["keep-last"] = "many"; });
  const BackupOutcome outcome = rooms().backup("db");
  EXPECT_EQ(outcome.outcome, Outcome::ok);
  EXPECT_THAT(outcome.error, HasSubstr("retention failed"));
  EXPECT_THAT(registry().find("db")->last_backup.error, HasSubstr("retention failed"));
  EXPECT_EQ(rooms().snapshots("db").size(), 2u);
}

TEST_F(Backup, OfAllVolumesSavesTheOthersWhenOneFails) {
  for (const char* name : {"a", "b", "c"}) {
    rooms().create(name);
    rooms().write(name, "file", name);
  }
  ASSERT_EQ(::rename(rooms().directory("b").c_str(), (data() + "/hidden").c_str()), 0);
  const auto outcomes = manager().backup({}, {}, {}, {});
  ASSERT_EQ(outcomes.size(), 3u);
  EXPECT_EQ(outcomes[0].outcome, Outcome::ok);
  EXPECT_EQ(outcomes[1].outcome, Outcome::failed);
  EXPECT_NE(outcomes[1].error, "");
  EXPECT_EQ(outcomes[2].outcome, Outcome::ok);
  ASSERT_EQ(::rename((data() + "/hidden").c_str(), rooms().directory("b").c_str()), 0);
  EXPECT_THROW(manager().backup({"nobody"}, {}, {}, {}), base::NotFound);
}

TEST_F(Backup, InterruptedByTheEndOfTheDaemonGoesOnTheNextTime) {
  rooms().create("db");
  rooms().write("db", "file", "text");
  {
    test::PauseAt pause("archive:done");
    std::thread backup([&] {
      const BackupOutcome outcome = rooms().backup("db");
      EXPECT_EQ(outcome.outcome, Outcome::failed);
      EXPECT_EQ(outcome.error, "interrupted");
    });
    ASSERT_TRUE(pause.wait_until_reached());
    manager().stop();
    pause.release();
    backup.join();
  }
  stop();
  EXPECT_TRUE(rooms().snapshots("db").empty());
  EXPECT_TRUE(registry().find("db")->last_backup.attempted);
  EXPECT_FALSE(registry().find("db")->last_backup.succeeded);
  EXPECT_EQ(rooms().backup("db").outcome, Outcome::ok);
}

}  // namespace
}  // namespace davit::jobs
