#include "base/files.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>

#include "base/errors.h"
#include "base/fault.h"
#include "base/fd.h"
#include "support/temp_dir.h"

namespace davit::base {
namespace {

using test::TempDir;

TEST(Files, AtomicWriteReplacesAndLeavesNothingBeside) {
  TempDir dir;
  write_file_atomic(dir / "f", as_bytes("one"));
  write_file_atomic(dir / "f", as_bytes("two"));
  EXPECT_EQ(as_text(get_file(dir / "f")), "two");
  EXPECT_EQ(list_directory(dir.path()).size(), 1u);
  struct stat status;
  ASSERT_EQ(::stat((dir / "f").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
}

TEST(Files, FailedAtomicWriteKeepsTheOldBytesAndNoRest) {
  TempDir dir;
  write_file_atomic(dir / "f", as_bytes("one"));
  fault_hook = [](const char* point) {
    if (std::string_view(point) == "write_atomic:written") throw IoError("planted", EIO);
  };
  EXPECT_THROW(write_file_atomic(dir / "f", as_bytes("two")), IoError);
  fault_hook = nullptr;
  EXPECT_EQ(as_text(get_file(dir / "f")), "one");
  EXPECT_EQ(list_directory(dir.path()).size(), 1u);
}

TEST(Files, ReadingIsBounded) {
  TempDir dir;
  write_file_atomic(dir / "f", as_bytes("12345"));
  EXPECT_THROW(get_file(dir / "f", 4), UsageError);
  EXPECT_EQ(get_file(dir / "f", 5).size(), 5u);
  EXPECT_FALSE(find_file(dir / "none"));
  EXPECT_THROW(get_file(dir / "none"), NotFound);
  EXPECT_GT(get_file("/proc/self/status").size(), 100u);  // says size 0
}

TEST(Files, RenameNeverReplaces) {
  TempDir dir;
  make_directories(dir / "a/b/c");
  make_directories(dir / "d");
  EXPECT_THROW(rename_durably(dir / "a", dir / "d"), Conflict);
  rename_durably(dir / "a", dir / "e");
  EXPECT_EQ(list_directory(dir / "e"), std::vector<std::string>{"b"});
}

TEST(Files, RemoveTreeTakesDepthBeyondPathMaxAndFollowsNoLink) {
  TempDir dir;
  write_file_atomic(dir / "outside", as_bytes("stays"));
  make_directories(dir / "tree");
  ASSERT_EQ(::symlink("../outside", (dir / "tree/link").c_str()), 0);
  ASSERT_EQ(::symlink("..", (dir / "tree/up").c_str()), 0);
  const std::string name(200, 'n');
  Fd here = open_file(dir / "tree", O_RDONLY | O_DIRECTORY);
  for (int depth = 0; depth < 60; ++depth) {  // 12,000 bytes of path
    ASSERT_EQ(::mkdirat(here.get(), name.c_str(), 0700), 0);
    Fd file = open_at(here.get(), "file", O_WRONLY | O_CREAT, 0400);
    here = open_at(here.get(), name, O_RDONLY | O_DIRECTORY);
  }
  remove_tree(dir / "tree");
  EXPECT_EQ(list_directory(dir.path()), std::vector<std::string>{"outside"});
  remove_tree(dir / "tree");  // absence is no error
}

}  // namespace
}  // namespace davit::base
