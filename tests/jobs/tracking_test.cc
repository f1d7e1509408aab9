// Which runs follow what the kernel tells, and why the others do not.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <optional>

#include "base/files.h"
#include "support/fake_clock.h"
#include "support/loop_mount.h"
#include "support/quick_repository.h"
#include "support/rooms.h"
#include "support/skip.h"
#include "support/subvolume.h"
#include "support/tracked_volume.h"
#include "support/unix_client.h"

namespace davit::jobs {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class TrackingTest : public ::testing::Test {
 protected:
  void SetUp() override {
    DAVIT_NEEDS_MOUNTS();
    disk_.emplace(disk_type());
    test::make_data_directory(data());
    start();
    rooms_->create("db");
    rooms_->write("db", "file", "content");
    const auto harmless = test::harmless_process();
    struct stat status;
    ASSERT_EQ(::stat(data().c_str(), &status), 0);
    if (const auto doubt = capture::find_open_writers(status.st_dev, harmless).doubt;
        !doubt.empty())
      DAVIT_SKIP(doubt);
  }

  virtual const char* disk_type() const { return "ext4"; }
  std::string data() const { return disk_->path() + "/data"; }
  void start() {
    test::RoomsOptions options;
    options.clock = &clock_;
    options.environment = {{"DAVIT_TRACKING", tracking_}};
    rooms_.reset();
    rooms_.emplace(data(), std::move(options));
    rooms_->context.tracking.take_as_harmless(test::harmless_process());
    rooms_->start();
  }
  BackupOutcome backup() {
    clock_.advance(std::chrono::hours(1));
    return rooms_->backup("db");
  }
  std::string note() { return rooms_->manager.status().volumes.at(0).tracking; }
  void expect_followed() {
    // Other tests have engines and rings, too, which are a doubt for this run and the next.
    for (int i = 0; i < 10; ++i) {
      backup();
      if (note().starts_with("followed")) return;
      ::usleep(200'000);
    }
    EXPECT_THAT(note(), StartsWith("followed what changed: "));
  }
  void expect_all_looked_at(const std::string& why) {
    backup();
    EXPECT_THAT(note(), AllOf(StartsWith("looked at everything: "), HasSubstr(why)));
  }

  test::FakeClock clock_{base::SystemClock().now()};
  std::string tracking_ = "auto";
  std::optional<test::LoopMount> disk_;
  std::optional<test::Rooms> rooms_;
};

TEST_F(TrackingTest, IsOffUnlessItIsAskedFor) {
  tracking_ = "";
  start();
  backup();
  backup();
  EXPECT_EQ(note(), "");
}

TEST_F(TrackingTest, TheSecondRunFollowsWhatChanged) {
  expect_all_looked_at("nothing is known");
  expect_followed();
  rooms_->write("db", "file", "changed");
  EXPECT_EQ(backup().summary.files_changed, 1u);
  EXPECT_THAT(note(), StartsWith("followed"));
  EXPECT_EQ(rooms_->snapshots("db").size(), 3u);
}

TEST_F(TrackingTest, ItCanBeSwitchedAtAnyTime) {
  expect_all_looked_at("nothing is known");
  expect_followed();
  tracking_ = "";
  start();
  rooms_->manager.set_setting("DAVIT_TRACKING", "auto");
  expect_all_looked_at("nothing is known");
  expect_followed();
  rooms_->manager.set_setting("DAVIT_TRACKING", "off");
  backup();
  EXPECT_EQ(note(), "");
  rooms_->write("db", "file", "meanwhile");
  rooms_->manager.set_setting("DAVIT_TRACKING", "auto");
  expect_all_looked_at("nothing is known");
  EXPECT_THROW(rooms_->manager.set_setting("DAVIT_TRACKING", "on"), base::UsageError);
}

// What a run began by is worth nothing where it was switched off and on before the run ended.
TEST_F(TrackingTest, ASwitchDuringARunMakesTheNextOneLookAtEverything) {
  tracking_ = "";
  start();
  rooms_->manager.set_setting("DAVIT_TRACKING", "auto");
  expect_all_looked_at("nothing is known");
  expect_followed();
  const auto run_beside = [&](const std::function<void()>& meanwhile) {
    const base::Fd root = base::open_file(rooms_->directory("db"), O_RDONLY | O_DIRECTORY);
    auto& context = rooms_->context;
    const auto repository = context.repository.hold_shared({})->repository();
    const std::string uuid = rooms_->manager.status().volumes.at(0).volume.uuid;
    const std::string cache = context.scan_cache_path(*repository, uuid);
    const auto run =
        context.tracking.begin(context.settings, clock_, *repository, uuid, root.get(), cache);
    meanwhile();
    context.tracking.finish(run, clock_, *repository, root.get(), cache, {});
  };
  run_beside([] {});
  backup();
  EXPECT_THAT(note(), StartsWith("followed"));
  for (int i = 0; i < 20; ++i) expect_followed();
  run_beside([&] {
    rooms_->manager.set_setting("DAVIT_TRACKING", "off");
    backup();
    rooms_->write("db", "file", "meanwhile");
    rooms_->manager.set_setting("DAVIT_TRACKING", "auto");
    rooms_->create("other");
    rooms_->backup("other");
  });
  expect_all_looked_at("nothing is known");
}

TEST_F(TrackingTest, OnceADayEverythingIsLookedAt) {
  backup();
  expect_followed();
  clock_.advance(std::chrono::hours(24));
  expect_all_looked_at("once a day");
  expect_followed();
}

TEST_F(TrackingTest, NothingIsFollowedAfterAPruneARestoreOrALostCache) {
  backup();
  rooms_->write("db", "more", "content");
  backup();
  expect_followed();
  rooms_->manager.forget(
      {.targets = {rooms_->snapshots("db").front().id.hex()}, .policy = {}, .dry_run = false});
  rooms_->manager.prune(false, {}, {});
  backup();
  const std::string after_prune = note();
  expect_followed();
  const std::string newest = rooms_->snapshots("db").back().id.hex();
  rooms_->manager.restore({.reference = newest, .target = "db", .in_place = true, .options = {}},
                          {}, {});
  expect_all_looked_at("");
  expect_followed();
  base::remove_tree(data() + "/cache");
  expect_all_looked_at("scan cache is gone");
  expect_followed();
}

TEST_F(TrackingTest, NothingIsFollowedWhereSomethingIsMounted) {
  base::make_directories(rooms_->directory("db") + "/in");
  backup();
  expect_followed();
  ASSERT_EQ(::mount("none", (rooms_->directory("db") + "/in").c_str(), "tmpfs", 0, nullptr), 0);
  expect_all_looked_at("something is mounted in it");
  ASSERT_EQ(::umount((rooms_->directory("db") + "/in").c_str()), 0);
  backup();
  expect_followed();
}

class TrackingOnBtrfs : public TrackingTest {
 protected:
  const char* disk_type() const override { return "btrfs"; }
};

TEST_F(TrackingOnBtrfs, TheSecondRunFollowsWhatChanged) {
  expect_all_looked_at("nothing is known");
  expect_followed();
  rooms_->write("db", "file", "changed");
  EXPECT_EQ(backup().summary.files_changed, 1u);
  EXPECT_THAT(note(), StartsWith("followed"));
  clock_.advance(std::chrono::hours(24));
  expect_all_looked_at("once a day");
  expect_followed();
}

TEST_F(TrackingOnBtrfs, ASubvolumeInItIsNotFollowed) {
  backup();
  expect_followed();
  const std::string inside = rooms_->directory("db") + "/sub";
  test::make_subvolume(inside);
  rooms_->write("db", "sub/file", "inside");
  EXPECT_EQ(backup().summary.data_blobs, 1u);
  rooms_->write("db", "sub/file", "changed");
  EXPECT_EQ(backup().summary.data_blobs, 1u);
  EXPECT_THAT(note(), HasSubstr("another btrfs subvolume"));
  rooms_->write("db", "sub/file", "CHANGED");
  EXPECT_EQ(backup().summary.data_blobs, 1u);
  EXPECT_THAT(note(), HasSubstr("another btrfs subvolume"));
  test::remove_subvolume(inside);
  backup();
  expect_followed();
}

// As if the kernel had not told of it: whoever writes is not looked at.
TEST_F(TrackingTest, AMissedChangeIsFoundWithinADayAndEndsIt) {
  const int writer = ::fork();
  ASSERT_GE(writer, 0);
  if (writer == 0) {
    ::raise(SIGSTOP);
    const base::Fd fd(::open((rooms_->directory("db") + "/file").c_str(), O_WRONLY));
    for (char letter = 'a';; ++letter) {
      if (::pwrite(fd.get(), &letter, 1, 0) != 1) ::_exit(1);
      ::raise(SIGSTOP);
    }
  }
  int status;
  ASSERT_EQ(::waitpid(writer, &status, WUNTRACED), writer);
  auto harmless = test::harmless_process();
  harmless.insert(writer);
  rooms_->context.tracking.take_as_harmless(harmless);
  backup();
  // What was written just now is read again, whatever is told.
  ASSERT_TRUE(test::eventually([&] {
    rooms_->backup("db");
    return note() == "followed what changed: looked at 1 entries";
  }));
  ::kill(writer, SIGCONT);
  ASSERT_EQ(::waitpid(writer, &status, WUNTRACED), writer);
  EXPECT_EQ(rooms_->backup("db").summary.files_changed, 0u);
  clock_.advance(std::chrono::hours(24));
  EXPECT_EQ(backup().summary.files_changed, 1u);
  expect_all_looked_at("a change was missed (file)");
  ::kill(writer, SIGKILL);
  ::waitpid(writer, &status, 0);
}

}  // namespace
}  // namespace davit::jobs
