#include "capture/changed_set.h"

#include <gtest/gtest.h>

namespace davit::capture {
namespace {

TEST(ChangedSet, HasWhatWasAddedAndNothingElse) {
  ChangedSet set;
  EXPECT_FALSE(set.contains(0));
  set.add(5);
  set.add(5);
  set.add(uint64_t{5} << 40);
  EXPECT_TRUE(set.contains(5));
  EXPECT_TRUE(set.contains(uint64_t{5} << 40));
  // The same bit, another handle.
  EXPECT_FALSE(set.contains(5 + (uint64_t{1} << 30)));
  EXPECT_FALSE(set.contains(6));
  set.add_below(9);
  EXPECT_TRUE(set.contains_below(9));
  EXPECT_FALSE(set.contains(9));
  EXPECT_FALSE(set.contains_below(5));
}

}  // namespace
}  // namespace davit::capture
