#include "upkeep/read_book.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "base/bytes.h"
#include "base/files.h"
#include "support/temp_dir.h"

namespace davit::upkeep {
namespace {

using namespace std::chrono_literals;
using std::chrono::days;

const base::Time kStart = base::parse_rfc3339("2026-11-01T03:00:00Z");
constexpr std::chrono::seconds kMonth = days(30);

PackSize pack(uint64_t number, uint64_t size_bytes = 16 << 20) {
  std::mt19937_64 random(number);
  PackSize made;
  for (auto& byte : made.id.bytes) byte = static_cast<uint8_t>(random());
  made.size_bytes = size_bytes;
  return made;
}

class ReadBookTest : public ::testing::Test {
 protected:
  // One scrub, as the daemon does it. Returns how many packs it read.
  size_t scrub(base::Time now, std::chrono::nanoseconds since_last = days(1)) {
    book_.adopt(packs_, now);
    const auto chosen = book_.choose(packs_, now, kMonth, since_last);
    size_t count = 0;
    for (size_t i = 0; i < packs_.size(); ++i) {
      if (!chosen[i]) continue;
      book_.note_read(packs_[i].id, now);
      last_read_[packs_[i].id] = now;
      ++count;
    }
    return count;
  }
  void make(uint64_t first, uint64_t count) {
    for (uint64_t i = first; i < first + count; ++i) {
      packs_.push_back(pack(i, (1 + i % 7) << 20));
      came_[packs_.back().id] = now_;
    }
  }
  // Since when the pack that has waited longest has waited.
  std::chrono::nanoseconds longest_wait(base::Time now) {
    std::chrono::nanoseconds longest{0};
    for (const auto& each : packs_) {
      const auto read = last_read_.find(each.id);
      longest = std::max(longest, now - (read == last_read_.end() ? came_[each.id] : read->second));
    }
    return longest;
  }

  base::Time now_ = kStart;
  std::vector<PackSize> packs_;
  std::map<base::Id, base::Time> came_, last_read_;
  ReadBook book_;
};

TEST_F(ReadBookTest, ReadsAThirtiethADayAndAllWithinThePeriod) {
  make(0, 3000);
  size_t most = 0, total = 0;
  for (int day = 0; day < 30; ++day) {
    const size_t count = scrub(kStart + days(day));
    most = std::max(most, count);
    total += count;
  }
  EXPECT_LT(most, 250u);
  EXPECT_GE(total, 3000u);
  const auto coverage = book_.coverage(kStart + days(29), kMonth);
  EXPECT_EQ(coverage.packs, 3000u);
  EXPECT_EQ(coverage.covered, 3000u);
  EXPECT_EQ(coverage.never, 0u);
  EXPECT_EQ(coverage.oldest, kStart + days(1)) << "those of the first day were due again";
  EXPECT_EQ(coverage.ratio(), 1);
}

// Packs come and go all the time, and some days davit is not there: still none waits for longer
// than the period and the days that were missed.
TEST_F(ReadBookTest, NoPackWaitsLongerThanThePeriodWhateverComesAndGoes) {
  std::mt19937_64 random(5);
  make(0, 400);
  uint64_t next = 1000;
  base::Time last = kStart - days(1);
  for (int day = 0; day < 80; ++day) {
    now_ = kStart + days(day);
    make(next, random() % 60);
    next += 1000;
    for (int i = static_cast<int>(random() % 30); i > 0 && packs_.size() > 100; --i)
      packs_.erase(packs_.begin() + static_cast<ptrdiff_t>(random() % packs_.size()));
    if (random() % 5 == 0) continue;  // switched off
    scrub(now_, now_ - last);
    last = now_;
    EXPECT_LE(longest_wait(now_), kMonth) << day;
  }
  EXPECT_GT(packs_.size(), 500u);
}

TEST_F(ReadBookTest, DaysThatWereMissedAreMadeUpFor) {
  make(0, 3000);
  const size_t a_day = scrub(kStart);
  const size_t after_ten = scrub(kStart + days(11), days(11));
  EXPECT_GT(after_ten, a_day * 9);
  EXPECT_LT(after_ten, a_day * 13);
}

TEST_F(ReadBookTest, ChoosesWhatWasNeverReadThenWhatIsOldest) {
  for (uint64_t i = 0; i < 90; ++i) packs_.push_back(pack(i, 1 << 20));
  book_.adopt(packs_, kStart);
  for (uint64_t i = 0; i < 90; ++i)
    if (i != 40) book_.note_read(packs_[i].id, kStart + std::chrono::minutes(100 - i));
  const auto chosen = book_.choose(packs_, kStart + days(2), kMonth, days(1));
  std::vector<size_t> numbers;
  for (size_t i = 0; i < chosen.size(); ++i)
    if (chosen[i]) numbers.push_back(i);
  EXPECT_THAT(numbers, ::testing::ElementsAre(40, 88, 89));
}

TEST_F(ReadBookTest, IsKeptInSixteenBytesAPackAndSurvivesNoDamage) {
  const test::TempDir directory;
  const std::string path = directory / "state/packs-read";
  const base::Id repository = pack(77).id, other = pack(78).id;
  make(0, 100);
  book_ = ReadBook::load(path, repository);
  EXPECT_EQ(book_.coverage(kStart, kMonth).packs, 0u);
  scrub(kStart);
  book_.save(path);
  base::Bytes bytes = base::get_file(path);
  EXPECT_EQ(bytes.size(), 48u + 100 * 16);
  const auto same = ReadBook::load(path, repository).coverage(kStart + 1h, kMonth);
  const auto now = book_.coverage(kStart + 1h, kMonth);
  EXPECT_GT(now.covered, 0u);
  EXPECT_EQ(same.packs, now.packs);
  EXPECT_EQ(same.covered, now.covered);
  EXPECT_EQ(same.never, now.never);
  EXPECT_EQ(same.oldest, now.oldest);
  EXPECT_EQ(ReadBook::load(path, repository).choose(packs_, kStart + days(1), kMonth, days(1)),
            book_.choose(packs_, kStart + days(1), kMonth, days(1)));
  EXPECT_EQ(ReadBook::load(path, other).coverage(kStart, kMonth).packs, 0u);
  for (const size_t size : {size_t{0}, size_t{20}, bytes.size() - 1}) {
    base::write_file_atomic(path, base::ByteView(bytes).first(size));
    EXPECT_EQ(ReadBook::load(path, repository).coverage(kStart, kMonth).packs, 0u) << size;
  }
}

TEST_F(ReadBookTest, AClockThatWasSetBackStallsNothing) {
  make(0, 300);
  for (int day = 0; day < 30; ++day) scrub(kStart + days(1000 + day));
  size_t total = 0;
  last_read_.clear();
  for (int day = 0; day < 40; ++day) total += scrub(kStart + days(day));
  EXPECT_GE(total, 300u);
  EXPECT_EQ(last_read_.size(), packs_.size());
}

}  // namespace
}  // namespace davit::upkeep
