#include "store/limited_store.h"

#include <gtest/gtest.h>

#include "base/bandwidth.h"
#include "base/errors.h"
#include "base/patience.h"
#include "store_contract.h"
#include "support/memory_store.h"

namespace davit::store {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

struct LimitedPlace : StorePlace {
  std::unique_ptr<Store> open() override {
    return std::make_unique<LimitedStore>(memory.another(),
                                          [](uint64_t) { return Clock::time_point(); });
  }
  test::MemoryStore memory;
};
INSTANTIATE_TEST_SUITE_P(Limited, StoreContract,
                         ::testing::Values([] { return std::make_unique<LimitedPlace>(); }));

struct Limited : ::testing::Test {
  Limited() {
    for (const Kind kind : {Kind::data, Kind::index, Kind::lock, Kind::snapshot})
      memory->put({kind, {}}, base::as_bytes("content"));
  }
  std::shared_ptr<test::MemoryStore> memory = std::make_shared<test::MemoryStore>();
  uint64_t reserved = 0;
  Clock::time_point turn{};
  LimitedStore store{memory, [this](uint64_t bytes) {
                       reserved += bytes;
                       return turn;
                     }};
};

TEST_F(Limited, CountsWhatIsReadOfPacksAndIndexes) {
  base::Bytes part(3);
  store.get_range({Kind::data, {}}, 1, part);
  EXPECT_EQ(reserved, 3u);
  store.get({Kind::index, {}}, 100);
  EXPECT_EQ(reserved, 10u);
  turn = Clock::time_point::max();
  store.get({Kind::lock, {}}, 100);
  store.get({Kind::snapshot, {}}, 100);
  store.put({Kind::data, {}}, base::as_bytes("more"));
  store.find_size({Kind::data, {}});
  EXPECT_EQ(reserved, 10u);
}

TEST_F(Limited, WaitsForItsTurn) {
  turn = Clock::now() + 60ms;
  base::Bytes part(3);
  const base::PatienceScope patience({15min});
  store.get_range({Kind::data, {}}, 1, part);
  EXPECT_GE(Clock::now(), turn);
}

TEST_F(Limited, NobodyWaitsLongerThanItsPatience) {
  turn = Clock::time_point::max();
  const base::PatienceScope patience({10ms});
  EXPECT_EQ(store.get({Kind::data, {}}, 100).size(), 7u);
}

TEST_F(Limited, AStopEndsTheWait) {
  turn = Clock::time_point::max();
  std::stop_source stop;
  stop.request_stop();
  const base::PatienceScope patience({15min, stop.get_token()});
  base::Bytes part(3);
  EXPECT_THROW(store.get_range({Kind::data, {}}, 1, part), base::Cancelled);
  EXPECT_THROW(store.get({Kind::index, {}}, 100), base::Cancelled);
}

// All who read from it share one limit.
TEST_F(Limited, GivesNoMoreThanTheLimitInTheLongRun) {
  base::Bandwidth bandwidth([] { return uint64_t{1000}; });
  const auto begun = Clock::now();
  std::vector<Clock::time_point> turns;
  LimitedStore limited(memory, [&](uint64_t bytes) {
    turns.push_back(bandwidth.reserve(bytes, begun));
    return Clock::time_point();
  });
  for (int i = 0; i < 1000; ++i) limited.get({Kind::data, {}}, 100);
  EXPECT_GE(turns.back() - begun, 6s);  // 999 times 7 bytes, but for the tenth of a second at first
}

}  // namespace
}  // namespace davit::store
