// Subvolumes inside a volume: their inode numbers are their own, and their snapshots have other
// devices.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "support/fake_clock.h"
#include "support/skip.h"
#include "support/tree_manifest.h"
#include "support/volume_fixture.h"

namespace davit {
namespace {

bool run(const std::string& command) {
  return std::system((command + " >/dev/null 2>&1").c_str()) == 0;
}

class BtrfsVolume : public ::testing::Test {
 protected:
  void SetUp() override {
    base::make_directories(point_);
    {
      const base::Fd image = base::open_file(image_, O_RDWR | O_CREAT, 0600);
      ASSERT_EQ(::ftruncate(image.get(), 256 << 20), 0);
    }
    mounted_ = ::geteuid() == 0 && run("PATH=$PATH:/usr/sbin:/sbin; mkfs.btrfs -q " + image_ +
                                       " && mount -o loop " + image_ + " " + point_);
    if (!mounted_) DAVIT_SKIP("no btrfs here");
  }
  ~BtrfsVolume() override {
    if (mounted_) ::umount2(point_.c_str(), MNT_DETACH);
  }
  archive::Result save(const std::string& directory, archive::Options options = {}) {
    const base::Fd root = base::open_file(directory, O_RDONLY | O_DIRECTORY);
    repo::UploadSession session(fixture_.repository());
    archive::Source source;
    source.directory = root.get();
    source.path = "/volumes/v";
    source.device = 4711;
    const auto result = archive::archive_tree(fixture_.repository(), session, source, options);
    session.finish();
    if (!options.scan_cache_path.empty()) archive::commit_scan_cache(options.scan_cache_path);
    return result;
  }

  test::VolumeFixture fixture_;
  const std::string image_ = fixture_.path() + "/image", point_ = fixture_.path() + "/btrfs";
  bool mounted_ = false;
};

TEST_F(BtrfsVolume, ASubvolumeInsideIsSavedAndItsLinksStayItsOwn) {
  const std::string volume = point_ + "/v";
  ASSERT_TRUE(run("btrfs subvolume create " + volume));
  ASSERT_TRUE(run("btrfs subvolume create " + volume + "/inner"));
  for (const std::string& where : {volume, volume + "/inner"}) {
    // The same inode numbers in both.
    const base::Fd fd = base::open_file(where + "/file", O_WRONLY | O_CREAT, 0600);
    base::write_all(fd.get(), base::as_bytes(where));
    ASSERT_EQ(::link((where + "/file").c_str(), (where + "/link").c_str()), 0);
  }
  const auto result = save(volume);
  EXPECT_EQ(result.total_files, 4u);
  const auto restored = fixture_.restore(result.tree, "v", "back");
  EXPECT_EQ(restored.problem_count, 0u);
  EXPECT_EQ(test::manifest_difference(test::tree_manifest(volume),
                                      test::tree_manifest(fixture_.volume("back"))),
            "");
}

TEST_F(BtrfsVolume, ASnapshotOfTheVolumeGivesTheSameTreeAndReadsNothing) {
  const std::string volume = point_ + "/v";
  ASSERT_TRUE(run("btrfs subvolume create " + volume));
  {
    const base::Fd fd = base::open_file(volume + "/file", O_WRONLY | O_CREAT, 0600);
    base::write_all(fd.get(), base::as_bytes("content"));
  }
  ASSERT_EQ(::link((volume + "/file").c_str(), (volume + "/link").c_str()), 0);
  test::FakeClock clock(base::SystemClock().now() + std::chrono::hours(1));
  archive::Options options;
  options.scan_cache_path = fixture_.cache_of("v");
  options.clock = &clock;
  const auto live = save(volume, options);
  ASSERT_TRUE(run("btrfs subvolume snapshot -r " + volume + " " + point_ + "/still"));
  const auto still = save(point_ + "/still", options);
  EXPECT_EQ(still.tree, live.tree);
  EXPECT_EQ(still.files_unmodified, 2u);
}

}  // namespace
}  // namespace davit
