#include "archive/slabs.h"

#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <thread>

#include "base/errors.h"
#include "support/stream.h"

namespace davit::archive {
namespace {

// Puts `count` bytes of `from` into the window.
void fill(Window& window, base::ByteView from) {
  while (!from.empty()) {
    const auto room = window.room(from.size());
    ASSERT_FALSE(room.empty());
    std::copy_n(from.begin(), room.size(), room.begin());
    window.grow(room.size());
    from = from.subspan(room.size());
  }
}

TEST(Window, GivesWhatWasPutInWhereverItIsCut) {
  Slabs slabs(1);
  Window window(slabs);
  test::Stream random(1);
  const base::Bytes all = random.bytes(5 * Slabs::kSize + 12'345);
  base::ByteView unread = all;
  base::Bytes seen;
  while (seen.size() < all.size()) {
    const size_t more = std::min<size_t>(
        {unread.size(), 1 + random.below(300'000), Slabs::kSize - window.filled().size()});
    fill(window, unread.first(more));
    unread = unread.subspan(more);
    ASSERT_EQ(base::as_text(window.filled()),
              base::as_text(base::ByteView(all).subspan(seen.size(), window.filled().size())));
    if (random.below(4) == 0 || unread.empty() || window.filled().size() == Slabs::kSize)
      base::append(seen, window.cut(1 + random.below(window.filled().size())).bytes);
  }
  EXPECT_EQ(seen, all);
}

TEST(Window, AWholeSlabFitsAndNoMore) {
  Slabs slabs(1);
  Window window(slabs);
  const base::Bytes bytes = test::Stream(2).bytes(Slabs::kSize);
  fill(window, base::ByteView(bytes).first(5));
  EXPECT_EQ(window.cut(5).bytes.size(), 5u);
  fill(window, bytes);
  EXPECT_TRUE(window.room(1).empty());
  EXPECT_EQ(base::as_text(window.cut(Slabs::kSize).bytes), base::as_text(bytes));
  EXPECT_FALSE(window.room(1).empty());
}

TEST(Window, PartsStayAsTheyAreWhileOthersAreFilled) {
  Slabs slabs(1);
  Window window(slabs);
  const base::Bytes bytes = test::Stream(3).bytes(Slabs::kSize * (Slabs::kPerReader - 1));
  std::vector<SlabPart> parts;
  size_t at = 0;
  for (; at + 700'000 <= bytes.size(); at += 700'000) {
    fill(window, base::ByteView(bytes).subspan(at, 700'000));
    parts.push_back(window.cut(700'000));
  }
  for (size_t i = 0; i < parts.size(); ++i)
    ASSERT_EQ(base::as_text(parts[i].bytes),
              base::as_text(base::ByteView(bytes).subspan(i * 700'000, 700'000)));
}

TEST(Slabs, AreSoManyAndReturn) {
  Slabs slabs(1);
  std::vector<Slabs::Handle> taken;
  std::set<const uint8_t*> places;
  for (size_t i = 0; i < Slabs::kPerReader; ++i) {
    taken.push_back(slabs.take());
    EXPECT_EQ(taken.back()->size(), Slabs::kSize);
    places.insert(taken.back()->data());
  }
  EXPECT_EQ(places.size(), Slabs::kPerReader);
  std::atomic<bool> waiting{true};
  std::jthread other([&] {
    EXPECT_TRUE(places.contains(slabs.take()->data()));
    waiting = false;
  });
  const Slabs::Handle copy = taken.back();
  taken.pop_back();
  EXPECT_TRUE(waiting) << "a copy is on loan still";
  taken.pop_back();
  other.join();
  EXPECT_FALSE(waiting);
}

TEST(Slabs, StopWakesWhoeverWaits) {
  Slabs slabs(1);
  std::vector<Slabs::Handle> taken;
  for (size_t i = 0; i < Slabs::kPerReader; ++i) taken.push_back(slabs.take());
  std::jthread other([&] { EXPECT_THROW(slabs.take(), base::Cancelled); });
  slabs.stop();
  other.join();
  taken.clear();
  EXPECT_THROW(slabs.take(), base::Cancelled);
}

}  // namespace
}  // namespace davit::archive
