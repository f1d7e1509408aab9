// Mirrors as the daemon has them: followed, caught up, read and healed from. Bits are flipped in
// files of each kind, 60 of them, or 1,000 with DAVIT_SOAK=1.
#include <cstdlib>
#include <filesystem>
#include <random>

#include "base/fd.h"
#include "jobs_fixture.h"
#include "support/made_repository.h"
#include "support/restic.h"

namespace davit::jobs {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

namespace fs = std::filesystem;

class Mirrors : public JobsFixture {
 protected:
  Mirrors() { environment_["DAVIT_MIRRORS"] = mirror_; }

  std::string save(uint64_t seed, size_t size = 30'000) {
    if (!registry().find("db")) rooms().create("db");
    rooms().write("db", "file", test::noise(seed, size));
    rooms().write("db", "other", test::noise(seed + 1, 2'000));
    const auto id = rooms().backup("db").snapshot;
    clock_.advance(std::chrono::hours(1));
    return id;
  }
  // Path below the repository to content, without locks.
  static std::map<std::string, std::string> files_of(const std::string& repository) {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(repository)) {
      const std::string path = fs::relative(entry.path(), repository);
      // One may be written just now.
      if (path.starts_with("locks/") || path.find("-tmp-") != path.npos || !entry.is_regular_file())
        continue;
      if (const auto bytes = base::find_file(entry.path())) files[path] = base::as_text(*bytes);
    }
    return files;
  }
  bool are_the_same() { return files_of(primary_) == files_of(mirror_); }
  MirrorStatus sync() { return manager().sync_mirrors({}, {}).at(0); }
  static void expect_clean(const std::string& repository) {
    const auto check =
        test::Restic(repository, test::kQuickPassword).run({"check", "--read-data", "--no-lock"});
    EXPECT_EQ(check.exit_code, 0) << check.output;
  }
  static void flip(const std::string& path, size_t bit) {
    const base::Fd file = base::open_file(path, O_RDWR);
    uint8_t byte = 0;
    ASSERT_EQ(::pread(file.get(), &byte, 1, static_cast<off_t>(bit / 8)), 1);
    byte ^= static_cast<uint8_t>(1u << bit % 8);
    base::pwrite_all(file.get(), base::ByteView(&byte, 1), bit / 8);
  }

  MirrorBook& book() { return rooms().repository.mirror_book(); }
  const std::string primary_ = data() + "/repository";
  const std::string mirror_ = dir_ / "mirror";
};

TEST_F(Mirrors, FollowBackupsPrunesAndKeysByThemselves) {
  DAVIT_NEEDS_RESTIC();
  const auto first = save(1);
  ASSERT_TRUE(test::eventually([&] { return fs::exists(mirror_ + "/config") && are_the_same(); }));
  save(10);
  ASSERT_TRUE(test::eventually([&] { return are_the_same(); }));
  manager().forget({.targets = {first}, .policy = {}, .dry_run = false});
  ASSERT_TRUE(test::eventually([&] { return are_the_same(); }));
  manager().prune(false, {}, {});
  ASSERT_TRUE(test::eventually([&] { return are_the_same(); }));
  const auto key = manager().key_add("second");
  ASSERT_TRUE(test::eventually([&] { return are_the_same(); }));
  manager().key_remove(key.substr(0, 12));
  ASSERT_TRUE(test::eventually([&] { return are_the_same(); }));
  EXPECT_THAT(files_in("repository/keys"), SizeIs(1));
  EXPECT_EQ(sync().state, "in sync");
  EXPECT_THAT(base::list_directory(mirror_ + "/locks"), IsEmpty());
  expect_clean(mirror_);
  const auto status = manager().status();
  ASSERT_THAT(status.mirrors, SizeIs(1));
  EXPECT_EQ(status.mirrors[0].place, mirror_);
  EXPECT_EQ(status.mirrors[0].in_sync, clock_.now());
  EXPECT_EQ(manager().status_of(*registry().find("db")).at("mirrors"), "1 mirror is in sync");
}

TEST_F(Mirrors, OneThatIsAwayIsCaughtUpAlsoAfterARestart) {
  const auto first = save(1);
  EXPECT_EQ(sync().state, "in sync");
  fs::rename(mirror_, dir_ / "unmounted");
  save(10);
  EXPECT_EQ(sync().state, "refused");
  EXPECT_THAT(sync().error, HasSubstr("is its file system mounted?"));
  EXPECT_THAT(manager().status_of(*registry().find("db")).at("mirrors"),
              HasSubstr(mirror_ + ": refused"));
  manager().forget({.targets = {first}, .policy = {}, .dry_run = false});
  manager().prune(false, {}, {});
  stop();
  start();
  EXPECT_FALSE(fs::exists(mirror_));
  fs::rename(dir_ / "unmounted", mirror_);
  const auto status = sync();
  EXPECT_EQ(status.state, "in sync");
  EXPECT_EQ(status.error, "");
  EXPECT_TRUE(are_the_same());
}

TEST_F(Mirrors, AnEmptyOneIsFilledAnewWhereSomebodySaysSo) {
  save(1);
  sync();
  base::remove_tree(mirror_);
  EXPECT_EQ(sync().state, "refused");
  EXPECT_THROW(manager().accept_mirror("/nowhere"), base::NotFound);
  manager().accept_mirror(mirror_);
  EXPECT_EQ(sync().state, "in sync");
  EXPECT_TRUE(are_the_same());
}

TEST_F(Mirrors, SettingsAreFollowedWithoutARestart) {
  environment_.erase("DAVIT_MIRRORS");
  save(1);
  EXPECT_THAT(manager().sync_mirrors({}, {}), IsEmpty());
  manager().set_setting("DAVIT_MIRRORS", mirror_);
  ASSERT_TRUE(test::eventually([&] { return fs::exists(mirror_ + "/config") && are_the_same(); }));
  const std::string second = dir_ / "second";
  manager().set_setting("DAVIT_MIRRORS", "append-only:" + second + " " + mirror_);
  ASSERT_TRUE(test::eventually(
      [&] { return fs::exists(second + "/config") && files_of(second) == files_of(primary_); }));
  EXPECT_TRUE(manager().mirrors().at(0).append_only);
  manager().set_setting("DAVIT_MIRRORS", std::nullopt);
  save(10);
  EXPECT_THAT(manager().mirrors(), IsEmpty());
  EXPECT_FALSE(are_the_same());
  EXPECT_THROW(manager().set_setting("DAVIT_MIRRORS", "gopher:x"), base::UsageError);
  // The primary as its own mirror would heal nothing.
  manager().set_setting("DAVIT_MIRRORS", primary_);
  EXPECT_THROW(repository(), base::UsageError);
}

// A prune that is at work while the settings change works with the mirrors that it began with.
TEST_F(Mirrors, ThoseOfARepositoryThatIsStillInUseAreTold) {
  environment_.erase("DAVIT_MIRRORS");
  manager().set_setting("DAVIT_MIRRORS", mirror_);
  const auto first = save(1);
  ASSERT_EQ(sync().state, "in sync");
  auto& access = rooms().repository;
  const auto before = access.get();
  manager().set_setting("DAVIT_MIRRORS", std::nullopt);
  const auto after = access.get();
  ASSERT_NE(before, after);
  EXPECT_NE(access.find_mirrors(*before), nullptr);
  EXPECT_EQ(access.find_mirrors(*after), nullptr);
  EXPECT_EQ(access.note_prune(*after), nullptr);
  {
    const auto pruning = access.note_prune(*before);
    before->store().remove({store::Kind::index, base::Id{}});
  }
  const auto noted = book().journal(mirror_)->read();
  EXPECT_TRUE(noted.pruned);
  EXPECT_THAT(noted.known, ElementsAre(*base::Id::parse(first)));
  EXPECT_THAT(noted.removed, SizeIs(1));
}

TEST_F(Mirrors, AQuorumWaitsForTheMirrorOrFailsSayingWhichStoreLacksIt) {
  environment_["DAVIT_QUORUM"] = "2";
  const auto saved = save(1);
  EXPECT_TRUE(fs::exists(mirror_ + "/snapshots/" + saved));
  sync();
  fs::rename(mirror_, dir_ / "unmounted");
  rooms().context.quorum_wait = std::chrono::milliseconds(1);
  rooms().write("db", "file", "more");
  const std::string why = refusal([&] { rooms().backup("db"); });
  EXPECT_THAT(why, HasSubstr(mirror_ + " lacks it"));
  EXPECT_THAT(rooms().snapshots("db"), SizeIs(2)) << "it stays";
  EXPECT_THAT(registry().find("db")->last_backup.error, HasSubstr("DAVIT_QUORUM"));
  EXPECT_FALSE(registry().find("db")->last_backup.snapshot.empty());
  stop();
  environment_["DAVIT_QUORUM"] = "3";
  EXPECT_THAT(refusal([&] { rooms().backup("db"); }), HasSubstr("there are 2"));
}

// What a restore needs, and a start of davit: it is read, found wrong, and put right on the way.
TEST_F(Mirrors, ARestoreHealsWhatItReads) {
  DAVIT_NEEDS_RESTIC();
  save(1);
  ASSERT_EQ(sync().state, "in sync");
  stop();
  // By its config it is known whose mirrors are: that is damaged alone.
  flip(primary_ + "/config", 300);
  start();
  EXPECT_EQ(manager().status().repairs.size(), 1u);
  stop();
  size_t flipped = 1;
  for (const auto& [path, content] : files_of(primary_)) {
    if (path == "config") continue;
    // The header of a pack is at its end and is not read for that.
    flip(primary_ + "/" + path, content.size() / 4 * 8 + 3);
    ++flipped;
  }
  ASSERT_GE(flipped, 6u);
  fs::remove_all(data() + "/cache");
  rooms().create("copy", {{"from", "db"}});
  rooms().settle("copy");
  EXPECT_EQ(rooms().read("copy", "file"), test::noise(1, 30'000));
  EXPECT_EQ(manager().status().repairs.size(), flipped);
  sync();
  EXPECT_TRUE(are_the_same());
  expect_clean(primary_);
}

TEST_F(Mirrors, PacksThatAreMissingAreReadFromTheMirrorAndHealed) {
  save(1);
  ASSERT_EQ(sync().state, "in sync");
  const auto before = files_of(mirror_);
  stop();
  // Nearest first is the primary here.
  for (const auto& [path, content] : before)
    if (path.starts_with("data/")) fs::remove(primary_ + "/" + path);
  rooms().create("copy", {{"from", "db"}});
  rooms().settle("copy");
  EXPECT_EQ(rooms().read("copy", "file"), test::noise(1, 30'000));
  const auto report = manager().check({}, {}, {});
  EXPECT_TRUE(report.ok()) << report.errors.front();
  EXPECT_THAT(report.repaired, Not(IsEmpty()));
  EXPECT_TRUE(files_of(primary_) == before);
  sync();
  EXPECT_TRUE(files_of(mirror_) == before);
}

TEST_F(Mirrors, EveryFlippedBitIsFoundByACheckAndRepaired) {
  DAVIT_NEEDS_RESTIC();
  const int flips = std::getenv("DAVIT_SOAK") ? 1000 : 60;
  save(1);
  save(10);
  ASSERT_EQ(sync().state, "in sync");
  const auto before = files_of(primary_);
  // Each kind in turn.
  std::map<std::string, std::vector<std::string>> kinds;
  for (const auto& [path, content] : before) kinds[path.substr(0, path.find('/'))].push_back(path);
  ASSERT_EQ(kinds.size(), 5u);
  const uint64_t seed = 20261128;
  std::mt19937_64 random(seed);
  auto kind = kinds.begin();
  for (int i = 0; i < flips; ++i) {
    const auto& paths = kind->second;
    const std::string path = paths[random() % paths.size()];
    const size_t bit = random() % (before.at(path).size() * 8);
    flip(primary_ + "/" + path, bit);
    ASSERT_FALSE(files_of(primary_) == before);
    const uint64_t repairs = book().repair_count();
    const auto report = manager().check(true, {}, {});
    EXPECT_TRUE(report.ok()) << report.errors.front();
    EXPECT_THAT(report.repaired, SizeIs(1)) << path << ", bit " << bit << ", seed " << seed;
    EXPECT_TRUE(files_of(primary_) == before) << path << ", bit " << bit << ", seed " << seed;
    EXPECT_EQ(book().repair_count(), repairs + 1);
    EXPECT_THAT(manager().status().repairs.back(),
                HasSubstr(" of " + primary_ + " from " + mirror_));
    if (++kind == kinds.end()) kind = kinds.begin();
  }
  sync();
  EXPECT_TRUE(are_the_same());
  expect_clean(primary_);
  expect_clean(mirror_);
}

}  // namespace
}  // namespace davit::jobs
