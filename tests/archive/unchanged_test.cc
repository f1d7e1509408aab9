// What did not change is not opened; what did is read again; what is doubtful, too.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "support/fake_clock.h"
#include "support/skip.h"
#include "support/tree_maker.h"
#include "support/tree_manifest.h"
#include "support/volume_fixture.h"

namespace davit {
namespace {

using test::VolumeFixture;

class Unchanged : public ::testing::Test {
 protected:
  std::string file(const std::string& name) const { return fixture_.volume("v") + "/" + name; }
  void put(const std::string& name, const std::string& content) {
    base::make_directories(fixture_.volume("v"));
    const base::Fd fd = base::open_file(file(name), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    base::write_all(fd.get(), base::as_bytes(content));
  }
  // Change times are the kernel's own: what was made just now is doubtful for two seconds. So the
  // runs' clock is put forward.
  void let_settle() { clock_.set(base::SystemClock().now() + std::chrono::hours(1)); }
  VolumeFixture::Saved save() {
    archive::Options options;
    options.scan_cache_path = fixture_.cache_of("v");
    options.clock = &clock_;
    return fixture_.save("v", options);
  }

  VolumeFixture fixture_;
  test::FakeClock clock_{base::SystemClock().now()};
};

TEST_F(Unchanged, ASecondRunReadsNothing) {
  test::TreeSpec spec;
  spec.devices = spec.owners = spec.trusted_xattrs = ::geteuid() == 0;
  spec.large = false;
  test::make_tree(fixture_.volume("v"), spec);
  let_settle();
  const auto first = save();
  EXPECT_EQ(first.result.files_new, first.result.total_files);
  EXPECT_EQ(first.result.dirs_unmodified, 0u);
  const auto second = save();
  EXPECT_EQ(second.result.files_unmodified, first.result.total_files);
  EXPECT_EQ(second.result.files_new + second.result.files_changed, 0u);
  EXPECT_EQ(second.result.dirs_unmodified, first.result.dirs_new);
  EXPECT_EQ(second.result.dirs_new + second.result.dirs_changed, 0u);
  EXPECT_EQ(second.result.total_bytes, first.result.total_bytes);
  EXPECT_EQ(second.result.tree, first.result.tree);
  EXPECT_EQ(second.counts.tree_blobs, 0u);
}

TEST_F(Unchanged, AnUnchangedFileIsNotOpened) {
  put("a", "content");
  put("b", "");
  let_settle();
  save();
  const base::Fd watcher(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  ASSERT_GE(::inotify_add_watch(watcher.get(), fixture_.volume("v").c_str(), IN_OPEN), 0);
  const auto opened = [&] {
    std::vector<std::string> names;
    alignas(inotify_event) char buffer[4096];
    for (ssize_t got; (got = ::read(watcher.get(), buffer, sizeof buffer)) > 0;)
      for (ssize_t at = 0; at < got;) {
        const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
        if (event->len > 0) names.push_back(event->name);
        at += static_cast<ssize_t>(sizeof *event) + event->len;
      }
    return names;
  };
  save();
  EXPECT_EQ(opened(), std::vector<std::string>{});
  put("a", "changed");
  opened();
  save();
  EXPECT_EQ(opened(), std::vector<std::string>{"a"});
}

TEST_F(Unchanged, AnUnchangedDirectoryIsNotListed) {
  put("a", "content");
  let_settle();
  save();
  const base::Fd watcher(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  ASSERT_GE(::inotify_add_watch(watcher.get(), fixture_.volume("v").c_str(), IN_ACCESS), 0);
  const auto was_listed = [&] {
    alignas(inotify_event) char buffer[4096];
    return ::read(watcher.get(), buffer, sizeof buffer) > 0;
  };
  save();
  EXPECT_FALSE(was_listed());
  put("b", "new");
  EXPECT_EQ(save().result.total_files, 2u);
  EXPECT_TRUE(was_listed());
}

TEST_F(Unchanged, ADirectoryInsideOneThatChangedIsNotListed) {
  put("a", "content");
  base::make_directories(file("inner/deep"));
  put("inner/deep/b", "content");
  let_settle();
  save();
  put("c", "new");
  const base::Fd watcher(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  for (const char* name : {"inner", "inner/deep"})
    ASSERT_GE(::inotify_add_watch(watcher.get(), file(name).c_str(), IN_ACCESS), 0);
  const auto second = save();
  alignas(inotify_event) char buffer[4096];
  EXPECT_LT(::read(watcher.get(), buffer, sizeof buffer), 0);
  EXPECT_EQ(second.result.total_files, 3u);
  EXPECT_EQ(second.result.dirs_unmodified, 2u);
  EXPECT_EQ(second.result.dirs_changed, 1u);
  put("inner/deep/d", "new");
  EXPECT_EQ(save().result.total_files, 4u);
}

// The cache of a run with other excludes lists other names.
TEST_F(Unchanged, OtherExcludesAreFollowed) {
  put("a", "content");
  put("b", "content");
  let_settle();
  archive::Options options;
  options.scan_cache_path = fixture_.cache_of("v");
  options.clock = &clock_;
  options.excludes = archive::Excludes::parse("b");
  EXPECT_EQ(fixture_.save("v", options).result.total_files, 1u);
  const auto second = save();
  EXPECT_EQ(second.result.total_files, 2u);
  EXPECT_EQ(second.result.files_unmodified, 1u);
}

TEST_F(Unchanged, TheParentSnapshotServesWhereThereIsNoCache) {
  put("a", "content");
  const auto first = fixture_.save("v");
  // The snapshot says when it began: its files are settled if they are older than that.
  repo::Snapshot later = fixture_.repository().load_snapshot(first.snapshot);
  later.time.time += std::chrono::hours(1);
  archive::Options options;
  options.parent = fixture_.repository().save_snapshot(later);
  const auto second = fixture_.save("v", options);
  EXPECT_EQ(second.result.files_unmodified, 1u);
  EXPECT_EQ(second.result.tree, first.result.tree);
}

TEST_F(Unchanged, AParentThatIsGoneIsNoFailure) {
  put("a", "content");
  archive::Options options;
  options.parent = base::Id{};
  EXPECT_EQ(fixture_.save("v", options).result.files_new, 1u);
}

TEST_F(Unchanged, AFileWhoseTimeWasSetBackIsRead) {
  put("a", "one");
  struct stat before;
  ASSERT_EQ(::stat(file("a").c_str(), &before), 0);
  let_settle();
  const auto first = save();
  put("a", "two");  // the same size
  const struct timespec times[2] = {before.st_atim, before.st_mtim};
  ASSERT_EQ(::utimensat(AT_FDCWD, file("a").c_str(), times, 0), 0);
  const auto second = save();
  EXPECT_EQ(second.result.files_changed, 1u);
  EXPECT_NE(second.result.tree, first.result.tree);
}

TEST_F(Unchanged, AFileThatChangedJustBeforeIsReadAgainNextTime) {
  put("a", "fresh");
  save();
  const auto second = save();
  EXPECT_EQ(second.result.files_unmodified, 0u);
  EXPECT_EQ(second.counts.data_blobs, 0u);
}

TEST_F(Unchanged, AWriteThroughAMappingIsSeen) {
  put("a", std::string(8192, 'x'));
  struct statfs system;
  ASSERT_EQ(::statfs(fixture_.path().c_str(), &system), 0);
  if (system.f_type == 0x01021994) DAVIT_SKIP("tmpfs does not notice writes through mappings");
  const base::Fd fd = base::open_file(file("a"), O_RDWR);
  void* map = ::mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  ASSERT_NE(map, MAP_FAILED);
  static_cast<char*>(map)[0] =
      '1';  // from here on the page is dirty, and further writes change no time
  let_settle();
  save();
  static_cast<char*>(map)[0] = '2';
  const auto second = save();
  EXPECT_EQ(second.result.files_unmodified, 0u);
  fixture_.restore(second.result.tree, "v", "back");
  EXPECT_EQ(base::get_file(fixture_.volume("back") + "/a")[0], '2');
  ::munmap(map, 8192);
}

TEST_F(Unchanged, ABlobThatTheIndexLostIsSavedAgain) {
  put("a", "content");
  let_settle();
  const auto first = save();
  // Another repository: same cache file, but its blobs are not there.
  const auto files = fixture_.repository().index().files();
  for (const base::Id& file : files) fixture_.repository().index().drop_file(file);
  const auto second = save();
  EXPECT_EQ(second.result.files_unmodified, 0u);
  EXPECT_EQ(second.result.tree, first.result.tree);
}

TEST_F(Unchanged, ADamagedCacheCostsOnlyTime) {
  put("a", "content");
  let_settle();
  const auto first = save();
  base::Bytes bytes = base::get_file(fixture_.cache_of("v"));
  bytes[240] ^= 1;  // in the only block
  base::write_file_atomic(fixture_.cache_of("v"), bytes);
  const auto second = save();
  EXPECT_EQ(second.result.tree, first.result.tree);
  EXPECT_EQ(second.result.files_unmodified, 0u);
  EXPECT_EQ(save().result.files_unmodified, 1u);
}

TEST_F(Unchanged, AfterARestoreNothingIsRead) {
  test::TreeSpec spec;
  spec.devices = spec.owners = spec.trusted_xattrs = ::geteuid() == 0;
  spec.large = false;
  test::make_tree(fixture_.volume("v"), spec);
  const auto saved = save();
  restore::Options options;
  options.scan_cache_path = fixture_.cache_of("back");
  fixture_.restore(saved.result.tree, "v", "back", options);
  archive::Options again;
  again.scan_cache_path = fixture_.cache_of("back");
  const auto second = fixture_.save("back", again);
  EXPECT_EQ(second.result.files_unmodified, saved.result.total_files);
  EXPECT_EQ(second.result.files_changed + second.result.files_new, 0u);
  EXPECT_EQ(second.counts.data_blobs, 0u);
  EXPECT_FALSE(base::find_file(fixture_.cache_of("back") + ".draft"));
}

TEST_F(Unchanged, AChangeRightAfterARestoreIsSeen) {
  put("a", "one");
  const auto saved = save();
  restore::Options options;
  options.scan_cache_path = fixture_.cache_of("back");
  options.sync = false;
  fixture_.restore(saved.result.tree, "v", "back", options);
  const std::string path = fixture_.volume("back") + "/a";
  struct stat before;
  ASSERT_EQ(::stat(path.c_str(), &before), 0);
  {
    const base::Fd fd = base::open_file(path, O_WRONLY);
    base::write_all(fd.get(), base::as_bytes("two"));
  }
  const struct timespec times[2] = {before.st_atim, before.st_mtim};
  ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
  archive::Options again;
  again.scan_cache_path = fixture_.cache_of("back");
  EXPECT_EQ(fixture_.save("back", again).result.files_unmodified, 0u);
}

}  // namespace
}  // namespace davit
