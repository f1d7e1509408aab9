// Whatever happens to a tree between two runs, the run with a scan cache comes to the tree of a run
// that looks at everything.
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "support/fake_clock.h"
#include "support/random_tree.h"
#include "support/volume_fixture.h"

namespace davit {
namespace {

using test::RandomTree;
using test::VolumeFixture;
using test::wait_for_next_tick;

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
