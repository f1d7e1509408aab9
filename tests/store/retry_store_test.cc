// Trying again: the schedule, what is tried and what is not, and who is told. No time passes here.
#include "store/retry_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <map>
#include <sstream>

#include "base/patience.h"
#include "store/backoff.h"
#include "store_contract.h"
#include "support/fault_store.h"
#include "support/memory_store.h"
#include "support/passing_time.h"

namespace davit::store {
namespace {

using namespace std::chrono_literals;
using base::IoError;
using test::FaultStore;
using test::MemoryStore;
using test::PassingTime;
using test::StoreCall;
using test::StoreOp;
using ::testing::HasSubstr;
using Clock = RetryStore::Clock;

// ---- the contract, with every third call failing

struct FlakyPlace : StorePlace {
  std::unique_ptr<Store> open() override {
    auto faults = std::make_shared<FaultStore>(memory.another());
    faults->fail_share(0.3, ++opened);
    return std::make_unique<RetryStore>(faults, PassingTime::none());
  }
  MemoryStore memory;
  uint64_t opened = 0;
};
INSTANTIATE_TEST_SUITE_P(Retried, StoreContract,
                         ::testing::Values([] { return std::make_unique<FlakyPlace>(); }));

// ---- the schedule

TEST(Backoff, GrowsToItsLongestAndEndsAtTheLimit) {
  Backoff backoff(5min);
  const Clock::time_point begun{};
  auto now = begun + 1h;
  std::vector<Clock::duration> pauses;
  while (const auto pause = backoff.next_pause(now, now, 1)) {
    pauses.push_back(*pause);
    now += *pause;
  }
  EXPECT_EQ(now, begun + 1h + 5min);
  ASSERT_GT(pauses.size(), 9u);
  EXPECT_EQ(pauses[0], 250ms);
  EXPECT_EQ(pauses[1], 500ms);
  EXPECT_EQ(pauses[6], 16s);
  EXPECT_EQ(pauses[7], 30s);
  EXPECT_EQ(pauses[8], 30s);
}

TEST(Backoff, IsAnyPartOfThePauseByChance) {
  Backoff backoff(5min);
  const Clock::time_point now{};
  EXPECT_EQ(backoff.next_pause(now, now, 0), 0ms);
  EXPECT_EQ(backoff.next_pause(now, now, 0.5), 250ms);
  EXPECT_EQ(backoff.next_pause(now, now, 0.25), 250ms);
}

TEST(Backoff, EndsWithATryThatTookAllThePatienceThereIs) {
  const Clock::time_point begun{};
  EXPECT_EQ(Backoff(0s).next_pause(begun, begun, 1), std::nullopt);
  EXPECT_EQ(Backoff(3s).next_pause(begun, begun + 15s, 1), std::nullopt);
  EXPECT_NE(Backoff(15min).next_pause(begun, begun + 2min, 1), std::nullopt);
}

// ---- the store

struct Retry : ::testing::Test {
  Retry() { memory->put(kFile, base::as_bytes("content")); }

  // Fails the first `count` calls of the kind, before they happen or after.
  void fail(StoreOp op, int count, bool transient = true, bool after = false) {
    const auto hook = [this, op, count, transient](const StoreCall& call) {
      if (call.op == op && ++tries <= count) throw IoError("the store is away", 5, transient);
    };
    after ? faults->after_each(hook) : faults->before_each(hook);
  }

  static constexpr Name kFile{Kind::index, {}};
  std::shared_ptr<MemoryStore> memory = std::make_shared<MemoryStore>();
  std::shared_ptr<FaultStore> faults = std::make_shared<FaultStore>(memory);
  PassingTime time;
  RetryStore store{faults, time.of()};
  int tries = 0;
};

TEST_F(Retry, TriesEveryCallAgain) {
  const base::PatienceScope patience({15min});
  faults->fail_share(0.5, 7);
  base::Bytes part(3);
  for (int i = 0; i < 20; ++i) {
    store.prepare();
    store.put(kFile, base::as_bytes("content"));
    EXPECT_EQ(base::as_text(store.get(kFile, 100)), "content");
    store.get_range(kFile, 4, part);
    EXPECT_EQ(base::as_text(part), "ent");
    EXPECT_EQ(store.find_size(kFile), 7u);
    size_t listed = 0;
    store.list(Kind::index, [&](const FileInfo&) { ++listed; });
    EXPECT_EQ(listed, 1u);
    store.remove(kFile);
    EXPECT_EQ(store.find_size(kFile), std::nullopt);
  }
  EXPECT_GT(faults->calls(), 300u);
}

TEST_F(Retry, NeverTriesAgainWhatIsNotTransient) {
  fail(StoreOp::get, 1, /*transient=*/false);
  EXPECT_THROW(store.get(kFile, 100), IoError);
  EXPECT_EQ(tries, 1);
  EXPECT_THROW(store.get(kFile, 3), base::Corrupt);
  EXPECT_THROW(store.get({Kind::data, {}}, 3), base::NotFound);
  EXPECT_EQ(tries, 3);
  EXPECT_TRUE(time.pauses().empty());
}

TEST_F(Retry, GivesUpWhenItsCallersPatienceEnds) {
  fail(StoreOp::find_size, 1'000'000);
  EXPECT_THROW(store.find_size(kFile), IoError);
  EXPECT_EQ(time.passed(), 3s);  // of a thread that says nothing
  const base::PatienceScope patience({15min});
  EXPECT_THROW(store.find_size(kFile), IoError);
  EXPECT_EQ(time.passed(), 3s + 15min);
  {
    const base::PatienceScope none({0ms});
    tries = 0;
    EXPECT_THROW(store.find_size(kFile), IoError);
    EXPECT_EQ(tries, 1);
  }
}

TEST_F(Retry, DoesNotHangAsLongOnceMoreWhereOneTryTookAllPatience) {
  faults->before_each([&](const StoreCall&) {
    ++tries;
    time.pass(15s);
    throw IoError("no answer", 0, true);
  });
  EXPECT_THROW(store.get(kFile, 100), IoError);
  EXPECT_EQ(tries, 1);
}

TEST_F(Retry, AStopEndsItAtOnce) {
  std::stop_source stop;
  const base::PatienceScope patience({15min, stop.get_token()});
  fail(StoreOp::get, 1'000'000);
  time.when_asked([&] { stop.request_stop(); });
  EXPECT_THROW(store.get(kFile, 100), base::Cancelled);
  EXPECT_EQ(tries, 1);
  EXPECT_THROW(store.get(kFile, 100), base::Cancelled);
  EXPECT_EQ(tries, 2);
}

TEST_F(Retry, AnAnswerThatWasLostIsNoFailure) {
  for (const StoreOp op : {StoreOp::put, StoreOp::remove}) {
    tries = 0;
    fail(op, 1, true, /*after=*/true);
    if (op == StoreOp::put)
      store.put({Kind::lock, {}}, base::as_bytes("lock"));
    else
      store.remove({Kind::lock, {}});
    EXPECT_EQ(tries, 2);
    EXPECT_EQ(memory->find_size({Kind::lock, {}}).has_value(), op == StoreOp::put);
  }
}

// A store that fails in the middle of a listing.
struct HalfList : FaultStore {
  using FaultStore::FaultStore;
  void list(Kind kind, const std::function<void(const FileInfo&)>& each) override {
    int left = breaks.empty() ? 1000 : breaks.back();
    if (!breaks.empty()) breaks.pop_back();
    FaultStore::list(kind, [&](const FileInfo& file) {
      if (left-- == 0) throw IoError("the connection broke", 0, true);
      each(file);
    });
  }
  std::vector<int> breaks{3, 0, 5};  // after so many files
};

TEST_F(Retry, AListThatBrokeOffNamesNoFileTwice) {
  for (uint8_t i = 0; i < 9; ++i) memory->put({Kind::data, base::Id{{i}}}, base::ByteView());
  RetryStore listed(std::make_shared<HalfList>(memory), time.of());
  std::map<base::Id, int> seen;
  listed.list(Kind::data, [&](const FileInfo& file) { ++seen[file.id]; });
  EXPECT_EQ(seen.size(), 9u);
  for (const auto& [id, times] : seen) EXPECT_EQ(times, 1);
}

TEST_F(Retry, WhatTheListsCallerThrowsIsItsOwn) {
  const auto fails = [](const FileInfo&) { throw IoError("mine", 0, true); };
  EXPECT_THROW(store.list(Kind::index, fails), IoError);
  EXPECT_EQ(faults->calls(), 1u);
}

TEST_F(Retry, CommitsADraftAgain) {
  const auto draft = store.begin_draft(Kind::data, 100);
  draft->append(base::as_bytes("con"));
  draft->append(base::as_bytes("tent"));
  fail(StoreOp::put, 2);
  draft->commit({Kind::data, {}});
  EXPECT_EQ(tries, 3);
  EXPECT_EQ(base::as_text(memory->get({Kind::data, {}}, 100)), "content");
}

// ---- the log

struct RetryLog : Retry {
  RetryLog() {
    spdlog::set_default_logger(std::make_shared<spdlog::logger>(
        "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(text)));
    spdlog::default_logger()->set_pattern("%l: %v");
  }
  ~RetryLog() override { spdlog::set_default_logger(former); }
  std::string told() { return std::exchange(text, std::ostringstream()).str(); }

  std::shared_ptr<spdlog::logger> former = spdlog::default_logger();
  std::ostringstream text;
};

TEST_F(RetryLog, TellsOfAnOutageOnceAndOfItsEnd) {
  const base::PatienceScope patience({15min});
  fail(StoreOp::get, 12);
  store.get(kFile, 100);
  const std::string story = told();
  EXPECT_THAT(story, HasSubstr("warning: memory is in trouble"));
  EXPECT_THAT(story, HasSubstr("the store is away"));
  EXPECT_THAT(story, HasSubstr("info: memory answers again, after "));
  EXPECT_EQ(std::count(story.begin(), story.end(), '\n'), 2);
}

TEST_F(RetryLog, SaysNothingOfWhatWorksTheSecondTime) {
  fail(StoreOp::get, 1);
  store.get(kFile, 100);
  EXPECT_EQ(told(), "");
}

TEST_F(RetryLog, AnOutageThatOutlastsACallIsOneAllTheSame) {
  fail(StoreOp::get, 1'000'000);
  EXPECT_THROW(store.get(kFile, 100), IoError);
  EXPECT_THROW(store.get(kFile, 100), IoError);
  const std::string story = told();
  EXPECT_EQ(std::count(story.begin(), story.end(), '\n'), 1);
  EXPECT_EQ(store.find_size(kFile), 7u);
  EXPECT_THAT(told(), HasSubstr("answers again, after 6 s"));
}

}  // namespace
}  // namespace davit::store
