#include <fcntl.h>

#include <csignal>

#include "jobs_fixture.h"
#include "support/made_repository.h"

namespace davit::jobs {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using volumes::State;

class LastBackup : public JobsFixture {
 protected:
  std::string make_db(const volumes::OptionMap& options = {}) {
    rooms().create("db", options);
    rooms().write("db", "table", "last words");
    return registry().find("db")->uuid;
  }
};

TEST_F(LastBackup, IsMadeWithTheMomentOfTheRemovalAndTheDataGoes) {
  make_db();
  clock_.advance(std::chrono::hours(1));
  const auto removed_at = clock_.now();
  {
    test::PauseAt pause("archive:done");
    driver().remove("db");
    EXPECT_FALSE(driver().get("db"));
    ASSERT_TRUE(pause.wait_until_reached());
    clock_.advance(std::chrono::hours(1));
    ASSERT_THAT(manager().status().removed, SizeIs(1));
    EXPECT_TRUE(manager().status().removed[0].running);
    pause.release();
    ASSERT_TRUE(vanishes("db"));
  }
  const auto all = rooms().snapshots("db");
  ASSERT_THAT(all, SizeIs(1));
  EXPECT_TRUE(all[0].snapshot.has_tag(kTagFinal));
  EXPECT_EQ(all[0].snapshot.time.time, removed_at);
  EXPECT_THAT(files_in("removed"), IsEmpty());
  EXPECT_THAT(files_in("volumes"), IsEmpty());
  EXPECT_THAT(files_in("registry"), IsEmpty());
  EXPECT_TRUE(test::eventually([&] { return files_in("cache/" + files_in("cache")[0]).empty(); }));
}

TEST_F(LastBackup, WhoAsksForTheVolumeRightAfterWaitsForIt) {
  for (const char* reference : {"db", "auto", "db@latest", "here:db"}) {
    const std::string made = std::string(reference) == "auto" ? "db" : "new";
    make_db({{"schedule", "@hourly"}});
    rooms().write("db", "table", reference);
    clock_.advance(std::chrono::hours(1));
    test::PauseAt pause("archive:done");
    driver().remove("db");
    driver().create(made, {{"from", reference}}, test::Rooms::budget());
    ASSERT_TRUE(pause.wait_until_reached());
    EXPECT_THAT(refusal([&] {
                  driver().mount(made, "id", {std::chrono::steady_clock::now() + std::chrono::milliseconds(20)});
                }),
                HasSubstr("waiting for the last backup of " + made));
    pause.release();
    driver().mount(made, "id", test::Rooms::budget());
    EXPECT_EQ(rooms().read(made, "table"), reference);
    EXPECT_EQ(registry().find(made)->options.at("schedule"), "@hourly");
    ASSERT_TRUE(vanishes("db"));
    registry().remove(made, false);
  }
}

TEST_F(LastBackup, ComesAfterABackupThatRuns) {
  make_db();
  clock_.advance(std::chrono::hours(1));
  test::PauseAt pause("backup:finished");
  std::thread backup([&] { rooms().backup("db"); });
  ASSERT_TRUE(pause.wait_until_reached());
  rooms().write("db", "table", "written after the backup had read it");
  clock_.advance(std::chrono::hours(1));
  driver().remove("db");
  pause.release();
  backup.join();
  ASSERT_TRUE(vanishes("db"));
  const auto all = rooms().snapshots("db");
  ASSERT_THAT(all, SizeIs(2));
  EXPECT_FALSE(all[0].snapshot.has_tag(kTagFinal));
  EXPECT_TRUE(all[1].snapshot.has_tag(kTagFinal));
  rooms().create("db", {{"from", "auto"}});
  EXPECT_EQ(rooms().read("db", "table"), "written after the backup had read it");
}

TEST_F(LastBackup, ThatFailsKeepsTheDataIsListedAndTriedAgain) {
  const std::string uuid = make_db();
  ASSERT_EQ(::rename((data() + "/repository").c_str(), (data() + "/elsewhere").c_str()), 0);
  driver().remove("db");
  rooms().settle("db");
  const auto removed = manager().status().removed;
  ASSERT_THAT(removed, SizeIs(1));
  EXPECT_EQ(removed[0].volume.name, "db");
  EXPECT_NE(removed[0].volume.last_backup.error, "");
  EXPECT_EQ(base::as_text(base::get_file(data() + "/removed/" + uuid + "/table")), "last words");
  EXPECT_THAT(refusal([&] { manager().wait("db", {}, {}); }), HasSubstr("will be tried again"));
  // Not at once again, and again.
  manager().start_last_backup(uuid);
  EXPECT_FALSE(manager().find_job(uuid));
  // The next start tries at once.
  ASSERT_EQ(::rename((data() + "/elsewhere").c_str(), (data() + "/repository").c_str()), 0);
  stop();
  ASSERT_TRUE(vanishes("db"));
  EXPECT_THAT(rooms().snapshots("db"), SizeIs(1));
}

TEST_F(LastBackup, ThatIsPartialKeepsTheData) {
  const std::string uuid = make_db();
  rooms().write("db", "other", "other");
  ::signal(SIGIO, SIG_IGN);
  const base::Fd leased = base::open_file(rooms().directory("db") + "/other", O_RDWR);
  ASSERT_EQ(::fcntl(leased.get(), F_SETLEASE, F_WRLCK), 0);
  driver().remove("db");
  rooms().settle("db");
  ASSERT_THAT(manager().status().removed, SizeIs(1));
  EXPECT_THAT(manager().status().removed[0].volume.last_backup.error, HasSubstr("partial"));
  EXPECT_THAT(rooms().snapshots("db"), SizeIs(1));
  // However often it is tried, and whatever happens beside it: only what differs adds a snapshot.
  for (const char* name : {"a", "b"}) {
    rooms().create(name);
    clock_.advance(std::chrono::hours(1));
    const auto before = registry().find_uuid(uuid)->last_backup.attempted;
    stop();
    start();
    rooms().settle("db");
    EXPECT_NE(registry().find_uuid(uuid)->last_backup.attempted, before);
    EXPECT_THAT(rooms().snapshots("db"), SizeIs(1));
  }
  ASSERT_EQ(::fcntl(leased.get(), F_SETLEASE, F_UNLCK), 0);
  EXPECT_EQ(base::as_text(base::get_file(data() + "/removed/" + uuid + "/other")), "other");
  stop();
  ASSERT_TRUE(vanishes("db"));
  EXPECT_THAT(rooms().snapshots("db"), SizeIs(2));
  rooms().create("db", {{"from", "auto"}});
  EXPECT_EQ(rooms().read("db", "other"), "other");
}

TEST_F(LastBackup, IsNotMadeWhereNobodyWantsIt) {
  const std::string anonymous(64, 'a');
  rooms().create(anonymous);
  rooms().write(anonymous, "file", "text");
  driver().remove(anonymous);
  make_db({{"final-backup", "false"}});
  driver().remove("db");
  manager().set_setting("DAVIT_FINAL_BACKUP", "off");
  rooms().create("by-setting");
  driver().remove("by-setting");
  EXPECT_THAT(registry().list_removed(), IsEmpty());
  EXPECT_THAT(manager().snapshots("", ""), IsEmpty());
  EXPECT_TRUE(test::eventually([&] { return files_in("removed").empty(); }));
  // The volume's own word counts for more.
  rooms().create("by-option", {{"final-backup", "on"}});
  driver().remove("by-option");
  ASSERT_TRUE(vanishes("by-option"));
  EXPECT_THAT(rooms().snapshots("by-option"), SizeIs(1));
}

TEST_F(LastBackup, GoesOnAfterAKillAndWaitWaitsForIt) {
  make_db();
  {
    test::PauseAt pause("archive:done");
    driver().remove("db");
    ASSERT_TRUE(pause.wait_until_reached());
    manager().stop();
    pause.release();
  }
  stop();
  test::PauseAt pause("archive:done");
  start();
  ASSERT_TRUE(pause.wait_until_reached());
  bool waited = false;
  std::thread wait([&] {
    manager().wait("db", {}, {});
    waited = registry().list_removed().empty();
  });
  pause.release();
  wait.join();
  EXPECT_TRUE(waited);
  EXPECT_THAT(rooms().snapshots("db"), SizeIs(1));
}

TEST_F(LastBackup, OfTheNewestOfSeveralIsWhatComesBack) {
  make_db();
  test::PauseAt pause("archive:done");
  driver().remove("db");
  ASSERT_TRUE(pause.wait_until_reached());
  clock_.advance(std::chrono::hours(1));
  rooms().create("db");
  rooms().write("db", "table", "second life");
  clock_.advance(std::chrono::hours(1));
  driver().remove("db");
  driver().create("db", {{"from", "auto"}}, test::Rooms::budget());
  pause.release();
  driver().mount("db", "id", test::Rooms::budget());
  EXPECT_EQ(rooms().read("db", "table"), "second life");
  ASSERT_TRUE(vanishes("db"));
}

}  // namespace
}  // namespace davit::jobs
