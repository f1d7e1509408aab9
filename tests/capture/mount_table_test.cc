#include "capture/mount_table.h"

#include <gtest/gtest.h>
#include <sys/sysmacros.h>
#include <unistd.h>

namespace davit::capture {
namespace {

TEST(MountTable, ReadsWhatTheKernelWrites) {
  const auto mounts = parse_mounts(
      "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue\n"
      "no mount\n"
      "40 36 0:31 / /a\\040b\\134c rw - overlay overlay "
      "rw,lowerdir=/l,upperdir=/u\\040x,workdir=/w\n");
  ASSERT_EQ(mounts.size(), 2u);
  EXPECT_EQ(mounts[0].device, makedev(98, 0));
  EXPECT_EQ(mounts[0].path, "/mnt2");
  EXPECT_EQ(mounts[0].type, "ext3");
  EXPECT_EQ(mounts[1].path, "/a b\\c");
  EXPECT_EQ(mounts[1].type, "overlay");
  EXPECT_EQ(mounts[1].options, "rw,lowerdir=/l,upperdir=/u\\040x,workdir=/w");
}

TEST(MountTable, UnescapesOctalOnly) {
  EXPECT_EQ(unescape_octal("a\\040b\\0"), "a b\\0");
  EXPECT_EQ(unescape_octal("\\9\\\\"), "\\9\\\\");
}

TEST(MountTable, KnowsTheMountsOfThisProcess) {
  EXPECT_FALSE(read_mounts(::getpid()).empty());
  EXPECT_TRUE(read_mounts(0x7ffffff0).empty());
}

}  // namespace
}  // namespace davit::capture
