// Whatever happens to a tree between two runs, inside it, beside it and through descriptors and
// mappings that outlive them, the run that looks only at what the kernel told of comes to the tree
// of a run that looks at everything.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <deque>
#include <random>

#include "base/files.h"
#include "support/random_tree.h"
#include "support/skip.h"
#include "support/tracked_volume.h"

namespace davit {
namespace {

using test::RandomTree;
using test::TrackedVolume;

// Files that stay open, and mappings that stay, over several runs.
class Holders {
 public:
  explicit Holders(uint32_t seed) : random_(seed) {}
  ~Holders() {
    while (!maps_.empty()) unmap();
  }

  void change(const std::string& path) {
    switch (random_() % 6) {
      case 0: {
        base::Fd fd(::open(path.c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
        struct stat status;
        if (fd && ::fstat(fd.get(), &status) == 0 && S_ISREG(status.st_mode))
          open_.push_back(std::move(fd));
        break;
      }
      case 1:
        if (!open_.empty()) open_.pop_front();
        break;
      case 2:
        if (!open_.empty() && ::ftruncate(open_.front().get(), 8192) == 0) {
          void* const map =
              ::mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, open_.front().get(), 0);
          if (map != MAP_FAILED)
            maps_.push_back({static_cast<char*>(map), std::move(open_.front())});
          open_.pop_front();
          if (random_() % 2 && !maps_.empty()) maps_.back().fd.reset();
        }
        break;
      case 3:
        if (!maps_.empty()) unmap();
        break;
      case 4:
        for (const auto& map : maps_) write(map.bytes + random_() % 8192);
        break;
      default:
        for (const auto& fd : open_) {
          const uint32_t value = random_();
          static_cast<void>(!::pwrite(fd.get(), &value, sizeof value, random_() % 5000));
        }
    }
    if (open_.size() > 10) open_.pop_front();
    if (maps_.size() > 10) unmap();
  }

 private:
  struct Map {
    char* bytes;
    base::Fd fd;
  };
  // By the kernel's hand: the file may be shorter by now, which would be a signal to us.
  void write(char* to) {
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    const base::Fd out(ends[0]), in(ends[1]);
    const char byte = static_cast<char>(random_());
    ASSERT_EQ(::write(in.get(), &byte, 1), 1);
    static_cast<void>(!::read(out.get(), to, 1));
  }
  void unmap() {
    ::munmap(maps_.front().bytes, 8192);
    maps_.pop_front();
  }

  std::mt19937 random_;
  std::deque<base::Fd> open_;
  std::deque<Map> maps_;
};

struct Case {
  const char* disk;
  uint32_t seed;
};

class TrackedRandom : public ::testing::TestWithParam<Case> {};

TEST_P(TrackedRandom, TheTreeIsThatOfARunThatLooksAtEverything) {
  DAVIT_NEEDS_MOUNTS();
  TrackedVolume volume(GetParam().disk);
  if (const auto writers = volume.open_writers(); !writers.doubt.empty()) DAVIT_SKIP(writers.doubt);
  RandomTree inside(volume.root, GetParam().seed);
  RandomTree outside(volume.outside("beside"), GetParam().seed + 1000);
  std::mt19937 random(GetParam().seed);
  Holders holders(GetParam().seed);
  for (int i = 0; i < 300; ++i) inside.change();
  for (int i = 0; i < 50; ++i) outside.change();
  const auto name = [&] {
    return std::string(1 + random() % 2, static_cast<char>('a' + random() % 5));
  };
  const int rounds = std::getenv("DAVIT_SOAK") ? 500 : 25;
  uint64_t followed = 0;
  for (int round = 0; round < rounds; ++round) {
    const unsigned changes = random() % 2 == 0 ? random() % 3 : random() % 40;
    for (unsigned i = 0; i < changes; ++i) {
      inside.change();
      if (random() % 4 == 0) outside.change();
      if (random() % 2 == 0) holders.change(volume.path(name()));
      const std::string here = volume.path(name()), there = volume.outside("beside/" + name());
      switch (random() % 12) {
        case 0:  // a file or a tree goes out
          if (::access(there.c_str(), F_OK) != 0) ::rename(here.c_str(), there.c_str());
          break;
        case 1:  // or comes in
          if (::access(here.c_str(), F_OK) != 0) ::rename(there.c_str(), here.c_str());
          break;
        case 2:
          ::link(here.c_str(), there.c_str());
          break;
        case 3:
          static_cast<void>(!::truncate(there.c_str(), random() % 3000));
          break;
        case 4:
          ::renameat2(AT_FDCWD, here.c_str(), AT_FDCWD, there.c_str(), RENAME_EXCHANGE);
          break;
      }
    }
    inside.forget_lost();
    outside.forget_lost();
    test::wait_for_next_tick();
    volume.expect_same("round " + std::to_string(round));
    if (::testing::Test::HasFailure()) return;
    if (volume.why.empty()) ++followed;
  }
  EXPECT_EQ(followed, static_cast<uint64_t>(rounds - 1));
  EXPECT_LT(volume.looked_at, volume.looked_at_fresh);
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const char* disk : {"ext4", "xfs", "btrfs"})
    for (uint32_t seed = 1; seed < 5; ++seed) all.push_back({disk, seed});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Seeds, TrackedRandom, ::testing::ValuesIn(cases()), [](const auto& one) {
  return one.param.disk + std::to_string(one.param.seed);
});

}  // namespace
}  // namespace davit
