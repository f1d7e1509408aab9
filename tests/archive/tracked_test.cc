// A run that looks only at what the kernel told of comes to the tree of a run that looks at
// everything, whatever happened in between; and it looks at little.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <csignal>

#include "base/files.h"
#include "support/skip.h"
#include "support/tracked_volume.h"

namespace davit {
namespace {

using test::TrackedVolume;
using ::testing::HasSubstr;

constexpr size_t kDirectories = 20, kFiles = 10;

class Tracked : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    DAVIT_NEEDS_MOUNTS();
    volume_.emplace(GetParam());
    for (size_t i = 0; i < kDirectories; ++i) {
      base::make_directories(path("d" + std::to_string(i) + "/in"));
      for (size_t j = 0; j < kFiles; ++j)
        put(path("d" + std::to_string(i) + "/in/f" + std::to_string(j)), "content");
    }
    volume_->save_tracked();
    // What is doubted for other reasons than those of a test.
    if (const auto writers = volume_->open_writers(); !writers.doubt.empty())
      DAVIT_SKIP(writers.doubt);
    // That the first one listed the directories is a change to btrfs: of their access times.
    volume_->expect_same("nothing");
    const auto second = volume_->expect_same("nothing");
    ASSERT_EQ(volume_->why, "");
    ASSERT_EQ(second.result.looked_at, 1u);
    ASSERT_EQ(second.result.files_unmodified, kDirectories * kFiles);
  }

  std::string path(const std::string& name) const { return volume_->path(name); }
  static void put(const std::string& path, const std::string& text) {
    const base::Fd fd = base::open_file(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    base::write_all(fd.get(), base::as_bytes(text));
  }
  // What was done in one directory costs no look at the others.
  void expect_followed(const std::string& what) {
    const auto saved = volume_->expect_same(what);
    EXPECT_EQ(volume_->why, "") << what;
    EXPECT_LE(saved.result.looked_at, 4 * (kDirectories + kFiles)) << what;
    EXPECT_GT(saved.result.looked_at, 1u) << what;
    const auto again = volume_->expect_same(what + ", and nothing after it");
    EXPECT_EQ(volume_->why, "") << what;
  }

  void expect_followed_after_scan() {
    put(path("d9/in/f9"), "after the scan");
    expect_followed("after the scan");
  }

  std::optional<TrackedVolume> volume_;
};

TEST_P(Tracked, FilesAreWrittenMadeAndRemoved) {
  put(path("d3/in/f2"), "another");
  expect_followed("written");
  put(path("d4/in/new"), "new");
  expect_followed("made");
  ASSERT_EQ(::unlink(path("d5/in/f1").c_str()), 0);
  expect_followed("removed");
  put(path("top"), "new");
  expect_followed("made at the top");
  ASSERT_EQ(::mknod(path("d1/in/pipe").c_str(), S_IFIFO | 0600, 0), 0);
  expect_followed("mknod");
  ASSERT_EQ(::symlink("one", path("d1/in/link").c_str()), 0);
  expect_followed("symlink");
  ASSERT_EQ(::unlink(path("d1/in/link").c_str()), 0);
  ASSERT_EQ(::symlink("two", path("d1/in/link").c_str()), 0);
  expect_followed("another symlink");
}

TEST_P(Tracked, MetadataChanges) {
  struct stat before;
  const std::string file = path("d3/in/f2");
  ASSERT_EQ(::stat(file.c_str(), &before), 0);
  ASSERT_EQ(::chmod(file.c_str(), 0600), 0);
  expect_followed("chmod");
  ASSERT_EQ(::chown(file.c_str(), 1234, 5678), 0);
  expect_followed("chown");
  ASSERT_EQ(::setxattr(file.c_str(), "user.davit", "1", 1, 0), 0);
  expect_followed("setxattr");
  ASSERT_EQ(::removexattr(file.c_str(), "user.davit"), 0);
  expect_followed("removexattr");
  const char acl[] =
      "\2\0\0\0\1\0\6\0\377\377\377\377\2\0\7\0\1\0\0\0\4\0\4\0\377\377\377\377"
      "\20\0\7\0\377\377\377\377\40\0\4\0\377\377\377\377";
  ASSERT_EQ(::setxattr(file.c_str(), "system.posix_acl_access", acl, sizeof acl - 1, 0), 0);
  expect_followed("ACL");
  const timespec only_mtime[2] = {{0, UTIME_OMIT}, {1'000'000, 1}};
  ASSERT_EQ(::utimensat(AT_FDCWD, file.c_str(), only_mtime, 0), 0);
  expect_followed("utimes of the modification alone");
  put(file, "CONTENT");
  const timespec old[2] = {before.st_atim, before.st_mtim};
  ASSERT_EQ(::utimensat(AT_FDCWD, file.c_str(), old, 0), 0);
  expect_followed("written, and the old time set again");
  ASSERT_EQ(::chmod(path("d7").c_str(), 0700), 0);
  expect_followed("chmod of a directory");
  ASSERT_EQ(::setxattr(path("d7/in").c_str(), "user.davit", "1", 1, 0), 0);
  expect_followed("setxattr of a directory");
  ASSERT_EQ(::chmod(volume_->root.c_str(), 0750), 0);
  expect_followed("chmod of the volume");
}

TEST_P(Tracked, FilesChangeWithoutBeingWritten) {
  ASSERT_EQ(::truncate(path("d3/in/f2").c_str(), 3), 0);
  expect_followed("truncate by path");
  ASSERT_EQ(::truncate(path("d3/in/f2").c_str(), 100'000), 0);
  expect_followed("and longer");
  {
    const base::Fd from = base::open_file(path("d1/in/f1"), O_RDONLY);
    const base::Fd to = base::open_file(path("d2/in/f1"), O_WRONLY);
    ASSERT_EQ(::copy_file_range(from.get(), nullptr, to.get(), nullptr, 4, 0), 4);
  }
  expect_followed("copy_file_range");
  put(path("d4/in/big"), std::string(100'000, 'x'));
  expect_followed("a large one");
  {
    const base::Fd fd = base::open_file(path("d4/in/big"), O_WRONLY);
    ASSERT_EQ(::fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 8192, 16384), 0);
  }
  expect_followed("a hole");
  {
    const base::Fd fd = base::open_file(path("d5/in"), O_TMPFILE | O_WRONLY, 0644);
    base::write_all(fd.get(), base::as_bytes("from nowhere"));
    const std::string name = "/proc/self/fd/" + std::to_string(fd.get());
    ASSERT_EQ(
        ::linkat(AT_FDCWD, name.c_str(), AT_FDCWD, path("d5/in/t").c_str(), AT_SYMLINK_FOLLOW), 0);
  }
  expect_followed("O_TMPFILE and linkat");
}

TEST_P(Tracked, FilesAndDirectoriesMove) {
  ASSERT_EQ(::rename(path("d1/in/f1").c_str(), path("d1/in/g1").c_str()), 0);
  expect_followed("within a directory");
  ASSERT_EQ(::rename(path("d1/in/f2").c_str(), path("d2/in/f3").c_str()), 0);
  expect_followed("over one in another directory");
  ASSERT_EQ(::rename(path("d3/in").c_str(), path("d4/moved").c_str()), 0);
  expect_followed("a directory");
  put(path("d4/moved/f4"), "changed after it moved");
  expect_followed("a file in it");
  ASSERT_EQ(::rename(path("d5").c_str(), volume_->outside("d5").c_str()), 0);
  expect_followed("a tree out of the volume");
  put(volume_->outside("d5/in/f1"), "changed while it was away");
  ASSERT_EQ(::rename(volume_->outside("d5").c_str(), path("d5").c_str()), 0);
  expect_followed("and back in");
  ASSERT_EQ(::rename(path("d6").c_str(), volume_->outside("d6").c_str()), 0);
  put(volume_->outside("d6/in/f1"), "changed while it was away");
  ASSERT_EQ(::rename(volume_->outside("d6").c_str(), path("d6").c_str()), 0);
  expect_followed("out and in between two runs");
  ASSERT_EQ(::renameat2(AT_FDCWD, path("d7/in").c_str(), AT_FDCWD, path("d8/in").c_str(),
                        RENAME_EXCHANGE),
            0);
  put(path("d8/in/f5"), "changed after the exchange");
  expect_followed("two exchanged");
}

TEST_P(Tracked, AFileIsWrittenThroughAnotherName) {
  ASSERT_EQ(::link(path("d1/in/f1").c_str(), path("d2/in/link").c_str()), 0);
  expect_followed("another name in the volume");
  put(path("d2/in/link"), "through the other name");
  expect_followed("written through it");
  ASSERT_EQ(::link(path("d3/in/f1").c_str(), volume_->outside("link").c_str()), 0);
  expect_followed("another name outside of the volume");
  put(volume_->outside("link"), "from outside");
  expect_followed("written from outside");
  ASSERT_EQ(::truncate(volume_->outside("link").c_str(), 4), 0);
  expect_followed("cut from outside");
  ASSERT_EQ(::chmod(volume_->outside("link").c_str(), 0600), 0);
  expect_followed("chmod from outside");
  ASSERT_EQ(::unlink(volume_->outside("link").c_str()), 0);
  expect_followed("its other name is gone");
  // Between two runs.
  ASSERT_EQ(::link(path("d4/in/f1").c_str(), volume_->outside("link").c_str()), 0);
  put(volume_->outside("link"), "at once");
  expect_followed("named and written between two runs");
}

TEST_P(Tracked, AMappingOutlivesItsDescriptor) {
  put(path("d3/in/f2"), std::string(8192, 'x'));
  expect_followed("made");
  void* map;
  {
    const base::Fd fd = base::open_file(path("d3/in/f2"), O_RDWR);
    map = ::mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  }
  ASSERT_NE(map, MAP_FAILED);
  for (const char letter : {'1', '2', '3'}) {
    static_cast<char*>(map)[0] = letter;
    volume_->expect_same(std::string("mapped ") + letter);
    EXPECT_EQ(volume_->why, "");
  }
  ASSERT_EQ(::mprotect(map, 8192, PROT_READ), 0);
  volume_->expect_same("not writable any more");
  ASSERT_EQ(::mprotect(map, 8192, PROT_READ | PROT_WRITE), 0);
  static_cast<char*>(map)[1] = '4';
  ASSERT_EQ(::mprotect(map, 8192, PROT_READ), 0);
  volume_->expect_same("written in between");
  ASSERT_EQ(::mprotect(map, 8192, PROT_READ | PROT_WRITE), 0);
  static_cast<char*>(map)[2] = '5';
  ::munmap(map, 8192);
  expect_followed("unmapped");
}

TEST_P(Tracked, AFileIsHeldOpenOverManyRuns) {
  const base::Fd fd = base::open_file(path("d3/in/f2"), O_WRONLY);
  for (int run = 0; run < 4; ++run) {
    ASSERT_EQ(::pwrite(fd.get(), std::to_string(run).data(), 1, run), 1);
    volume_->expect_same("written, and not closed, " + std::to_string(run));
    EXPECT_EQ(volume_->why, "");
  }
  ASSERT_EQ(::ftruncate(fd.get(), 2), 0);
  volume_->expect_same("cut");
}

TEST_P(Tracked, AnotherProcessWritesThroughAMountOfItsOwn) {
  const int pid = ::fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    const std::string place = volume_->outside("mounted");
    base::make_directories(place);
    if (::unshare(CLONE_NEWNS) != 0 ||
        ::mount(volume_->root.c_str(), place.c_str(), nullptr, MS_BIND, nullptr) != 0)
      ::_exit(1);
    const base::Fd fd = base::open_file(place + "/d3/in/f2", O_RDWR);
    for (char letter = 'a';; letter = letter == 'z' ? 'a' : static_cast<char>(letter + 1)) {
      if (::pwrite(fd.get(), &letter, 1, 0) != 1) ::_exit(1);
      ::raise(SIGSTOP);
    }
  }
  int status;
  for (int run = 0; run < 4; ++run) {
    ASSERT_EQ(::waitpid(pid, &status, WUNTRACED), pid);
    ASSERT_TRUE(WIFSTOPPED(status));
    volume_->expect_same("written by another process");
    EXPECT_EQ(volume_->why, "");
    ::kill(pid, SIGCONT);
  }
  ::kill(pid, SIGKILL);
  ::waitpid(pid, &status, 0);
  expect_followed("killed");
}

// What is written through an overlay is told of the overlay only.
TEST_P(Tracked, AnOverlayLiesOnADirectoryOfTheVolume) {
  for (const char* name : {"d3/lower", "d3/work", "d3/merged"}) base::make_directories(path(name));
  expect_followed("made");
  const std::string options =
      "lowerdir=" + path("d3/lower") + ",upperdir=" + path("d3/in") + ",workdir=" + path("d3/work");
  if (::mount("overlay", path("d3/merged").c_str(), "overlay", 0, options.c_str()) != 0)
    DAVIT_SKIP("no overlay can be mounted");
  put(path("d3/merged/f2"), "through the overlay");
  volume_->expect_same("while it is mounted");
  put(path("d3/merged/f3"), "through the overlay, too");
  volume_->expect_same("still");
  ASSERT_EQ(::umount(path("d3/merged").c_str()), 0);
}

TEST_P(Tracked, NothingIsBelievedAfterTheDaemonWasAway) {
  put(path("d3/in/f2"), "before");
  volume_->restart_tracker();
  put(path("d4/in/f2"), "after");
  volume_->expect_same("away");
  EXPECT_THAT(volume_->why, HasSubstr("nothing is known"));
  expect_followed_after_scan();
}

INSTANTIATE_TEST_SUITE_P(Disks, Tracked, ::testing::Values("ext4", "xfs", "btrfs"));

// What a run looks at: 10 directories with 100 files, those above them and beside them; what
// changed, twice.
TEST(TrackedLarge, TheWorkIsThatOfWhatChanged) {
  DAVIT_NEEDS_MOUNTS();
  TrackedVolume volume("ext4", {}, uint64_t{1} << 30);
  const auto name = [&](int i) {
    return volume.path("d" + std::to_string(i / 2500) + "/e" + std::to_string(i / 100 % 25) + "/f" +
                       std::to_string(i % 100));
  };
  for (int i = 0; i < 50'000; ++i) {
    if (i % 100 == 0) base::make_directories(name(i).substr(0, name(i).rfind('/')));
    base::open_file(name(i), O_WRONLY | O_CREAT, 0644);
  }
  volume.save_tracked();
  if (const auto writers = volume.open_writers(); !writers.doubt.empty()) DAVIT_SKIP(writers.doubt);
  EXPECT_EQ(volume.save_tracked().result.looked_at, 1u);
  for (int i = 0; i < 10; ++i) {
    const base::Fd fd = base::open_file(name(i * 4987), O_WRONLY);
    base::write_all(fd.get(), base::as_bytes("changed"));
  }
  const auto saved = volume.expect_same("ten changed");
  EXPECT_EQ(saved.result.files_changed, 10u);
  EXPECT_EQ(saved.result.total_files, 50'000u);
  EXPECT_LE(saved.result.looked_at, 1u + 20 + 10 * (25 + 100 + 1));
  EXPECT_EQ(volume.why, "");
}

class TrackedOverflow : public ::testing::TestWithParam<const char*> {};

TEST_P(TrackedOverflow, EverythingIsLookedAt) {
  DAVIT_NEEDS_MOUNTS();
  capture::ChangeTracker::Options options;
  options.reads_ahead = false;
  TrackedVolume volume(GetParam(), options);
  base::make_directories(volume.path("in"));
  volume.save_tracked();
  volume.expect_same("nothing");
  // More than the queue holds, and one in the volume that no event is left for.
  for (int i = 0; i < 20'000; ++i) {
    const std::string name = volume.outside("n" + std::to_string(i));
    base::open_file(name, O_WRONLY | O_CREAT, 0600);
    ::unlink(name.c_str());
  }
  base::open_file(volume.path("in/new"), O_WRONLY | O_CREAT, 0600);
  volume.expect_same("after the overflow");
  EXPECT_THAT(volume.why, HasSubstr("overflowed"));
  volume.expect_same("later");
  EXPECT_EQ(volume.why, "");
}

TEST_P(TrackedOverflow, SoIsWhatIsMoreThanMemoryIsFor) {
  DAVIT_NEEDS_MOUNTS();
  capture::ChangeTracker::Options options;
  options.most_handles = 100;
  TrackedVolume volume(GetParam(), options);
  volume.save_tracked();
  volume.expect_same("nothing");
  for (int i = 0; i < 200; ++i)
    base::open_file(volume.path("n" + std::to_string(i)), O_WRONLY | O_CREAT, 0600);
  volume.expect_same("many");
  EXPECT_THAT(volume.why, HasSubstr("memory"));
}

INSTANTIATE_TEST_SUITE_P(Disks, TrackedOverflow, ::testing::Values("ext4", "xfs"));

}  // namespace
}  // namespace davit
