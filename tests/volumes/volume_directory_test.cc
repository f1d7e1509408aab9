#include "volumes/volume_directory.h"

#include <btrfsutil.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/errors.h"
#include "base/fd.h"
#include "base/files.h"
#include "support/fake_clock.h"
#include "support/skip.h"
#include "support/temp_dir.h"
#include "volumes/registry.h"

namespace davit::volumes {
namespace {

// A btrfs of the test's own on a sparse file. Needs root and a loop device.
class BtrfsMount {
 public:
  BtrfsMount() {
    base::make_directories(point_);
    {
      const base::Fd image = base::open_file(image_, O_RDWR | O_CREAT, 0600);
      if (::ftruncate(image.get(), 256 << 20) != 0)
        base::throw_errno("cannot size " + image_, errno);
    }
    mounted_ = ::geteuid() == 0 &&
               std::system(("mkfs.btrfs -q " + image_ + " >/dev/null 2>&1 && mount -o loop " +
                            image_ + " " + point_ + " 2>/dev/null")
                               .c_str()) == 0;
  }
  ~BtrfsMount() {
    if (mounted_) ::umount2(point_.c_str(), MNT_DETACH);
  }
  bool mounted() const { return mounted_; }
  const std::string& path() const { return point_; }

 private:
  test::TempDir dir_;
  std::string image_ = dir_ / "image", point_ = dir_ / "point";
  bool mounted_ = false;
};

TEST(VolumeDirectory, IsEmptyAndEverybodysToEnter) {
  test::TempDir dir;
  const mode_t before = ::umask(0077);
  make_volume_directory(dir / "v");
  ::umask(before);
  struct stat status;
  ASSERT_EQ(::stat((dir / "v").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0755u);
  EXPECT_THROW(make_volume_directory(dir / "v"), base::IoError);
  delete_volume_directory(dir / "v");
  delete_volume_directory(dir / "v");
  EXPECT_TRUE(base::list_directory(dir.path()).empty());
}

TEST(VolumeDirectory, IsASubvolumeOnBtrfsThroughItsWholeLife) {
  const BtrfsMount btrfs;
  if (!btrfs.mounted()) DAVIT_SKIP("btrfs cannot be mounted here");
  test::FakeClock clock;
  Registry registry(btrfs.path(), clock);
  const Volume volume = registry.create("v", State::creating, {});
  const std::string staging = registry.prepare_staging(volume.uuid);
  EXPECT_EQ(::btrfs_util_is_subvolume(staging.c_str()), BTRFS_UTIL_OK);
  base::write_file_atomic(staging + "/f", base::as_bytes("data"));
  registry.prepare_staging(volume.uuid);  // a second try begins anew
  EXPECT_TRUE(base::list_directory(staging).empty());
  base::write_file_atomic(staging + "/f", base::as_bytes("data"));
  registry.make_ready(volume.uuid);
  const std::string path = registry.directory(*registry.find("v"));
  EXPECT_EQ(::btrfs_util_is_subvolume(path.c_str()), BTRFS_UTIL_OK);
  EXPECT_EQ(base::as_text(base::get_file(path + "/f")), "data");

  // With a subvolume of the user's own inside it cannot go in one step.
  ASSERT_EQ(::btrfs_util_create_subvolume((path + "/inner").c_str(), 0, nullptr, nullptr),
            BTRFS_UTIL_OK);
  base::write_file_atomic(path + "/inner/f", base::as_bytes("data"));
  registry.remove("v", true);
  registry.drop(volume.uuid);
  EXPECT_TRUE(base::list_directory(btrfs.path() + "/removed").empty());
}

}  // namespace
}  // namespace davit::volumes
