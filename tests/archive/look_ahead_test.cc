// Several threads look at what the scan cache lists, block by block: whatever lies on a border
// between two blocks, the tree is that of a run which looks at everything.
#include "archive/look_ahead.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "base/errors.h"
#include "base/files.h"
#include "repo/scan_cache.h"
#include "support/fake_clock.h"
#include "support/stream.h"
#include "support/volume_fixture.h"

namespace davit {
namespace {

namespace fs = std::filesystem;
using test::VolumeFixture;

class LookAhead : public ::testing::Test {
 protected:
  static constexpr size_t kDirectories = 60, kFiles = 120;

  LookAhead() { base::make_directories(root()); }

  std::string root() const { return fixture_.volume("v"); }
  // Long, so that there are many blocks.
  static std::string name(size_t i) { return std::string(40, 'n') + std::to_string(i); }
  std::string directory(size_t i) const { return root() + "/" + name(i); }
  void put(const std::string& path, const std::string& content) {
    const base::Fd file = base::open_file(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    base::write_all(file.get(), base::as_bytes(content));
  }
  void make_many() {
    for (size_t i = 0; i < kDirectories; ++i) {
      fs::create_directories(directory(i) + "/in/it");
      for (size_t j = 0; j < kFiles; ++j)
        put(directory(i) + "/" + name(j), j % 7 ? std::to_string(i * j) : "");
      put(directory(i) + "/in/it/last", "last");
    }
  }
  VolumeFixture::Saved save(bool with_cache = true) {
    archive::Options options;
    if (with_cache) options.scan_cache_path = fixture_.cache_of("v");
    clock_.set(base::SystemClock().now() + std::chrono::hours(1));
    options.clock = &clock_;
    return fixture_.save("v", options);
  }
  // A run with the cache, against one without.
  archive::Result expect_right() {
    const auto saved = save();
    EXPECT_EQ(saved.result.tree, save(/*with_cache=*/false).result.tree);
    return saved.result;
  }
  std::shared_ptr<const repo::KeptScan> scan() {
    const auto reader =
        repo::ScanCacheReader::open(fixture_.cache_of("v"), fixture_.repository().id());
    return reader ? reader->open_kept() : nullptr;
  }

  VolumeFixture fixture_;
  test::FakeClock clock_{base::SystemClock().now()};
};

TEST_F(LookAhead, NothingChangedInManyBlocks) {
  make_many();
  const auto first = save();
  ASSERT_GT(scan()->outline.blocks.size(), 2u);
  const auto result = expect_right();
  EXPECT_EQ(result.tree, first.result.tree);
  EXPECT_EQ(result.dirs_unmodified, 1 + 3 * kDirectories);
  EXPECT_EQ(result.files_unmodified, first.result.total_files);
  EXPECT_EQ(result.total_bytes, first.result.total_bytes);
  // Each once; and the root by the walk, too, which is one more than all there is.
  EXPECT_LE(result.looked_at, first.result.total_files + 3 * kDirectories + 2);
}

TEST_F(LookAhead, AnyOneChangeIsFoundWhereverItLies) {
  make_many();
  save();
  test::Stream random(1);
  for (int round = 0; round < 40; ++round) {
    const std::string where = directory(random.below(kDirectories));
    const std::string one = where + "/" + name(random.below(kFiles));
    switch (random.below(6)) {
      case 0:
        put(one, "new " + std::to_string(round));
        break;
      case 1:
        fs::remove(one);
        break;
      case 2:
        put(where + "/new" + std::to_string(round), "new");
        break;
      case 3:
        fs::permissions(where + "/in/it", fs::perms(0700 + round % 8));
        break;
      case 4:
        put(where + "/in/it/last", std::to_string(round));
        break;
      case 5:
        fs::rename(where + "/in", where + "/im");
        fs::create_directories(where + "/in/it");
        break;
    }
    const auto result = expect_right();
    ASSERT_FALSE(HasFailure()) << "round " << round;
    EXPECT_GE(result.dirs_unmodified, 3 * kDirectories - 4) << "round " << round;
  }
}

TEST_F(LookAhead, ADirectoryThatBecameALinkIsNotFollowed) {
  make_many();
  save();
  const std::string away = fixture_.path() + "/away";
  fs::rename(directory(30), away);
  fs::create_directory_symlink(away, directory(30));
  const auto result = expect_right();
  EXPECT_EQ(result.dirs_unmodified, 3 * (kDirectories - 1));
}

TEST_F(LookAhead, DeepDirectoriesOverManyBlocks) {
  std::string path = root();
  for (int depth = 0; depth < 60; ++depth) {
    for (size_t i = 0; i < 60; ++i) {
      put(path + "/" + "a" + name(i), std::to_string(depth));
      put(path + "/" + "z" + name(i), "");
    }
    path += "/deep";
    fs::create_directory(path);
  }
  save();
  ASSERT_GT(scan()->outline.blocks.size(), 2u);
  EXPECT_EQ(expect_right().dirs_unmodified, 61u);
  put(path + "/at the bottom", "new");
  EXPECT_EQ(expect_right().dirs_unmodified, 0u);
}

TEST_F(LookAhead, ADamagedBlockCostsOnlyTime) {
  make_many();
  save();
  const uint64_t offset = scan()->outline.blocks[1].offset + 1000;
  {
    const base::Fd cache = base::open_file(fixture_.cache_of("v"), O_RDWR);
    uint8_t byte;
    ASSERT_EQ(base::pread_up_to(cache.get(), std::span(&byte, 1), offset), 1u);
    byte ^= 1;
    base::pwrite_all(cache.get(), base::ByteView(&byte, 1), offset);
  }
  expect_right();
}

TEST_F(LookAhead, AStopEndsIt) {
  make_many();
  save();
  std::stop_source stop;
  stop.request_stop();
  const auto root =
      std::make_shared<const base::Fd>(base::open_directory_at(AT_FDCWD, this->root().c_str()));
  EXPECT_THROW(archive::look_ahead(fixture_.repository(), *scan(), root, stop.get_token()),
               base::Cancelled);
}

}  // namespace
}  // namespace davit
