// Writers of which the kernel tells nothing until they end: what they write is saved by the next
// run that follows changes, all the same.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/errors.h"
#include "base/files.h"
#include "support/loop_device.h"
#include "support/ring_writer.h"
#include "support/skip.h"
#include "support/subvolume.h"
#include "support/tracked_volume.h"

namespace davit {
namespace {

using ::testing::HasSubstr;

class Unseen : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    DAVIT_NEEDS_MOUNTS();
    volume_.emplace(GetParam());
    for (const char* name : {"a", "b"}) base::make_directories(volume_->path(name));
    put("a/file", std::string(1 << 20, 'x'));
    put("b/file", "content");
    volume_->save_tracked();
    if (const auto writers = volume_->open_writers(); !writers.doubt.empty())
      DAVIT_SKIP(writers.doubt);
    volume_->expect_same("nothing");
    ASSERT_EQ(volume_->expect_same("nothing").result.looked_at, 1u);
  }

  void put(const std::string& name, const std::string& text) const {
    const base::Fd fd = base::open_file(volume_->path(name), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    base::write_all(fd.get(), base::as_bytes(text));
  }
  static bool sees_all() { return GetParam() == std::string("btrfs"); }
  // Nothing is a suspect any more.
  void expect_all_passed() {
    for (int i = 0; i < 50; ++i) {
      if (volume_->expect_same("afterwards").result.looked_at == 1) return;
      ::usleep(100'000);  // the kernel takes its time to close what a ring held
    }
    FAIL() << "something is looked at in each run";
  }

  std::optional<test::TrackedVolume> volume_;
};

TEST_P(Unseen, ALoopDevice) {
  {
    test::LoopDevice device(volume_->path("a/file"));
    for (const char* text : {"one", "two", "three"}) {
      device.write(text, 8192);
      EXPECT_EQ(volume_->expect_same(text).result.files_changed, 1u);
      EXPECT_EQ(volume_->why, "");
    }
    // A file behind a device may have lost its name, and have another.
    ASSERT_EQ(::link(volume_->path("a/file").c_str(), volume_->path("b/other").c_str()), 0);
    ASSERT_EQ(::unlink(volume_->path("a/file").c_str()), 0);
    volume_->waits = false;
    for (const char* text : {"four", "five"}) {
      device.write(text, 8192);
      volume_->expect_same(text);
      EXPECT_THAT(volume_->why, HasSubstr(sees_all() ? "" : "cannot be found"));
    }
  }
  volume_->waits = true;
  expect_all_passed();
}

TEST_P(Unseen, AnIoUring) {
  base::Fd file = base::open_file(volume_->path("a/file"), O_WRONLY);
  std::optional<test::RingWriter> ring;
  try {
    ring.emplace(file, false);
  } catch (const base::Unsupported& error) {
    DAVIT_SKIP(error.what());
  }
  file.reset();
  volume_->waits = false;
  for (const char* text : {"one", "two", "three"}) {
    ring->write(text, 8192);
    EXPECT_EQ(volume_->expect_same(text).result.files_changed, 1u);
    EXPECT_THAT(volume_->why, HasSubstr(sees_all() ? "" : "io_uring"));
  }
  ring.reset();
  volume_->waits = true;
  expect_all_passed();
}

// Neither a descriptor nor a mapping of it is anywhere; but nobody gets a lease on the file.
TEST_P(Unseen, AnIoUringThatProcDoesNotShow) {
  std::optional<test::RingWriter> ring;
  try {
    const base::Fd file = base::open_file(volume_->path("a/new"), O_WRONLY | O_CREAT, 0644);
    ring.emplace(file, true);
  } catch (const base::Unsupported& error) {
    DAVIT_SKIP(error.what());
  }
  ASSERT_EQ(::link(volume_->path("a/new").c_str(), volume_->path("b/new").c_str()), 0);
  for (const char* text : {"1", "22", "333", "4444"}) {
    ring->write(text, 0);
    const auto saved = volume_->expect_same(text);
    EXPECT_EQ(volume_->why, "");
    EXPECT_EQ(saved.result.files_new + saved.result.files_changed, 2u);
  }
  ring.reset();
  expect_all_passed();
}

// It has the inodes and the times of what it was made from, and other changes.
TEST(UnseenOnBtrfs, ASnapshotInThePlaceOfTheVolume) {
  DAVIT_NEEDS_MOUNTS();
  test::TrackedVolume volume("btrfs");
  base::remove_tree(volume.root);
  test::make_subvolume(volume.root);
  base::make_directories(volume.path("in"));
  const auto put = [](const std::string& path, const std::string& text) {
    const base::Fd fd = base::open_file(path, O_WRONLY | O_CREAT, 0644);
    base::write_all(fd.get(), base::as_bytes(text));
  };
  put(volume.path("in/file"), "content");
  volume.save_tracked();
  volume.expect_same("nothing");
  ASSERT_EQ(volume.expect_same("nothing").result.looked_at, 1u);
  test::make_snapshot(volume.root, volume.outside("other"));
  put(volume.outside("other/in/file"), "CHANGED");
  volume.expect_same("changed in the snapshot");
  ASSERT_EQ(::renameat2(AT_FDCWD, volume.root.c_str(), AT_FDCWD, volume.outside("other").c_str(),
                        RENAME_EXCHANGE),
            0);
  EXPECT_EQ(volume.expect_same("exchanged").result.files_changed, 1u);
}

INSTANTIATE_TEST_SUITE_P(Disks, Unseen, ::testing::Values("ext4", "xfs", "btrfs"));

}  // namespace
}  // namespace davit
