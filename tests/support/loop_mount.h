// A file system of a test's own, on a loop device. The test's process moves into a mount namespace
// of its own first, and the image has no name: however the test ends, killed even, nothing stays
// mounted, no device stays taken and no file is left.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <string>

#include "support/temp_dir.h"

namespace davit::test {

class LoopMount {
 public:
  static constexpr uint64_t kSmallest = uint64_t{310} << 20;  // that mkfs.xfs makes

  // "btrfs", "xfs" or "ext4". The image is sparse. Throws base::Error saying what failed. Make it
  // before any thread: threads made earlier do not see it.
  explicit LoopMount(const std::string& type, uint64_t size_bytes = kSmallest);
  ~LoopMount();
  LoopMount(const LoopMount&) = delete;
  LoopMount& operator=(const LoopMount&) = delete;

  const std::string& path() const { return directory_.path(); }
  std::string operator/(const std::string& name) const { return directory_ / name; }
  void set_read_only(bool read_only);
  uint64_t free_bytes() const;
  // Takes all but so much of the space, with the file "ballast" at the top; removing that gives it
  // back.
  void fill_but(uint64_t bytes);
  void empty();

  // "" or why this process cannot mount.
  static const std::string& obstacle();

 private:
  TempDir directory_;
};

}  // namespace davit::test

// At the beginning of a test.
#define DAVIT_NEEDS_MOUNTS()                                                                   \
  if (const std::string& obstacle = ::davit::test::LoopMount::obstacle(); !obstacle.empty()) { \
    if (std::getenv("CI") != nullptr) FAIL() << "cannot mount: " << obstacle;                  \
    GTEST_SKIP() << "cannot mount: " << obstacle;                                              \
  }                                                                                            \
  static_assert(true)
