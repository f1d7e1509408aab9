#include "store/spool_draft.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/errors.h"
#include "support/loop_mount.h"
#include "support/memory_store.h"
#include "support/skip.h"
#include "support/temp_dir.h"

namespace davit::store {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Of this process, in the directory.
size_t open_files(const std::string& directory) {
  size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    count += std::filesystem::read_symlink(entry, gone).string().starts_with(directory);
  }
  return count;
}

TEST(SpoolDraft, LiesInItsDirectoryAndLeavesNothing) {
  const test::TempDir directory;
  test::MemoryStore store;
  {
    SpoolDraft draft(store, directory.path());
    draft.append(base::as_bytes("one"));
    draft.append(base::as_bytes("two"));
    EXPECT_EQ(open_files(directory.path()), 1u);
    draft.commit({Kind::data, {}});
  }
  EXPECT_EQ(base::as_text(store.get({Kind::data, {}}, 100)), "onetwo");
  EXPECT_EQ(open_files(directory.path()), 0u);
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

TEST(SpoolDraft, SaysWhereThereIsNoRoom) {
  if (!test::LoopMount::obstacle().empty()) DAVIT_SKIP(test::LoopMount::obstacle());
  test::LoopMount disk("ext4");
  disk.fill_but(1 << 20);
  test::MemoryStore store;
  SpoolDraft draft(store, disk.path());
  const base::Bytes much(64 << 20);  // and more than is kept back for root
  try {
    draft.append(much);
    FAIL() << "more than there is room for";
  } catch (const base::IoError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("cannot keep a pack"), HasSubstr(disk.path()),
                                    HasSubstr("No space left")));
  }
}

TEST(SpoolDraft, NeedsItsDirectory) {
  test::MemoryStore store;
  EXPECT_THROW(SpoolDraft(store, "/nowhere"), base::IoError);
}

}  // namespace
}  // namespace davit::store
