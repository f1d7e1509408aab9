#include "base/crew.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

#include "base/bounded_queue.h"
#include "base/errors.h"
#include "base/patience.h"

namespace davit::base {
namespace {

TEST(Crew, CarriesEveryItemThroughItsQueues) {
  BoundedQueue<int> first(2), second(2);
  std::atomic<int> sum{0}, producers{3};
  Crew crew([&] { first.stop(), second.stop(); });
  crew.start("source", [&] {
    for (int i = 1; i <= 1000; ++i) first.push(i);
    first.close();
  });
  for (int worker = 0; worker < 3; ++worker)
    crew.start("worker", [&] {
      while (auto item = first.pop()) second.push(*item * 2);
      if (--producers == 0) second.close();
    });
  crew.start("sink", [&] {
    while (auto item = second.pop()) sum += *item;
  });
  crew.join();
  EXPECT_EQ(sum, 1000 * 1001);
}

TEST(Crew, RethrowsTheFirstFailureAndLeavesNobodyWaiting) {
  for (int run = 0; run < 50; ++run) {
    BoundedQueue<int> queue(1);
    Crew crew([&] { queue.stop(); });
    crew.start("source", [&] {
      for (int i = 0; queue.push(i);) ++i;
    });
    crew.start("sink", [&] {
      for (int i = 0; i < run; ++i) queue.pop();
      throw Corrupt("the sink broke");
    });
    EXPECT_THROW(crew.join(), Corrupt);
  }
}

TEST(Crew, IsJoinedWhenItsOwnerUnwinds) {
  BoundedQueue<int> queue(1);
  EXPECT_THROW(
      {
        Crew crew([&] { queue.stop(); });
        crew.start("waits", [&] { queue.pop(); });
        throw NotFound("the owner failed");
      },
      NotFound);
}

TEST(ForEachParallel, DoesEachOnceAndRethrows) {
  for (const unsigned threads : {0u, 1u, 3u, 50u}) {
    std::vector<std::atomic<int>> done(20);
    for_each_parallel("each", threads, done.size(), [&](size_t i) { ++done[i]; });
    for (auto& times : done) EXPECT_EQ(times, 1);
    EXPECT_THROW(for_each_parallel("each", threads, 20, [](size_t i) { if (i == 7) throw Corrupt("seven"); }), Corrupt);
  }
  for_each_parallel("none", 4, 0, [](size_t) { FAIL(); });
}

TEST(Crew, GivesItsThreadsThePatienceOfTheirStarter) {
  using namespace std::chrono_literals;
  const Patience usual = patience();
  std::stop_source stop;
  std::atomic<int> patient{0};
  const auto look = [&] {
    if (patience().limit == 7min && patience().stop == stop.get_token()) ++patient;
  };
  {
    const PatienceScope scope({7min, stop.get_token()});
    {
      const PatienceScope inner({1ms});
      EXPECT_EQ(patience().limit, 1ms);
    }
    Crew crew({});
    crew.start("one", look);
    crew.join();
    for_each_parallel("three", 3, 3, [&](size_t) { look(); });
  }
  EXPECT_EQ(patient, 4);
  EXPECT_EQ(patience().limit, usual.limit);
}

}  // namespace
}  // namespace davit::base
