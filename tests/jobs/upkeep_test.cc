// Prune, check, keys, locks and settings, as a person asks for them.
#include <sys/mman.h>

#include "base/fd.h"
#include "jobs_fixture.h"
#include "repo/keyring.h"
#include "store/open.h"
#include "support/made_repository.h"
#include "support/restic.h"

namespace davit::jobs {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class Upkeep : public JobsFixture {
 protected:
  std::string save_db(const std::string& content) {
    if (!registry().find("db")) rooms().create("db");
    rooms().write("db", "file", content);
    const auto id = rooms().backup("db").snapshot;
    clock_.advance(std::chrono::hours(1));
    return id;
  }
  void expect_whole() {
    const auto report = manager().check(true, {}, {});
    EXPECT_THAT(report.errors, IsEmpty());
  }
  size_t packs() {
    size_t count = 0;
    for (const auto& prefix : files_in("repository/data")) count += files_in("repository/data/" + prefix).size();
    return count;
  }
  size_t keys() { return files_in("repository/keys").size(); }
  std::string password_file() const { return data() + "/secrets/repository-password"; }
};

TEST_F(Upkeep, PruneFreesWhatWasForgottenAndNotesWhenItRan) {
  const auto first = save_db(test::noise(1, 300'000));
  save_db(test::noise(2, 1000));
  manager().forget({.targets = {first}, .policy = {}, .dry_run = false});
  const auto would = manager().prune(true, {}, {});
  EXPECT_GT(would.bytes_freed, 250'000u);
  EXPECT_FALSE(manager().status().last_prune);
  const auto did = manager().prune(false, {}, {});
  EXPECT_EQ(did.bytes_freed, would.bytes_freed);
  EXPECT_EQ(manager().status().last_prune, clock_.now());
  EXPECT_TRUE(manager().prune(true, {}, {}).bytes_freed < 50'000);
  expect_whole();
  EXPECT_THAT(files_in("repository/locks"), IsEmpty());
}

TEST_F(Upkeep, ABackupBetweenThePhasesOfAPruneLosesNothing) {
  const auto first = save_db(test::noise(1, 200'000));
  save_db(test::noise(2, 1000));
  manager().forget({.targets = {first}, .policy = {}, .dry_run = false});
  // What the plan takes for unused is used again by a backup that ends before the second phase.
  std::optional<test::PauseAt> pause(std::in_place, "backup:finished");
  rooms().write("db", "file", test::noise(1, 200'000));
  BackupOutcome outcome;
  std::thread backup([&] { outcome = rooms().backup("db"); });
  ASSERT_TRUE(pause->wait_until_reached());
  std::string prune_failure;
  std::thread prune([&] {
    prune_failure = refusal([&] { manager().prune(false, {}, {}); });
  });
  // The plan is made beside the backup; the second phase waits until it has ended.
  ASSERT_TRUE(test::eventually([&] {
    const auto job = manager().find_job("prune");
    return job && job->phase().find("waiting until running backups") != std::string::npos;
  }));
  pause->release();
  backup.join();
  prune.join();
  EXPECT_EQ(prune_failure, "accepted");
  EXPECT_EQ(outcome.outcome, Outcome::ok);
  expect_whole();
  rooms().create("copy", {{"from", "db@" + outcome.snapshot.substr(0, 12)}});
  EXPECT_EQ(rooms().read("copy", "file"), test::noise(1, 200'000));
}

TEST_F(Upkeep, CheckNamesDamageAndStatusStaysUp) {
  save_db(test::noise(1, 50'000));
  expect_whole();
  for (const auto& prefix : files_in("repository/data"))
    for (const auto& pack : files_in("repository/data/" + prefix)) {
      const std::string path = data() + "/repository/data/" + prefix + "/" + pack;
      base::remove_file(path);
    }
  EXPECT_FALSE(manager().check(false, {}, {}).ok());
  EXPECT_EQ(manager().status().repository_state, "ok");
  EXPECT_NE(refusal([&] { manager().prune(false, {}, {}); }), "accepted");
  EXPECT_NE(manager().status().last_prune_error, "");
}

TEST_F(Upkeep, ResticAgreesWithAllOfIt) {
  DAVIT_NEEDS_RESTIC();
  const auto first = save_db(test::noise(1, 100'000));
  save_db(test::noise(2, 100'000));
  manager().forget({.targets = {first}, .policy = {}, .dry_run = false});
  manager().prune(false, {}, {});
  const test::Restic restic(data() + "/repository", test::kQuickPassword);
  const auto check = restic.run({"check", "--read-data"});
  EXPECT_EQ(check.exit_code, 0) << check.output;
}

// ------------------------------------------------------------------------------------------------ keys

TEST_F(Upkeep, KeysComeAndGo) {
  save_db("text");
  const std::string added = manager().key_add("second");
  EXPECT_EQ(keys(), 2u);
  EXPECT_NO_THROW(repo::open_with_password(repository().store(), "second"));
  const auto list = manager().key_list();
  ASSERT_THAT(list, SizeIs(2));
  for (const auto& key : list) EXPECT_EQ(key.current, key.id != added);
  for (const auto& key : list)
    if (key.current) {
      EXPECT_THROW(manager().key_remove(key.id), base::Conflict);
    }
  manager().key_remove(added.substr(0, 8));
  EXPECT_EQ(keys(), 1u);
  EXPECT_THROW(repo::open_with_password(repository().store(), "second"), base::WrongPassword);
  for (const std::string& bad : {std::string(), std::string("two\nlines"), std::string("a\0b", 3)})
    EXPECT_THROW(manager().key_add(bad), base::UsageError);
  EXPECT_EQ(keys(), 1u);
}

TEST_F(Upkeep, APasswordChangesWhileTheDaemonRuns) {
  save_db("text");
  EXPECT_THROW(manager().key_passwd("two\nlines"), base::UsageError);
  manager().key_passwd("changed");
  EXPECT_EQ(manager().key_export(), "changed");
  EXPECT_EQ(keys(), 1u);
  EXPECT_THROW(repo::open_with_password(repository().store(), test::kQuickPassword), base::WrongPassword);
  save_db("more");
  stop();
  EXPECT_THAT(rooms().snapshots("db"), SizeIs(2));
}

TEST_F(Upkeep, APasswordFileThatCannotBeReplacedLeavesTheKeysAsTheyWere) {
  save_db("text");
  stop();
  // A file that can be read, in a directory where nothing can be made.
  const base::Fd file(::memfd_create("password", MFD_CLOEXEC));
  base::write_all(file.get(), base::as_bytes(std::string(test::kQuickPassword) + "\n"));
  environment_["RESTIC_PASSWORD_FILE"] = "/proc/self/fd/" + std::to_string(file.get());
  start();
  EXPECT_THAT(rooms().snapshots("db"), SizeIs(1));
  EXPECT_THROW(manager().key_passwd("changed"), base::IoError);
  EXPECT_EQ(keys(), 1u);
  save_db("more");
}

TEST_F(Upkeep, WhereTheEnvironmentHoldsThePasswordItCannotBeChanged) {
  environment_["RESTIC_PASSWORD"] = test::kQuickPassword;
  save_db("text");
  EXPECT_THAT(refusal([&] { manager().key_passwd("changed"); }), HasSubstr("davit key add"));
  for (const auto& value : manager().settings())
    EXPECT_EQ(value.value.find(test::kQuickPassword), std::string::npos) << value.key;
}

// ---------------------------------------------------------------------------------------------- settings

TEST_F(Upkeep, AnotherRepositoryIsFollowedWithoutARestart) {
  save_db("text");
  const std::string other = dir_ / "other";
  test::make_quick_repository(other);
  manager().set_setting("RESTIC_REPOSITORY", other);
  EXPECT_THAT(rooms().snapshots("db"), IsEmpty());
  save_db("in the other one");
  EXPECT_THAT(rooms().snapshots("db"), SizeIs(1));
  manager().set_setting("RESTIC_REPOSITORY", std::nullopt);
  EXPECT_THAT(rooms().snapshots("db"), SizeIs(1));
  expect_whole();
  EXPECT_THROW(manager().set_setting("RESTIC_REPOSITORY", "gopher:x"), base::UsageError);
  EXPECT_THROW(manager().set_setting("DAVIT_KEEP_WITHIN", "a while"), base::UsageError);
}

TEST_F(Upkeep, AJobEndsWhereItBeganWhenTheRepositoryIsAnotherOneMeanwhile) {
  save_db("text");
  const std::string other = dir_ / "other";
  test::make_quick_repository(other);
  std::optional<test::PauseAt> pause(std::in_place, "backup:finished");
  BackupOutcome outcome;
  rooms().write("db", "file", "in flight");
  std::thread backup([&] { outcome = rooms().backup("db"); });
  ASSERT_TRUE(pause->wait_until_reached());
  manager().set_setting("RESTIC_REPOSITORY", other);
  rooms().create("second");
  BackupOutcome second;
  std::thread next([&] { second = rooms().backup("second"); });
  // It waits for the one that holds the lock of the old repository.
  ASSERT_TRUE(test::eventually([&] {
    const auto job = manager().find_job(registry().find("second")->uuid);
    return job && job->phase().find("waiting until") != std::string::npos;
  }));
  pause->release();
  backup.join();
  next.join();
  EXPECT_THAT(rooms().snapshots("second"), SizeIs(1));
  EXPECT_THAT(rooms().snapshots("db"), IsEmpty());
  manager().set_setting("RESTIC_REPOSITORY", std::nullopt);
  EXPECT_THAT(rooms().snapshots("second"), IsEmpty());
  EXPECT_EQ(rooms().snapshots("db").back().id.hex(), outcome.snapshot);
}

TEST_F(Upkeep, VolumeOptionsAreCheckedAndTakenBack) {
  rooms().create("db", {{"schedule", "@hourly"}});
  manager().set_volume_option("db", "keep-daily", "3");
  EXPECT_EQ(registry().find("db")->options.at("keep-daily"), "3");
  const std::pair<const char*, const char*> bad[] = {{"keep-daily", "often"}, {"schedule", "sometimes"},
                                                     {"colour", "red"},       {"final-backup", "perhaps"},
                                                     {"from", "auto"},        {"ping-url", "ftp://x"}};
  for (const auto& [key, value] : bad) EXPECT_THROW(manager().set_volume_option("db", key, value), base::UsageError) << key;
  EXPECT_EQ(registry().find("db")->options, (volumes::OptionMap{{"keep-daily", "3"}, {"schedule", "@hourly"}}));
  manager().set_volume_option("db", "keep-daily", "");  // no rule, and not "keep everything"
  EXPECT_FALSE(registry().find("db")->options.contains("keep-daily"));
  manager().set_volume_option("db", "schedule", std::nullopt);
  EXPECT_THROW(manager().set_volume_option("db", "schedule", std::nullopt), base::NotFound);
  EXPECT_THROW(manager().set_volume_option("nobody", "schedule", "@daily"), base::NotFound);
}

TEST_F(Upkeep, AnEmptySettingIsAsIfItWereNotThere) {
  base::write_file_atomic(data() + "/davit.conf",
                          base::as_bytes("DAVIT_JOBS=\nRESTIC_COMPRESSION=\nDAVIT_KEEP_REMOVED=\nRESTIC_PACK_SIZE=\n"));
  save_db("text");
  EXPECT_EQ(rooms().settings.number("DAVIT_JOBS"), 2);
  EXPECT_EQ(rooms().settings.origin("DAVIT_JOBS"), "default");
}

}  // namespace
}  // namespace davit::jobs
