#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "jobs_fixture.h"
#include "repo/small_files.h"
#include "support/made_repository.h"
#include "support/tree_maker.h"
#include "support/tree_manifest.h"

namespace davit::jobs {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using volumes::State;

class Restore : public JobsFixture {
 protected:
  // A volume "db" with one snapshot, whose data was changed since.
  std::string save_db(const volumes::OptionMap& options = {}) {
    rooms().create("db", options);
    rooms().write("db", "table", "saved");
    const std::string id = rooms().backup("db").snapshot;
    rooms().write("db", "table", "changed");
    clock_.advance(std::chrono::hours(1));
    return id;
  }
  // The create fails, with this in its reason, and nothing of it is left.
  void expect_refused(const std::string& reference, const std::string& reason, const std::string& name = "new") {
    EXPECT_THAT(refusal([&] { driver().create(name, {{"from", reference}}, test::Rooms::budget()); }), HasSubstr(reason))
        << reference;
    EXPECT_FALSE(driver().get(name));
    EXPECT_FALSE(registry().find(name));
    rooms().settle(name);
    EXPECT_FALSE(base::find_file(rooms().directory(name) + "/table"));
    EXPECT_THAT(files_in("staging"), IsEmpty());
  }
  void put_foreign_lock(bool exclusive) {
    repo::LockFile lock;
    lock.time.time = std::chrono::system_clock::now();
    lock.hostname = "elsewhere";
    lock.username = "root";
    lock.pid = 4711;
    lock.exclusive = exclusive;
    repository().save_unpacked(store::Kind::lock, repo::encode_lock(lock));
  }
  RestoreOutcome restore_in_place(const std::string& reference, const std::string& target) {
    return manager().restore({.reference = reference, .target = target, .in_place = true, .options = {}}, {}, {});
  }
};

TEST_F(Restore, BringsAVolumeBackWithEverythingInIt) {
  rooms().create("db");
  test::TreeSpec spec;
  spec.large = spec.sparse = false;  // archive's own tests have those
  test::make_tree(rooms().directory("db"), spec);
  rooms().backup("db");
  rooms().create("copy", {{"from", "db"}});
  EXPECT_EQ(registry().find("copy")->state, State::ready);
  EXPECT_EQ(test::manifest_difference(test::tree_manifest(rooms().directory("db")),
                                      test::tree_manifest(rooms().directory("copy"))),
            "");
  EXPECT_TRUE(files_in("repository/locks").empty());
  // What was restored needs no second reading.
  const auto again = rooms().backup("copy");
  EXPECT_EQ(again.summary.files_new + again.summary.files_changed, 0u);
}

TEST_F(Restore, OptionsThatWereSavedComeBackUnlessTheyAreGivenAnew) {
  save_db({{"schedule", "@hourly"}, {"keep-daily", "3"}, {"exclude", "*.tmp"}});
  rooms().create("copy", {{"from", "db"}, {"keep-daily", "9"}, {"exclude", ""}});
  const auto options = registry().find("copy")->options;
  EXPECT_EQ(options.at("schedule"), "@hourly");
  EXPECT_EQ(options.at("keep-daily"), "9");
  EXPECT_EQ(options.at("from"), "db");
  // Asked for once more, it is the same volume.
  driver().create("copy", {{"from", "db"}, {"keep-daily", "9"}}, test::Rooms::budget());
  EXPECT_THROW(driver().create("copy", {{"from", "db"}}, test::Rooms::budget()), base::Conflict);
}

TEST_F(Restore, AutoMakesAnEmptyVolumeOnlyWhereThereIsCertainlyNoSnapshot) {
  rooms().create("fresh", {{"from", "auto"}});
  EXPECT_EQ(registry().find("fresh")->state, State::ready);
  EXPECT_THAT(base::list_directory(rooms().directory("fresh")), IsEmpty());

  save_db({{"final-backup", "off"}});
  driver().remove("db");
  rooms().create("db", {{"from", "auto"}});
  EXPECT_EQ(rooms().read("db", "table"), "saved");
}

TEST_F(Restore, AnUnknownReferenceLeavesNothingBehind) {
  save_db();
  expect_refused("nobody", "the repository holds: db (1, newest");
  expect_refused("db@2020-01-01", "the earliest is");
  expect_refused("ffffffff", "no snapshot ffffffff");
  expect_refused("a b", "is no reference");
}

TEST_F(Restore, ADamagedSnapshotFileIsNeverTakenForNone) {
  const std::string older = save_db();
  const std::string newer = rooms().backup("db").snapshot;
  // A process that has not seen the file whole.
  stop();
  damage_snapshot(newer);
  expect_refused("auto", "cannot be read, and it may be the one that is meant");
  expect_refused("db", "db@" + older.substr(0, 8));
  expect_refused("db@latest", "davit check");
  expect_refused("other", "cannot be read");
  expect_refused(newer, "cannot be read");
  EXPECT_THAT(refusal([&] { restore_in_place("db", "db"); }), HasSubstr("cannot be read"));
  rooms().create("new", {{"from", "db@" + older.substr(0, 8)}});
  EXPECT_EQ(rooms().read("new", "table"), "saved");
  // Nor for a new volume of a name that nobody saved.
  expect_refused("auto", "cannot be read", "never-seen");
}

TEST_F(Restore, AWrongPasswordFailsTheCreate) {
  save_db();
  stop();
  base::write_file_atomic(data() + "/secrets/repository-password", base::as_bytes("another\n"));
  expect_refused("auto", "password");
  expect_refused("db", "password");
}

TEST_F(Restore, AMissingRepositoryFailsTheCreateAndNoNewOneIsMade) {
  save_db();
  stop();
  ASSERT_EQ(::rename((data() + "/repository").c_str(), (data() + "/elsewhere").c_str()), 0);
  expect_refused("auto", "was there before and is gone");
  stop();
  ASSERT_EQ(::mkdir((data() + "/repository").c_str(), 0700), 0);  // as an empty mount point is there
  expect_refused("auto", "was there before and is gone");
  EXPECT_THAT(files_in("repository"), IsEmpty());
  environment_["RESTIC_REPOSITORY"] = data() + "/never";
  stop();
  expect_refused("auto", "davit init");
}

TEST_F(Restore, AForeignExclusiveLockFailsTheCreateAndASharedOneDoesNot) {
  save_db();
  put_foreign_lock(true);
  expect_refused("auto", "locked exclusively by elsewhere");
  EXPECT_EQ(manager().unlock(false), 0u) << "it is not stale";
  EXPECT_EQ(manager().unlock(true), 1u);
  put_foreign_lock(false);
  rooms().create("new", {{"from", "db"}});
  EXPECT_EQ(rooms().read("new", "table"), "saved");
}

TEST_F(Restore, OneThatFailsForGoodSaysSoAtMountAndIsRemovedWithoutALastBackup) {
  save_db();
  for (const auto& prefix : files_in("repository/data"))
    for (const auto& pack : files_in("repository/data/" + prefix)) {
      const std::string path = data() + "/repository/data/" + prefix + "/" + pack;
      auto bytes = base::get_file(path);
      for (size_t i = 40; i < bytes.size(); i += 50) bytes[i] ^= 1;
      base::remove_file(path);
      base::write_file_atomic(path, bytes);
    }
  // The options cannot be read either: that is said at once.
  EXPECT_NE(refusal([&] { driver().create("new", {{"from", "db"}}, test::Rooms::budget()); }), "accepted");
  EXPECT_FALSE(registry().find("new"));
  // Journalled before the damage.
  const auto volume = registry().create("torn", State::restoring, {}, [&](volumes::Volume& record) {
    record.source_snapshot = rooms().snapshots("db")[0].id.hex();
    record.source_path = "/volumes/db";
  });
  manager().start_restore(volume.uuid);
  EXPECT_THAT(refusal([&] { driver().mount("torn", "id", test::Rooms::budget()); }), HasSubstr("not usable"));
  EXPECT_EQ(registry().find("torn")->state, State::failed);
  EXPECT_THAT(refusal([&] { manager().wait("torn", {}, {}); }), HasSubstr("failed"));
  driver().remove("torn");
  EXPECT_THAT(registry().list_removed(), IsEmpty());
  EXPECT_TRUE(test::eventually([&] { return files_in("staging").empty(); }));
}

TEST_F(Restore, WaitsForARepositoryThatIsNotThereYet) {
  const std::string id = save_db();
  {
    test::PauseAt pause("restore:written");
    driver().create("new", {{"from", "db"}}, test::Rooms::budget());
    ASSERT_TRUE(pause.wait_until_reached());
    manager().stop();
    pause.release();
  }
  stop();
  // The machine comes up before the disk with the repository does.
  ASSERT_EQ(::rename((data() + "/repository").c_str(), (data() + "/elsewhere").c_str()), 0);
  start();
  EXPECT_EQ(registry().find("new")->state, State::restoring);
  ASSERT_TRUE(test::eventually([&] {
    const auto progress = driver().get("new")->status;
    return progress.contains("progress") && progress.at("progress").find("waiting for the repository") != std::string::npos;
  }));
  ASSERT_EQ(::rename((data() + "/elsewhere").c_str(), (data() + "/repository").c_str()), 0);
  EXPECT_EQ(driver().mount("new", "id", test::Rooms::budget()), rooms().directory("new"));
  EXPECT_EQ(rooms().read("new", "table"), "saved");
}

TEST_F(Restore, InterruptedBeginsAnewAtTheNextStart) {
  save_db();
  {
    test::PauseAt pause("restore:filled");
    driver().create("new", {{"from", "db"}}, test::Rooms::budget());
    ASSERT_TRUE(pause.wait_until_reached());
    EXPECT_THAT(refusal([&] {
                  driver().mount("new", "id", {std::chrono::steady_clock::now() + std::chrono::milliseconds(20)});
                }),
                AllOf(HasSubstr("still being restored"), HasSubstr(" % done"), HasSubstr("davit wait new")));
    manager().stop();
    pause.release();
  }
  stop();
  EXPECT_EQ(driver().mount("new", "id", test::Rooms::budget()), rooms().directory("new"));
  EXPECT_EQ(rooms().read("new", "table"), "saved");
}

TEST_F(Restore, RemovedWhileItRunsIsForgotten) {
  save_db();
  test::PauseAt pause("restore:filled");
  driver().create("new", {{"from", "db"}}, test::Rooms::budget());
  ASSERT_TRUE(pause.wait_until_reached());
  std::thread remove([&] { driver().remove("new"); });
  // The removal asks it to stop, and waits for that.
  const auto job = manager().find_job(registry().find("new")->uuid);
  ASSERT_TRUE(test::eventually([&] { return job->stop.stop_requested(); }));
  pause.release();
  remove.join();
  EXPECT_FALSE(registry().find("new"));
  EXPECT_THAT(registry().list_removed(), IsEmpty());
  EXPECT_TRUE(test::eventually([&] { return files_in("staging").empty() && files_in("removed").empty(); }));
  EXPECT_THAT(rooms().snapshots("new"), IsEmpty());
  driver().create("new", {}, test::Rooms::budget());
}

TEST_F(Restore, ByCommandTellsWhatItDidAndKeepsTheOptions) {
  const std::string id = save_db({{"schedule", "@hourly"}});
  const auto outcome = manager().restore(
      {.reference = "db", .target = "new", .in_place = false, .options = {{"keep-last", "4"}}}, {}, {});
  EXPECT_EQ(outcome.volume, "new");
  EXPECT_EQ(outcome.snapshot, id);
  EXPECT_EQ(outcome.files, 1u);
  EXPECT_EQ(outcome.bytes, 5u);
  EXPECT_THAT(outcome.problems, IsEmpty());
  EXPECT_EQ(registry().find("new")->options, (volumes::OptionMap{{"keep-last", "4"}, {"schedule", "@hourly"}}));
  EXPECT_THROW(manager().restore({.reference = "db", .target = "new", .in_place = false, .options = {}}, {}, {}), base::Conflict);
  EXPECT_THROW(manager().restore({.reference = "db", .target = "../x", .in_place = false, .options = {}}, {}, {}), base::UsageError);
  EXPECT_THROW(manager().restore({.reference = "db", .target = "y", .in_place = false, .options = {{"colour", "red"}}}, {}, {}),
               base::UsageError);
  EXPECT_FALSE(registry().find("y"));
}

TEST_F(Restore, InPlaceSavesWhatIsThereFirst) {
  const std::string id = save_db();
  const auto outcome = restore_in_place("db@" + id.substr(0, 12), "db");
  EXPECT_EQ(outcome.snapshot, id);
  EXPECT_EQ(outcome.files, 1u);
  EXPECT_EQ(rooms().read("db", "table"), "saved");
  const auto all = rooms().snapshots("db");
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[1].id.hex(), outcome.safety_snapshot);
  EXPECT_TRUE(all[1].snapshot.has_tag(kTagSafety));
  EXPECT_THAT(files_in("staging"), IsEmpty());
  // And back.
  restore_in_place("db@" + outcome.safety_snapshot.substr(0, 12), "db");
  EXPECT_EQ(rooms().read("db", "table"), "changed");
}

TEST_F(Restore, InPlaceIsRefusedWhileTheVolumeIsInUseOrNobodyCanTell) {
  const std::string id = save_db();
  rooms().engine.set("db", "postgres", "running");
  EXPECT_THAT(refusal([&] { restore_in_place(id, "db"); }), HasSubstr("in use by postgres"));
  rooms().engine.set("db", "postgres", "paused");
  EXPECT_THAT(refusal([&] { restore_in_place(id, "db"); }), HasSubstr("in use by postgres"));
  rooms().engine.fail("the engine is away");
  EXPECT_THAT(refusal([&] { restore_in_place(id, "db"); }), HasSubstr("the engine is away"));
  rooms().engine.fail("");
  EXPECT_EQ(rooms().snapshots("db").size(), 1u);
  EXPECT_EQ(rooms().read("db", "table"), "changed");
  rooms().engine.set("db", "postgres", "exited");
  restore_in_place(id, "db");
  EXPECT_EQ(rooms().read("db", "table"), "saved");
}

// The engine names nobody yet who runs.
TEST_F(Restore, InPlaceIsRefusedWhileAContainerThatMountedItIsJustStarting) {
  const std::string id = save_db();
  rooms().engine.set("db", "postgres", "created");
  driver().mount("db", "start", test::Rooms::budget());
  EXPECT_THAT(refusal([&] { restore_in_place(id, "db"); }), HasSubstr("mounted a moment ago"));
  EXPECT_EQ(rooms().snapshots("db").size(), 1u);
  // A start that failed, and one whose Unmount got lost.
  driver().unmount("db", "start");
  driver().unmount("db", "start");
  restore_in_place(id, "db");
  EXPECT_EQ(rooms().read("db", "table"), "saved");
  rooms().write("db", "table", "changed");
  driver().mount("db", "another start", test::Rooms::budget());
  EXPECT_THAT(refusal([&] { restore_in_place(id, "db"); }), HasSubstr("mounted a moment ago"));
  EXPECT_EQ(rooms().read("db", "table"), "changed");
  clock_.advance(volumes::Mounts::kStarting + std::chrono::seconds(1));
  restore_in_place(id, "db");
  EXPECT_EQ(rooms().read("db", "table"), "saved");
}

TEST_F(Restore, InPlaceGivesUpWhenAContainerStartsMeanwhileAndNoneCanMountIt) {
  const std::string id = save_db();
  test::PauseAt pause("restore:filled");
  std::string why;
  std::thread restore([&] { why = refusal([&] { restore_in_place(id, "db"); }); });
  ASSERT_TRUE(pause.wait_until_reached());
  EXPECT_THAT(refusal([&] {
                driver().mount("db", "id", {std::chrono::steady_clock::now() + std::chrono::milliseconds(20)});
              }),
              HasSubstr("still being restored"));
  rooms().engine.set("db", "postgres", "running");  // it had mounted it before
  pause.release();
  restore.join();
  EXPECT_THAT(why, HasSubstr("in use by postgres"));
  EXPECT_EQ(rooms().read("db", "table"), "changed");
  EXPECT_THAT(files_in("staging"), IsEmpty());
  EXPECT_EQ(driver().mount("db", "id", test::Rooms::budget()), rooms().directory("db"));
}

TEST_F(Restore, InPlaceChangesNothingWhereNotAllCanBeSavedFirst) {
  const std::string id = save_db();
  const base::Fd leased = base::open_file(rooms().directory("db") + "/table", O_RDWR);
  ::signal(SIGIO, SIG_IGN);
  ASSERT_EQ(::fcntl(leased.get(), F_SETLEASE, F_WRLCK), 0);
  EXPECT_THAT(refusal([&] { restore_in_place(id, "db"); }), HasSubstr("nothing was changed"));
  ASSERT_EQ(::fcntl(leased.get(), F_SETLEASE, F_UNLCK), 0);
  EXPECT_EQ(rooms().read("db", "table"), "changed");
}

TEST_F(Restore, AVolumeRemovedWhileItIsRestoredInPlaceKeepsItsData) {
  const std::string id = save_db();
  test::PauseAt pause("restore:filled");
  std::string why;
  std::thread restore([&] { why = refusal([&] { restore_in_place(id, "db"); }); });
  ASSERT_TRUE(pause.wait_until_reached());
  driver().remove("db");
  pause.release();
  restore.join();
  EXPECT_THAT(why, HasSubstr("no volume"));
  ASSERT_TRUE(vanishes("db"));
  const auto all = rooms().snapshots("db");
  ASSERT_EQ(all.size(), 3u);  // saved, before the restore, at the removal
  rooms().create("db", {{"from", "auto"}});
  EXPECT_EQ(rooms().read("db", "table"), "changed");
}

TEST_F(Restore, FromAnotherHostNeedsNothingButRepositoryAndPassword) {
  save_db();
  stop();
  // A machine that never saw the volume.
  const std::string other = dir_ / "other";
  base::make_directories(other + "/secrets");
  base::write_file_atomic(other + "/secrets/repository-password",
                          base::get_file(data() + "/secrets/repository-password"));
  test::Rooms there(other, {.clock = &clock_,
                            .environment = {{"DAVIT_HOSTNAME", "there"}, {"RESTIC_REPOSITORY", data() + "/repository"}}});
  there.start();
  there.create("db", {{"from", "auto"}});
  EXPECT_EQ(there.read("db", "table"), "saved");
}

}  // namespace
}  // namespace davit::jobs
