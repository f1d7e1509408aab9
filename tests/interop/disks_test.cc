// Disks that are full, and disks that may only be read, beneath a repository and beneath the
// volumes.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <optional>

#include "base/errors.h"
#include "base/fd.h"
#include "base/files.h"
#include "base/id.h"
#include "crypto/sha256.h"
#include "repo/small_files.h"
#include "restore/metadata.h"
#include "support/fake_clock.h"
#include "support/loop_mount.h"
#include "support/made_repository.h"
#include "support/pause_at.h"
#include "support/quick_repository.h"
#include "support/restic.h"
#include "support/rooms.h"
#include "support/temp_dir.h"
#include "support/unix_client.h"

namespace davit::jobs {
namespace {

namespace fs = std::filesystem;
using test::eventually;
using test::noise;
using test::succeeded;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using volumes::State;

constexpr size_t kMiB = 1 << 20;

class Disks : public testing::Test {
 protected:
  void SetUp() override {
    DAVIT_NEEDS_MOUNTS();
    DAVIT_NEEDS_RESTIC();
    disk_.emplace("xfs");
  }

  void begin(const std::string& data, const std::string& repository) {
    data_ = data;
    repository_ = repository;
    if (!fs::exists(repository)) {
      test::make_quick_repository(repository);
      base::make_directories(data + "/secrets");
      base::write_file_atomic(data + "/secrets/repository-password",
                              base::as_bytes(std::string(test::kQuickPassword) + "\n"));
    }
    test::RoomsOptions options;
    options.clock = &clock_;
    options.environment = {{"RESTIC_REPOSITORY", repository}, {"RESTIC_PACK_SIZE", "4"}};
    rooms_.emplace(data, std::move(options));
    rooms_->start();
  }
  void end() { rooms_.reset(); }
  void begin_again() {
    end();
    begin(data_, repository_);
  }

  // A volume with one small file, saved, and now with much more.
  void fill(const std::string& name, int files = 24) {
    rooms_->create(name);
    rooms_->write(name, "first", "first");
    ASSERT_EQ(rooms_->backup(name).outcome, Outcome::ok);
    clock_.advance(std::chrono::hours(1));
    for (int i = 0; i < files; ++i) rooms_->write(name, "file" + std::to_string(i), noise(i, kMiB));
  }
  void expect_filled(const std::string& name, int files = 24) {
    for (int i = 0; i < files; ++i)
      EXPECT_EQ(rooms_->read(name, "file" + std::to_string(i)), noise(i, kMiB)) << i;
  }
  // Not one block is left, nor an inode.
  void exhaust() {
    disk_->fill_but(64 << 10);
    for (int i = 0;; ++i) {
      const base::Fd file(::open((*disk_ / ("crumb" + std::to_string(i))).c_str(),
                                 O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
      if (!file) return;
      while (::write(file.get(), "x", 1) == 1 && ::fsync(file.get()) == 0)
        if (::lseek(file.get(), 4095, SEEK_CUR) < 0) return;
    }
  }
  void make_room() {
    for (const auto& each : fs::directory_iterator(disk_->path()))
      if (each.path().filename().string().starts_with("crumb")) fs::remove(each.path());
    disk_->empty();
  }

  std::string refusal(const std::function<void()>& call) {
    try {
      call();
    } catch (const base::Error& error) {
      return error.what();
    }
    return "accepted";
  }
  // What is visible as a file of the repository is whole, and nothing else lies about.
  void expect_no_half_files() {
    for (const auto& each : fs::recursive_directory_iterator(repository_)) {
      if (!each.is_regular_file()) continue;
      const std::string name = each.path().filename();
      if (name == "config" || name == "README") continue;
      const auto id = base::Id::parse(name);
      ASSERT_TRUE(id) << each.path();
      EXPECT_EQ(crypto::sha256(base::get_file(each.path())), *id) << each.path();
    }
  }
  void expect_restic_agrees() {
    const auto check =
        test::Restic(repository_, test::kQuickPassword).ask({"check", "--read-data"});
    EXPECT_TRUE(succeeded(check));
    EXPECT_THAT(check.output, HasSubstr("no errors were found"));
  }
  std::vector<std::string> files_in(const std::string& directory) {
    return base::list_directory(directory);
  }
  RestoreOutcome restore_in_place(const std::string& reference, const std::string& target) {
    return rooms_->manager.restore(
        {.reference = reference, .target = target, .in_place = true, .options = {}}, {}, {});
  }

  const test::TempDir dir_;
  std::optional<test::LoopMount> disk_;
  test::FakeClock clock_;
  std::string data_, repository_;
  std::optional<test::Rooms> rooms_;
};

// ------------------------------------------------------------------------------------------ full

using FullDisk = Disks;

TEST_F(FullDisk, ABackupFailsWithWhatToDoAndTheNextOneIsWhole) {
  begin(dir_ / "data", *disk_ / "repository");
  fill("db");
  const std::string before = rooms_->read("db", "first");
  disk_->fill_but(10 * kMiB);
  const std::string why = refusal([&] { rooms_->backup("db"); });
  EXPECT_THAT(why, AllOf(HasSubstr(repository_), HasSubstr("No space left on device"),
                         HasSubstr("make room")));
  EXPECT_EQ(rooms_->registry.find("db")->last_backup.error, why);
  EXPECT_EQ(rooms_->driver.get("db")->status.at("last_error"), why);
  EXPECT_THAT(rooms_->snapshots("db"), SizeIs(1));
  expect_no_half_files();
  EXPECT_THAT(files_in(repository_ + "/locks"), IsEmpty());
  // What is there can be had back meanwhile.
  rooms_->create("back", {{"from", "db"}});
  EXPECT_EQ(rooms_->read("back", "first"), before);

  make_room();
  EXPECT_EQ(rooms_->backup("db").outcome, Outcome::ok);
  EXPECT_EQ(rooms_->registry.find("db")->last_backup.error, "");
  expect_restic_agrees();
  rooms_->create("copy", {{"from", "db"}});
  expect_filled("copy");
}

TEST_F(FullDisk, NotEvenALockFits) {
  begin(dir_ / "data", *disk_ / "repository");
  fill("db", 1);
  exhaust();
  EXPECT_THAT(
      refusal([&] { rooms_->backup("db"); }),
      AllOf(HasSubstr(repository_), HasSubstr("No space left on device"), HasSubstr("make room")));
  expect_no_half_files();
  EXPECT_THAT(rooms_->snapshots("db"), SizeIs(1));
  make_room();
  EXPECT_EQ(rooms_->backup("db").outcome, Outcome::ok);
  EXPECT_THAT(files_in(repository_ + "/locks"), IsEmpty());
  expect_restic_agrees();
}

// The embedded repository: what fills the disk fills that of the records too.
TEST_F(FullDisk, BeneathBothTheFailureIsKnownAllTheSame) {
  begin(*disk_ / "data", *disk_ / "data/repository");
  fill("db");
  exhaust();
  const std::string why = refusal([&] { rooms_->backup("db"); });
  EXPECT_THAT(why, AllOf(HasSubstr("No space left on device"), HasSubstr("make room")));
  EXPECT_EQ(rooms_->driver.get("db")->status.at("last_error"), why);
  expect_no_half_files();
  // Neither a new volume nor a restored one is half there.
  for (const volumes::OptionMap& options :
       {volumes::OptionMap{}, volumes::OptionMap{{"from", "db"}}}) {
    EXPECT_THAT(refusal([&] { rooms_->driver.create("new", options, test::Rooms::budget()); }),
                HasSubstr("No space left on device"));
    EXPECT_FALSE(rooms_->driver.get("new"));
  }
  make_room();
  begin_again();
  EXPECT_FALSE(rooms_->driver.get("new"));
  EXPECT_EQ(rooms_->backup("db").outcome, Outcome::ok);
  expect_restic_agrees();
}

TEST_F(FullDisk, ARestoreFailsWithWhatToDoAndCanBeMadeAgain) {
  begin(*disk_ / "data", dir_ / "repository");
  fill("db");
  ASSERT_EQ(rooms_->backup("db").outcome, Outcome::ok);
  disk_->fill_but(10 * kMiB);
  const uint64_t free_before = disk_->free_bytes();
  rooms_->driver.create("copy", {{"from", "db"}}, test::Rooms::budget());
  EXPECT_THAT(refusal([&] { rooms_->driver.mount("copy", "id", test::Rooms::budget()); }),
              AllOf(HasSubstr("not usable"), HasSubstr("No space left on device"),
                    HasSubstr("make room"), HasSubstr(data_)));
  EXPECT_EQ(rooms_->registry.find("copy")->state, State::failed);
  EXPECT_EQ(rooms_->driver.get("copy")->status.at("state"), "failed");
  EXPECT_THAT(rooms_->driver.get("copy")->status.at("error"), HasSubstr("make room"));
  EXPECT_THAT(files_in(data_ + "/volumes"), testing::ElementsAre("db"));
  EXPECT_THAT(files_in(data_ + "/staging"), IsEmpty());
  EXPECT_TRUE(eventually([&] { return disk_->free_bytes() + kMiB > free_before; }));
  EXPECT_THAT(refusal([&] { rooms_->manager.wait("copy", {}, {}); }), HasSubstr("make room"));
  // A restart does not forget that.
  begin_again();
  EXPECT_EQ(rooms_->registry.find("copy")->state, State::failed);

  make_room();
  rooms_->driver.remove("copy");
  EXPECT_FALSE(rooms_->driver.get("copy"));
  rooms_->create("copy", {{"from", "db"}});
  expect_filled("copy");
}

TEST_F(FullDisk, ARestoreInPlaceLeavesWhatWasThere) {
  begin(*disk_ / "data", dir_ / "repository");
  fill("large");
  const std::string large = rooms_->backup("large").snapshot;
  fill("db", 1);
  disk_->fill_but(10 * kMiB);
  EXPECT_THAT(
      refusal([&] { restore_in_place(large, "db"); }),
      AllOf(HasSubstr("No space left on device"), HasSubstr("make room"), HasSubstr(data_)));
  expect_filled("db", 1);
  EXPECT_THAT(files_in(rooms_->directory("db")), SizeIs(2));
  EXPECT_THAT(files_in(data_ + "/staging"), IsEmpty());
  make_room();
  restore_in_place(large, "db");
  expect_filled("db");
}

// A file system may refuse one large attribute, and the file is restored without it; but not when
// it is room that lacks.
TEST_F(FullDisk, AnAttributeThatLacksRoomFailsTheRestore) {
  const std::string path = *disk_ / "file";
  const base::Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_TRUE(file);
  repo::Node node;
  node.uid = ::geteuid();
  node.gid = ::getegid();
  const std::string value = noise(1, 60'000);
  node.xattrs.push_back({"user.large", {value.begin(), value.end()}});
  exhaust();
  std::vector<std::string> problems;
  EXPECT_THAT(refusal([&] { restore::apply_metadata(file.get(), nullptr, node, problems); }),
              AllOf(HasSubstr("user.large"), HasSubstr("No space left on device")));
  make_room();
  restore::apply_metadata(file.get(), nullptr, node, problems);
  EXPECT_THAT(problems, IsEmpty());
}

// ------------------------------------------------------------------------------------- read-only

class ReadOnlyDisk : public Disks {
 protected:
  void SetUp() override {
    Disks::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    begin(dir_ / "data", *disk_ / "repository");
    fill("db", 3);
    saved_ = rooms_->backup("db").snapshot;
    clock_.advance(std::chrono::hours(1));
  }
  void put_lock(const std::string& host, bool exclusive, std::chrono::minutes age) {
    repo::LockFile lock;
    lock.time.time = std::chrono::system_clock::now() - age;
    lock.hostname = host;
    lock.username = "root";
    lock.pid = 4711;
    lock.exclusive = exclusive;
    rooms_->repository.get()->save_unpacked(store::Kind::lock, repo::encode_lock(lock));
  }
  std::string saved_;
};

TEST_F(ReadOnlyDisk, WhatWritesSaysWhereAndWhatToDo) {
  disk_->set_read_only(true);
  begin_again();
  const auto says_so =
      AllOf(HasSubstr(repository_), HasSubstr("read-only"), HasSubstr("mount it read-write"));
  EXPECT_THAT(refusal([&] { rooms_->backup("db"); }), says_so);
  EXPECT_THAT(rooms_->registry.find("db")->last_backup.error, says_so);
  EXPECT_THAT(refusal([&] {
                rooms_->manager.forget({.targets = {saved_}, .policy = {}, .dry_run = false});
              }),
              says_so);
  EXPECT_THAT(refusal([&] { rooms_->manager.prune(false, {}, {}); }), says_so);
  EXPECT_THAT(rooms_->manager.status().last_prune_error, says_so);
  EXPECT_THAT(refusal([&] { rooms_->manager.key_add("second"); }), says_so);
  EXPECT_THAT(refusal([&] { rooms_->manager.key_passwd("another"); }), says_so);
  EXPECT_THAT(refusal([&] { restore_in_place(saved_, "db"); }), says_so);
  // A removal is answered; its last backup waits for better times, with the data.
  rooms_->driver.remove("db");
  ASSERT_TRUE(eventually(
      [&] { return !rooms_->manager.status().removed.at(0).volume.last_backup.error.empty(); }));
  EXPECT_THAT(rooms_->manager.status().removed.at(0).volume.last_backup.error, says_so);

  disk_->set_read_only(false);
  begin_again();
  ASSERT_TRUE(eventually([&] { return rooms_->registry.list_removed().empty(); }));
  rooms_->settle("db");
  EXPECT_THAT(rooms_->snapshots("db"), SizeIs(3));
  EXPECT_THAT(files_in(repository_ + "/locks"), IsEmpty());
  expect_restic_agrees();
}

TEST_F(ReadOnlyDisk, WhatReadsGoesOnWithoutALock) {
  disk_->set_read_only(true);
  begin_again();
  EXPECT_THAT(rooms_->snapshots("db"), SizeIs(2));
  EXPECT_EQ(rooms_->manager.status().repository_state, "ok");
  size_t listed = 0;
  rooms_->manager.list_files(saved_, "", true, [&](const ListedNode&) { ++listed; });
  EXPECT_EQ(listed, 4u);
  EXPECT_THAT(rooms_->manager.check(true, {}, {}).errors, IsEmpty());
  rooms_->manager.prune(true, {}, {});
  EXPECT_THAT(rooms_->manager.forget({.targets = {saved_}, .policy = {}, .dry_run = true}),
              SizeIs(1));
  rooms_->create("copy", {{"from", "db"}});
  expect_filled("copy", 3);
  const auto restored = rooms_->manager.restore(
      {.reference = saved_, .target = "more", .in_place = false, .options = {}}, {}, {});
  EXPECT_THAT(restored.problems, IsEmpty());
  expect_filled("more", 3);
  rooms_->create("fresh", {{"from", "auto"}});
  EXPECT_THAT(files_in(rooms_->directory("fresh")), IsEmpty());
}

// On a machine that never saw the repository, from a medium on which its user left locks.
TEST_F(ReadOnlyDisk, LocksThatNobodyCanRemoveAreNotWaitedFor) {
  put_lock("here-11111111-2222-3333-4444-555555555555", true, std::chrono::minutes(0));  // our own
  put_lock("elsewhere", true, std::chrono::minutes(31));
  end();
  disk_->set_read_only(true);
  begin_again();
  rooms_->create("copy", {{"from", "auto"}});
  rooms_->create("back", {{"from", "db"}});
  expect_filled("back", 3);
  EXPECT_THAT(rooms_->manager.check(false, {}, {}).errors, IsEmpty());
}

// Read-only for us: another machine may be pruning it.
TEST_F(ReadOnlyDisk, AnExclusiveLockThatIsFreshIsRespected) {
  put_lock("elsewhere", true, std::chrono::minutes(0));
  end();
  disk_->set_read_only(true);
  begin_again();
  EXPECT_THAT(refusal([&] {
                rooms_->driver.create("copy", {{"from", "db"}}, test::Rooms::budget());
              }),
              HasSubstr("locked exclusively by elsewhere"));
  const auto volume =
      rooms_->registry.create("late", State::restoring, {}, [&](volumes::Volume& record) {
        record.source_snapshot = saved_;
        record.source_path = "/volumes/db";
      });
  const auto job = rooms_->manager.start_restore(volume.uuid);
  ASSERT_TRUE(eventually([&] { return job->phase().find("elsewhere") != std::string::npos; }));
  disk_->set_read_only(false);
  EXPECT_EQ(rooms_->manager.unlock(true), 1u);
  disk_->set_read_only(true);
  rooms_->settle("late");
  EXPECT_EQ(rooms_->registry.find("late")->state, State::ready);
}

// As ext4 does by itself after an error. The lock that could not be removed is no obstacle later.
TEST_F(ReadOnlyDisk, BecomingSoInTheMiddleFailsTheBackupAndLeavesNothingBehind) {
  // A file that is open for writing, as larger packs are, would keep the disk from it.
  rooms_->write("db", "more", noise(99, kMiB / 2));
  std::string why;
  {
    test::PauseAt pause("archive:done");
    std::thread backup([&] { why = refusal([&] { rooms_->backup("db"); }); });
    ASSERT_TRUE(pause.wait_until_reached());
    disk_->set_read_only(true);
    pause.release();
    backup.join();
  }
  EXPECT_THAT(why, AllOf(HasSubstr(repository_), HasSubstr("mount it read-write")));
  EXPECT_THAT(rooms_->snapshots("db"), SizeIs(2));
  expect_no_half_files();
  rooms_->create("copy", {{"from", "db"}});
  expect_filled("copy", 3);
  disk_->set_read_only(false);
  EXPECT_EQ(rooms_->backup("db").outcome, Outcome::ok);
  rooms_->manager.prune(false, {}, {});  // waits for no lock of ours
  EXPECT_THAT(files_in(repository_ + "/locks"), IsEmpty());
  expect_restic_agrees();
}

}  // namespace
}  // namespace davit::jobs
