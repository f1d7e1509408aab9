// Whatever happens to a tree between two runs, the run with a scan cache comes to the tree of a run
// that looks at everything.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <random>

#include "base/files.h"
#include "support/fake_clock.h"
#include "support/volume_fixture.h"

namespace davit {
namespace {

using test::VolumeFixture;

// Times that are equal to the last run's would prove nothing; the fake clock hides that.
void wait_for_next_tick() {
  timespec before, now;
  ::clock_gettime(CLOCK_REALTIME_COARSE, &before);
  do ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
  while (now.tv_sec == before.tv_sec && now.tv_nsec == before.tv_nsec);
}

class RandomTree {
 public:
  RandomTree(std::string root, uint32_t seed) : root_(std::move(root)), random_(seed) {
    base::make_directories(root_);
    directories_.push_back(root_);
  }

  void change() {
    const std::string path = pick(directories_) + "/" + name();
    const std::string other = pick(directories_) + "/" + name();
    switch (random_() % 14) {
      case 0:
      case 1:
      case 2:
        return write(path, random_() % 3 == 0 ? 0 : 1 + random_() % 5000);
      case 3:
      case 4:
        if (::mkdir(path.c_str(), 0755) == 0) directories_.push_back(path);
        return;
      case 5:
        return remove(path);
      case 6:
        if (path.find(other) != 0 && other.find(path) != 0) {
          remove(other);
          ::rename(path.c_str(), other.c_str());
        }
        return forget_lost();
      case 7:
        ::symlink(other.c_str(), path.c_str());
        return;
      case 8:
        ::link(path.c_str(), other.c_str());
        return;
      case 9:
        ::chmod(path.c_str(), 0400 | (random_() % 0400));
        return;
      case 10:
        ::lsetxattr(path.c_str(), "user.davit", path.c_str(), random_() % 20, 0);
        return;
      case 11:
        ::mkfifo(path.c_str(), 0600);
        return;
      case 12: {  // the same size, the old times
        struct stat before;
        if (::lstat(path.c_str(), &before) != 0 || !S_ISREG(before.st_mode)) return;
        write(path, static_cast<size_t>(before.st_size));
        const timespec times[2] = {before.st_atim, before.st_mtim};
        ::utimensat(AT_FDCWD, path.c_str(), times, 0);
        return;
      }
      default: {
        const timespec times[2] = {{1000000, 0}, {static_cast<time_t>(random_() % 1000000), 0}};
        ::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW);
      }
    }
  }

 private:
  std::string name() {
    return std::string(1 + random_() % 2, static_cast<char>('a' + random_() % 5));
  }
  const std::string& pick(const std::vector<std::string>& from) {
    return from[random_() % from.size()];
  }
  void write(const std::string& path, size_t size) {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0644);
    if (fd < 0) return;
    const base::Fd file(fd);
    struct stat status;
    if (::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) return;
    base::Bytes bytes(size);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random_());
    base::write_all(fd, bytes);
    ASSERT_EQ(::ftruncate(fd, static_cast<off_t>(size)), 0);
  }
  void remove(const std::string& path) {
    struct stat status;
    if (::lstat(path.c_str(), &status) != 0) return;
    if (S_ISDIR(status.st_mode))
      base::remove_tree(path);
    else
      ::unlink(path.c_str());
    forget_lost();
  }
  void forget_lost() {
    std::erase_if(directories_, [](const std::string& path) {
      struct stat status;
      return ::lstat(path.c_str(), &status) != 0 || !S_ISDIR(status.st_mode);
    });
  }

  const std::string root_;
  std::mt19937 random_;
  std::vector<std::string> directories_;
};

class UnchangedRandom : public ::testing::TestWithParam<uint32_t> {};

TEST_P(UnchangedRandom, TheTreeIsThatOfARunThatLooksAtEverything) {
  VolumeFixture fixture;
  RandomTree tree(fixture.volume("v"), GetParam());
  for (int i = 0; i < 300; ++i) tree.change();
  test::FakeClock clock(base::SystemClock().now());
  std::mt19937 random(GetParam());
  const int rounds = std::getenv("DAVIT_SOAK") ? 500 : 25;
  uint64_t unmodified = 0;
  for (int round = 0; round < rounds; ++round) {
    wait_for_next_tick();
    const unsigned changes = random() % 2 == 0 ? random() % 3 : random() % 40;
    for (unsigned i = 0; i < changes; ++i) tree.change();
    // Sometimes all is settled; else the cache may trust little of it.
    if (random() % 4 != 0)
      clock.set(base::SystemClock().now() + std::chrono::hours(1));
    else
      clock.set(base::SystemClock().now());
    wait_for_next_tick();

    archive::Options cached;
    cached.scan_cache_path = fixture.cache_of("v");
    cached.clock = &clock;
    if (random() % 8 == 0) cached.excludes = archive::Excludes::parse("a*");
    archive::Options fresh;
    fresh.excludes = cached.excludes;
    const auto with = fixture.save("v", cached), without = fixture.save("v", fresh);
    ASSERT_EQ(with.result.tree, without.result.tree) << "round " << round;
    ASSERT_EQ(with.result.total_files, without.result.total_files);
    ASSERT_EQ(with.result.total_bytes, without.result.total_bytes);
    ASSERT_EQ(
        with.result.dirs_new + with.result.dirs_changed + with.result.dirs_unmodified,
        without.result.dirs_new + without.result.dirs_changed + without.result.dirs_unmodified);
    unmodified += with.result.dirs_unmodified;
  }
  EXPECT_GT(unmodified, 0u);
}

INSTANTIATE_TEST_SUITE_P(Seeds, UnchangedRandom, ::testing::Range(1u, 9u));

}  // namespace
}  // namespace davit
