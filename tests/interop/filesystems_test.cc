// Trees between the file systems that volumes live on: each saved from one, restored to all.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <fstream>

#include "base/fd.h"
#include "support/loop_mount.h"
#include "support/program.h"
#include "support/stream.h"
#include "support/tree_maker.h"
#include "support/tree_manifest.h"
#include "support/volume_fixture.h"

namespace davit {
namespace {

using test::LoopMount;
using test::manifest_difference;
using test::ManifestOptions;
using test::tree_manifest;
using test::VolumeFixture;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kFileSystems[] = {"btrfs", "xfs", "ext4"};

uint64_t allocated_bytes(const std::string& path) {
  struct stat status;
  if (::lstat(path.c_str(), &status) != 0) base::throw_errno("cannot stat " + path, errno);
  return static_cast<uint64_t>(status.st_blocks) * 512;
}

// Bytes that this process read and wrote through system calls.
struct Traffic {
  uint64_t read = 0, written = 0;
  static Traffic so_far() {
    std::ifstream in("/proc/self/io");
    Traffic traffic;
    std::string word;
    in >> word >> traffic.read >> word >> traffic.written;
    return traffic;
  }
};

// Whether two large sparse files hold the same, looking only at what is no hole in one of them.
bool hold_the_same(const std::string& a, const std::string& b) {
  const base::Fd files[] = {base::open_file(a, O_RDONLY), base::open_file(b, O_RDONLY)};
  base::Bytes here(1 << 20), there(1 << 20);
  off_t sizes[2];
  for (int i : {0, 1}) {
    const int from = files[i].get(), with = files[1 - i].get();
    sizes[i] = ::lseek(from, 0, SEEK_END);
    for (off_t at = 0; (at = ::lseek(from, at, SEEK_DATA)) >= 0;) {
      const off_t end = ::lseek(from, at, SEEK_HOLE);
      while (at < end) {
        const size_t size = std::min<size_t>(here.size(), static_cast<size_t>(end - at));
        const auto offset = static_cast<uint64_t>(at);
        if (base::pread_up_to(from, std::span(here).first(size), offset) != size ||
            base::pread_up_to(with, std::span(there).first(size), offset) != size ||
            !std::equal(here.begin(), here.begin() + static_cast<ptrdiff_t>(size), there.begin()))
          return false;
        at += static_cast<off_t>(size);
      }
    }
  }
  return sizes[0] == sizes[1];
}

// xfs shows an ACL once more, in its own form, as an attribute; elsewhere that is just one.
std::string without_acls_of_xfs(std::string manifest) {
  for (const char* name : {" trusted.SGI_ACL_FILE=", " trusted.SGI_ACL_DEFAULT="})
    for (size_t at; (at = manifest.find(name)) != std::string::npos;)
      manifest.erase(at, manifest.find_first_of(" \n", at + 1) - at);
  return manifest;
}

restore::Result restore_to(VolumeFixture& fixture, const base::Id& tree, const std::string& name,
                           const std::string& target) {
  base::make_directories(target);
  const base::Fd directory = base::open_file(target, O_RDONLY | O_DIRECTORY);
  return restore::restore_tree(fixture.repository(), tree, "/volumes/" + name, directory.get(), {});
}

void write_at(const std::string& path, uint64_t offset, const base::Bytes& bytes) {
  const base::Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  base::pwrite_all(file.get(), bytes, offset);
}

struct FileSystems : testing::TestWithParam<const char*> {
  void SetUp() override { DAVIT_NEEDS_MOUNTS(); }
};
INSTANTIATE_TEST_SUITE_P(From, FileSystems, testing::ValuesIn(kFileSystems),
                         [](const auto& name) { return std::string(name.param); });

TEST_P(FileSystems, EverythingComesBackOnEach) {
  LoopMount source(GetParam());
  VolumeFixture fixture(VolumeFixture::Kind::real, source.path());
  test::TreeSpec spec;
  spec.link_target_bytes = 1023;  // xfs has no longer ones,
  spec.device_minor = 262143;     // and no larger
  test::make_tree(fixture.volume("all"), spec);
  ASSERT_EQ(::chmod(fixture.volume("all").c_str(), 02750), 0);
  const auto saved = fixture.save("all");
  EXPECT_EQ(saved.result.unreadable_count, 0u);
  fixture.reopen();
  ManifestOptions sparse;
  sparse.sparse = true;
  const std::string before = tree_manifest(fixture.volume("all"));
  const std::string holes = tree_manifest(fixture.volume("all") + "/sparse", sparse);
  for (const char* type : kFileSystems) {
    SCOPED_TRACE(std::string("to ") + type);
    LoopMount target(type);
    const auto restored = restore_to(fixture, saved.result.tree, "all", target / "back");
    EXPECT_THAT(restored.problems, IsEmpty());
    EXPECT_EQ(manifest_difference(without_acls_of_xfs(before),
                                  without_acls_of_xfs(tree_manifest(target / "back"))),
              "");
    EXPECT_EQ(manifest_difference(holes, tree_manifest(target / "back/sparse", sparse)), "");
    for (const char* file : {"only-hole", "small-hole", "front", "middle", "tail"})
      EXPECT_LE(allocated_bytes(target / ("back/sparse/" + std::string(file))),
                allocated_bytes(fixture.volume("all") + "/sparse/" + file) + (64 << 10))
          << file;
  }
}

// What one file system holds and another cannot: all else comes back, and it is said.
TEST_P(FileSystems, WhatItCannotHoldIsNamed) {
  LoopMount xfs("xfs"), target(GetParam());
  VolumeFixture fixture(VolumeFixture::Kind::quick, xfs.path());
  const std::string volume = fixture.volume("v");
  base::make_directories(volume);
  for (const char* name : {"a", "large", "z"})
    base::write_file_atomic(volume + "/" + name, base::as_bytes(name));
  const base::Bytes value = test::Stream(1).bytes(12'000);  // more than a block of ext4
  ASSERT_EQ(::setxattr((volume + "/large").c_str(), "user.large", value.data(), value.size(), 0),
            0);
  ASSERT_EQ(::setxattr((volume + "/large").c_str(), "user.small", "1", 1, 0), 0);
  const auto saved = fixture.save("v");
  const auto restored = restore_to(fixture, saved.result.tree, "v", target / "back");
  const std::string before = tree_manifest(volume), after = tree_manifest(target / "back");
  if (GetParam() != std::string("ext4")) {
    EXPECT_THAT(restored.problems, IsEmpty());
    EXPECT_EQ(manifest_difference(before, after), "");
    return;
  }
  EXPECT_EQ(restored.problem_count, 1u);
  EXPECT_THAT(restored.problems,
              ElementsAre(testing::AllOf(HasSubstr("large: "), HasSubstr("user.large"),
                                         HasSubstr("No space left"))));
  char small = 0;
  EXPECT_EQ(::getxattr((target / "back/large").c_str(), "user.small", &small, 1), 1);
  EXPECT_THAT(manifest_difference(before, after),
              testing::AllOf(HasSubstr("- large "), HasSubstr("+ large "),
                             testing::Not(HasSubstr("- a ")), testing::Not(HasSubstr("- z "))));
}

TEST_P(FileSystems, WhatItCannotMakeIsNamed) {
  LoopMount ext4("ext4"), target(GetParam());
  VolumeFixture fixture(VolumeFixture::Kind::quick, ext4.path());
  const std::string volume = fixture.volume("v");
  base::make_directories(volume);
  base::write_file_atomic(volume + "/z", base::as_bytes("z"));
  ASSERT_EQ(::symlink(std::string(4000, 'l').c_str(), (volume + "/link").c_str()), 0);
  ASSERT_EQ(::linkat(AT_FDCWD, (volume + "/link").c_str(), AT_FDCWD, (volume + "/more").c_str(), 0),
            0);
  ASSERT_EQ(::mknod((volume + "/device").c_str(), S_IFBLK | 0600, ::makedev(259, 1048575)), 0);
  const auto saved = fixture.save("v");
  const auto restored = restore_to(fixture, saved.result.tree, "v", target / "back");
  const std::string difference =
      manifest_difference(tree_manifest(volume), tree_manifest(target / "back"));
  if (GetParam() != std::string("xfs")) {
    EXPECT_EQ(difference, "");
    EXPECT_THAT(restored.problems, IsEmpty());
    return;
  }
  EXPECT_THAT(restored.problems,
              ElementsAre(HasSubstr("device: "), HasSubstr("link: "), HasSubstr("more: ")));
  EXPECT_TRUE(base::find_file(target / "back/z"));
  EXPECT_FALSE(base::find_file(target / "back/link"));
}

// Of 3 GiB only the data is read and written, wherever it begins.
TEST_P(FileSystems, HolesAreNeitherReadNorWritten) {
  LoopMount mount(GetParam(), 1 << 30);
  VolumeFixture fixture(VolumeFixture::Kind::quick, mount.path());
  const std::string volume = fixture.volume("v"), file = volume + "/sparse";
  base::make_directories(volume);
  constexpr uint64_t kSize = uint64_t{3} << 30;
  uint64_t seed = 0;
  // At its beginning, within a block, within what would be a piece of zeros, and at its end.
  for (const uint64_t offset : {uint64_t{0}, (uint64_t{1} << 30) + 4321, uint64_t{2'000'000'000},
                                uint64_t{2'500'000'000}, kSize - 70'000})
    write_at(file, offset, test::Stream(++seed).bytes(70'000));
  ASSERT_EQ(allocated_bytes(file) / 1'000'000, 0u);

  Traffic before = Traffic::so_far();
  const auto saved = fixture.save("v");
  Traffic after = Traffic::so_far();
  EXPECT_EQ(saved.result.total_bytes, kSize);
  EXPECT_LT(after.read - before.read, 40'000'000u);
  EXPECT_LE(saved.counts.data_blobs, 12u);
  // Twice the same file is one content.
  ASSERT_EQ(::system(("cp --sparse=always '" + file + "' '" + volume + "/other'").c_str()), 0);
  EXPECT_EQ(fixture.save("v").counts.data_blobs, 0u);

  before = Traffic::so_far();
  const auto restored = restore_to(fixture, saved.result.tree, "v", fixture.volume("back"));
  after = Traffic::so_far();
  EXPECT_EQ(restored.bytes, kSize);
  EXPECT_LT(after.written - before.written, 10'000'000u);
  EXPECT_LE(allocated_bytes(fixture.volume("back") + "/sparse"),
            allocated_bytes(file) + 10 * (64 << 10));
  EXPECT_TRUE(hold_the_same(file, fixture.volume("back") + "/sparse"));
}

// A file of holes is cut where restic cuts it, however it is read: the same as when it is all data.
TEST_P(FileSystems, HolesAndZerosAreTheSameContent) {
  LoopMount mount(GetParam());
  VolumeFixture fixture(VolumeFixture::Kind::quick, mount.path());
  const std::string volume = fixture.volume("v");
  base::make_directories(volume);
  test::Stream random(7);
  for (int number = 0; number < 4; ++number) {
    const std::string file = volume + "/sparse-" + std::to_string(number);
    const uint64_t size = (12 << 20) + random.below(1 << 20);
    write_at(file, 0, {});
    ASSERT_EQ(::truncate(file.c_str(), static_cast<off_t>(size)), 0);
    for (int piece = 0; piece < 5; ++piece)
      write_at(file, random.below(size - 900'000), random.bytes(1 + random.below(900'000)));
  }
  fixture.save("v");
  ASSERT_EQ(
      ::system(
          ("cd '" + volume +
           "' && for file in sparse-*; do cp --reflink=never --sparse=never $file full-$file; done")
              .c_str()),
      0);
  ASSERT_GT(allocated_bytes(volume + "/full-sparse-0"), 12u << 20);
  EXPECT_EQ(fixture.save("v").counts.data_blobs, 0u);
}

TEST(FileSystem, ADirectoryOfAHundredThousandComesBack) {
  DAVIT_NEEDS_MOUNTS();
  LoopMount mount("xfs", 2u << 30);
  VolumeFixture fixture(VolumeFixture::Kind::quick, mount.path());
  const std::string volume = fixture.volume("v");
  base::make_directories(volume + "/wide");
  const base::Fd wide = base::open_file(volume + "/wide", O_RDONLY | O_DIRECTORY);
  for (int i = 0; i < 100'000; ++i) {
    const std::string name = "entry-" + std::to_string(i * 7919 % 100'000);
    const base::Fd file(::openat(wide.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0600));
    ASSERT_TRUE(file);
    if (i % 10 == 0) base::write_all(file.get(), base::as_bytes(name));
  }
  const auto saved = fixture.save("v");
  EXPECT_EQ(saved.result.total_files, 100'000u);
  const auto restored = restore_to(fixture, saved.result.tree, "v", fixture.volume("back"));
  EXPECT_EQ(restored.files, 100'000u);
  EXPECT_EQ(manifest_difference(tree_manifest(volume), tree_manifest(fixture.volume("back"))), "");
}

}  // namespace
}  // namespace davit
