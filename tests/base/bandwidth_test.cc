#include "base/bandwidth.h"

#include <gtest/gtest.h>

namespace davit::base {
namespace {

using namespace std::chrono_literals;
using Time = Bandwidth::Clock::time_point;

const Time kStart = Time() + 1000h;

TEST(Bandwidth, TransfersFollowEachOtherAtTheRate) {
  Bandwidth bandwidth([] { return uint64_t{1000}; });
  const Time first = bandwidth.reserve(500, kStart);
  EXPECT_EQ(first, kStart);
  const Time second = bandwidth.reserve(2000, kStart);
  EXPECT_EQ(second, kStart - Bandwidth::kBurst + 500ms);
  EXPECT_EQ(bandwidth.reserve(1, kStart), second + 2s);
}

TEST(Bandwidth, WhatWasNotUsedIsMadeUpForAsFarAsABurst) {
  Bandwidth bandwidth([] { return uint64_t{1000}; });
  bandwidth.reserve(1, kStart);
  const Time later = kStart + 1h;
  EXPECT_EQ(bandwidth.reserve(100, later), later);
  EXPECT_EQ(bandwidth.reserve(100, later), later);
  EXPECT_EQ(bandwidth.reserve(100, later), later + 100ms);
}

TEST(Bandwidth, WithoutALimitEverythingGoesAtOnce) {
  Bandwidth bandwidth([] { return uint64_t{0}; });
  for (int i = 0; i < 3; ++i) EXPECT_EQ(bandwidth.reserve(1 << 30, kStart), kStart);
}

TEST(Bandwidth, ANewLimitCountsWithinASecond) {
  uint64_t rate = 1000;
  int asked = 0;
  Bandwidth bandwidth([&] {
    ++asked;
    return rate;
  });
  for (int i = 0; i < 9; ++i) bandwidth.reserve(1, kStart);
  EXPECT_EQ(asked, 1);
  rate = 0;
  EXPECT_EQ(bandwidth.reserve(1 << 30, kStart + 1s), kStart + 1s);
  EXPECT_EQ(bandwidth.reserve(1 << 30, kStart + 1s), kStart + 1s);
  EXPECT_EQ(asked, 2);
}

}  // namespace
}  // namespace davit::base
