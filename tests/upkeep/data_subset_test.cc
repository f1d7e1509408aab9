#include "upkeep/data_subset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "base/errors.h"

namespace davit::upkeep {
namespace {

std::vector<PackSize> packs(size_t count) {
  std::mt19937_64 random(7);
  std::vector<PackSize> made(count);
  for (auto& pack : made) {
    for (auto& byte : pack.id.bytes) byte = static_cast<uint8_t>(random());
    pack.size_bytes = 1000;
  }
  return made;
}

size_t count(const std::vector<bool>& chosen) {
  return static_cast<size_t>(std::count(chosen.begin(), chosen.end(), true));
}

TEST(DataSubset, AllPartsTogetherAreEverythingAndNoneTwice) {
  const auto all = packs(3000);
  for (const int parts : {1, 2, 7, 30, 256}) {
    std::vector<int> times(all.size());
    for (int part = 1; part <= parts; ++part) {
      const auto subset = DataSubset::parse(std::to_string(part) + "/" + std::to_string(parts));
      const auto chosen = subset.choose(all, 1);
      EXPECT_EQ(chosen, subset.choose(all, 2)) << "is not by chance";
      for (size_t i = 0; i < all.size(); ++i) times[i] += chosen[i];
    }
    EXPECT_EQ(times, std::vector<int>(all.size(), 1)) << parts;
  }
}

TEST(DataSubset, APercentageIsOfThePacksAndAtLeastOne) {
  const auto all = packs(200);
  EXPECT_EQ(count(DataSubset::parse("100%").choose(all, 1)), 200u);
  EXPECT_EQ(count(DataSubset::parse("5%").choose(all, 1)), 10u);
  EXPECT_EQ(count(DataSubset::parse("2.5%").choose(all, 1)), 5u);
  EXPECT_EQ(count(DataSubset::parse("0.01%").choose(all, 1)), 1u);
  EXPECT_NE(DataSubset::parse("5%").choose(all, 1), DataSubset::parse("5%").choose(all, 2));
  EXPECT_EQ(count(DataSubset::parse("5%").choose({}, 1)), 0u);
}

TEST(DataSubset, ASizeIsReachedAndNotMuchMore) {
  const auto all = packs(200);
  EXPECT_EQ(count(DataSubset::parse("10K").choose(all, 1)), 11u);
  EXPECT_EQ(count(DataSubset::parse("1").choose(all, 1)), 1u);
  EXPECT_EQ(count(DataSubset::parse("500M").choose(all, 1)), 200u);
  EXPECT_NE(DataSubset::parse("10k").choose(all, 1), DataSubset::parse("10k").choose(all, 2));
}

TEST(DataSubset, WhatIsNoSubsetIsRefused) {
  for (const char* text : {"",
                           "0/3",
                           "4/3",
                           "1/257",
                           "1/0",
                           "a/3",
                           "1/",
                           "/",
                           "1/2/3",
                           "0%",
                           "101%",
                           "-5%",
                           "%",
                           "5.%",
                           ".5%",
                           "1e2%",
                           "0",
                           "M",
                           "-1M",
                           "5MB",
                           "1.5G",
                           "many",
                           "99999999999999999999",
                           "99999999999T"})
    EXPECT_THROW(DataSubset::parse(text), base::UsageError) << text;
}

}  // namespace
}  // namespace davit::upkeep
