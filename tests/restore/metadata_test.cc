// Owner and mode of restored files: calls are left out only where they would change nothing.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "support/volume_fixture.h"

namespace davit::restore {
namespace {

class Mask {
 public:
  explicit Mask(mode_t mask) : before_(::umask(mask)) {}
  ~Mask() { ::umask(before_); }

 private:
  const mode_t before_;
};

TEST(RestoreMetadata, ModesAndOwnersAreExactWhateverTheProcessMask) {
  constexpr mode_t kModes[] = {0, 0400, 0444, 0600, 0644, 0666, 0777, 01644, 02755, 04755, 06777};
  test::VolumeFixture fixture;
  const std::string from = fixture.volume("v");
  base::make_directories(from);
  const bool is_root = ::geteuid() == 0;
  const auto name = [](mode_t mode, uid_t owner) {
    return "/" + std::to_string(mode) + "-" + std::to_string(owner);
  };
  const std::vector<uid_t> owners =
      is_root ? std::vector<uid_t>{0, 4711} : std::vector{::geteuid()};
  for (const mode_t mode : kModes) {
    for (const uid_t owner : owners) {
      const std::string path = from + name(mode, owner);
      base::write_file_atomic(path, base::as_bytes("content"));
      if (is_root) {
        ASSERT_EQ(::chown(path.c_str(), owner, owner), 0);
      }
      ASSERT_EQ(::chmod(path.c_str(), mode), 0);
    }
  }
  const auto saved = fixture.save("v");
  for (const mode_t mask : {0, 022, 0777}) {
    const std::string to = "back" + std::to_string(mask);
    {
      const Mask masked(mask);
      const Result result = fixture.restore(saved.result.tree, "v", to);
      EXPECT_EQ(result.problem_count, 0u);
    }
    for (const mode_t mode : kModes) {
      for (const uid_t owner : owners) {
        struct stat status;
        ASSERT_EQ(::stat((fixture.volume(to) + name(mode, owner)).c_str(), &status), 0);
        EXPECT_EQ(status.st_mode & 07777, mode) << "mask " << mask;
        EXPECT_EQ(status.st_uid, owner);
      }
    }
  }
}

}  // namespace
}  // namespace davit::restore
