#include "repo/lock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <thread>

#include "base/errors.h"
#include "base/patience.h"
#include "store/retry_store.h"
#include "support/fault_store.h"
#include "support/test_repository.h"

namespace davit::repo {
namespace {

using namespace std::chrono_literals;
using base::Id;
using store::Kind;

const LockIdentity kOurs{.host = "host-1234"};
const LockTiming kQuick{.settle = 5ms, .refresh = 10ms, .expire = 10min, .retry = 1ms};

bool eventually(const std::function<bool()>& holds) {
  const auto deadline = std::chrono::steady_clock::now() + 20s;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

Id foreign_lock(const Repository& repository, bool exclusive, base::Time time) {
  LockFile lock;
  lock.time.time = time;
  lock.exclusive = exclusive;
  lock.hostname = "elsewhere";
  lock.username = "them";
  lock.pid = 4711;
  return repository.save_unpacked(Kind::lock, encode_lock(lock));
}
base::Time now() {
  return base::SystemClock().now();
}

struct LockTest : testing::Test {
  std::shared_ptr<test::MemoryStore> memory = std::make_shared<test::MemoryStore>();
  std::shared_ptr<test::FaultStore> store = std::make_shared<test::FaultStore>(memory);
  std::unique_ptr<Repository> repository = test::make_repository(store);
  std::unique_ptr<Lock> take(LockMode mode, LockTiming timing = kQuick) {
    return Lock::take(*repository, mode, kOurs, timing);
  }
  size_t locks() { return list_locks(*repository).size(); }
};

TEST_F(LockTest, ManyMayShareOneMayExclude) {
  auto first = take(LockMode::shared);
  auto second = take(LockMode::shared);
  EXPECT_THROW(take(LockMode::exclusive), base::Locked);
  first->release();
  first->release();  // again is no error
  EXPECT_THROW(take(LockMode::exclusive), base::Locked);
  second.reset();
  EXPECT_EQ(locks(), 0u);
  const auto alone = take(LockMode::exclusive);
  EXPECT_THROW(take(LockMode::shared), base::Locked);
  EXPECT_THROW(take(LockMode::exclusive), base::Locked);
  EXPECT_FALSE(alone->lost().stop_requested());
}

TEST_F(LockTest, OfTwoThatBeginAtOnceTheSharedOneGivesWay) {
  // Written after the first look of ours and before the second.
  const auto ours = Lock::begin(*repository, LockMode::shared, kOurs, {.settle = 1s});
  EXPECT_EQ(locks(), 1u);
  foreign_lock(*repository, true, now());
  EXPECT_THROW(ours->settle(), base::Locked);
  EXPECT_THROW(ours->settle(), base::Locked);
  EXPECT_TRUE(ours->lost().stop_requested());
  ours->release();
  EXPECT_EQ(locks(), 1u);
}

TEST_F(LockTest, ThatHasBegunIsSeenByOthersAndSettlesByItself) {
  const auto ours = Lock::begin(*repository, LockMode::shared, kOurs, kQuick);
  EXPECT_THROW(take(LockMode::exclusive), base::Locked);
  foreign_lock(*repository, false, now());
  ours->settle();
  EXPECT_FALSE(ours->lost().stop_requested());
}

TEST_F(LockTest, ThatIsReleasedBeforeItSettlesIsGone) {
  const auto ours = Lock::begin(*repository, LockMode::shared, kOurs, {.settle = 10min});
  ours->release();
  EXPECT_EQ(locks(), 0u);
}

TEST_F(LockTest, SaysWhoIsInTheWay) {
  foreign_lock(*repository, true, base::parse_rfc3339("2026-11-22T10:00:00Z"));
  try {
    take(LockMode::shared);
    FAIL();
  } catch (const base::Locked& error) {
    EXPECT_THAT(error.what(),
                testing::AllOf(testing::HasSubstr("elsewhere"), testing::HasSubstr("4711"),
                               testing::HasSubstr("2026-11-22T10:00:00Z")));
  }
  EXPECT_EQ(locks(), 1u);
}

TEST_F(LockTest, SaysInTheFileWhoHoldsIt) {
  const auto lock = take(LockMode::exclusive, {.settle = 1ms});
  const auto info = list_locks(*repository).at(0);
  EXPECT_EQ(info.lock.hostname, "host-1234");
  EXPECT_EQ(info.lock.pid, ::getpid());
  EXPECT_TRUE(info.lock.exclusive);
  EXPECT_FALSE(info.stale);
  EXPECT_LT(now() - info.lock.time.time, 1min);
}

// The story: another takes its lock at the same instant; it saw ours not, and we see its only at
// the second look.
TEST_F(LockTest, GivesWayToOneThatAppearedMeanwhile) {
  bool done = false;
  store->after_each([&](const test::StoreCall& call) {
    if (call.op != test::StoreOp::put || std::exchange(done, true)) return;
    foreign_lock(*test::make_repository(memory), true, now());
  });
  EXPECT_THROW(take(LockMode::shared), base::Locked);
  EXPECT_TRUE(done);
  EXPECT_EQ(locks(), 1u);  // only theirs
}

TEST_F(LockTest, NeverTwoExclude) {
  std::atomic<int> holders{0}, most{0}, taken{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      const auto mine = test::make_repository(memory);
      for (int round = 0; round < 15; ++round) try {
          const auto lock =
              Lock::take(*mine, LockMode::exclusive, kOurs, {.settle = 15ms, .retry = 1ms});
          const int held = ++holders;
          most = std::max<int>(most, held);
          ++taken;
          std::this_thread::yield();
          --holders;
        } catch (const base::Locked&) {
        }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_LE(most, 1);
  EXPECT_EQ(locks(), 0u);
}

TEST_F(LockTest, IsRefreshedWithoutAGap) {
  std::atomic<int> gaps{0};
  store->after_each([&](const test::StoreCall& call) {
    if (call.op != test::StoreOp::remove) return;
    size_t left = 0;
    memory->list(Kind::lock, [&](const store::FileInfo&) { ++left; });
    if (left == 0) ++gaps;
  });
  const auto lock = take(LockMode::shared);
  const Id first = list_locks(*repository).at(0).id;
  ASSERT_TRUE(eventually([&] {
    const auto now = list_locks(*repository);
    return now.size() == 1 && now[0].id != first;
  }));
  EXPECT_EQ(gaps, 0);
  EXPECT_FALSE(lock->lost().stop_requested());
}

TEST_F(LockTest, GoesOnAfterAFewFailedRefreshes) {
  const auto lock = take(LockMode::shared);
  const Id first = list_locks(*repository).at(0).id;
  store->fail_share(0.5, 3);
  EXPECT_TRUE(eventually([&] { return !memory->find_size({Kind::lock, first}); }));
  store->fail_share(0, 0);
  EXPECT_FALSE(lock->lost().stop_requested());
  lock->release();
  EXPECT_EQ(locks(), 0u);  // those that could not be removed earlier too
}

// A lock whose answer was lost is in the store all the same, and would keep every prune out.
TEST_F(LockTest, LeavesNoneThatItDoesNotKnowToHaveWritten) {
  std::atomic<int> writes{0};
  store->after_each([&](const test::StoreCall& call) {
    if (call.op == test::StoreOp::put && writes++ % 2 == 0)
      throw base::IoError("the answer is lost", 0, true);
  });
  EXPECT_THROW(take(LockMode::shared), base::IoError);
  EXPECT_EQ(locks(), 0u);
  const auto lock = take(LockMode::shared);
  EXPECT_TRUE(eventually([&] { return writes > 8; }));
  EXPECT_FALSE(lock->lost().stop_requested());
  lock->release();
  EXPECT_EQ(locks(), 0u);
}

TEST_F(LockTest, IsReleasedWhileItsRefreshWaitsForTheStore) {
  repository = test::make_repository(std::make_shared<store::RetryStore>(store));
  const auto lock = take(LockMode::shared);
  store->fail_share(1, 1);
  const uint64_t before = store->calls();
  // It would wait for the store for the ten minutes that the lock is good for.
  EXPECT_TRUE(eventually([&] { return store->calls() > before + 1; }));
  const base::PatienceScope patience({0ms});
  EXPECT_THROW(lock->release(), base::IoError);
  store->fail_share(0, 0);
}

TEST_F(LockTest, IsLostWhenSomebodyRemovesIt) {
  const auto lock = take(LockMode::shared);
  remove_locks(*test::make_repository(memory), [](const LockInfo&) { return true; });
  EXPECT_TRUE(eventually([&] {
    // A refresh may have been between its look and its write.
    remove_locks(*test::make_repository(memory), [](const LockInfo&) { return true; });
    return lock->lost().stop_requested();
  }));
}

TEST_F(LockTest, IsLostWhenItCannotBeRefreshedInTime) {
  const auto lock =
      take(LockMode::shared, {.settle = 1ms, .refresh = 5ms, .expire = 60ms, .retry = 1ms});
  store->fail_share(1, 1);
  EXPECT_TRUE(eventually([&] { return lock->lost().stop_requested(); }));
}

TEST_F(LockTest, IsLostWhenTheStoreHangs) {
  std::atomic<bool> hang{false};
  store->before_each([&](const test::StoreCall&) { hang.wait(true); });
  const auto lock =
      take(LockMode::shared, {.settle = 1ms, .refresh = 5ms, .expire = 60ms, .retry = 1ms});
  hang = true;
  EXPECT_TRUE(eventually([&] { return lock->lost().stop_requested(); }));
  hang = false;
  hang.notify_all();
}

TEST_F(LockTest, ReadsALockAgainThatIsStillBeingWritten) {
  const Id theirs = foreign_lock(*repository, false, now());
  const base::Bytes whole = memory->get({Kind::lock, theirs}, 10'000);
  memory->damage({Kind::lock, theirs}, [](base::Bytes& bytes) { bytes.resize(bytes.size() / 2); });
  int reads = 0;
  store->before_each([&](const test::StoreCall& call) {
    if (call.op == test::StoreOp::get && call.name.id == theirs && ++reads == 3)
      memory->put({Kind::lock, theirs}, whole);
  });
  EXPECT_NO_THROW(take(LockMode::shared));
  EXPECT_GE(reads, 3);
}

TEST_F(LockTest, FailsOnALockThatStaysUnreadable) {
  const Id bad{{1, 2, 3}};
  memory->put({Kind::lock, bad}, base::as_bytes("no lock at all"));
  int reads = 0;
  store->before_each([&](const test::StoreCall& call) {
    reads += call.op == test::StoreOp::get && call.name.id == bad;
  });
  EXPECT_THROW(take(LockMode::shared), base::Corrupt);
  EXPECT_EQ(reads, 4);
  const auto listed = list_locks(*repository);
  ASSERT_EQ(listed.size(), 1u);
  EXPECT_FALSE(listed[0].error.empty());
  EXPECT_EQ(remove_locks(*repository, [](const LockInfo& info) { return !info.error.empty(); }),
            1u);
  EXPECT_NO_THROW(take(LockMode::exclusive));
}

TEST_F(LockTest, IgnoresAnEmptyLockFile) {
  memory->put({Kind::lock, Id{{1, 2, 3}}}, base::ByteView());
  EXPECT_NO_THROW(take(LockMode::exclusive));
}

TEST_F(LockTest, TellsStaleLocksAndStillHonoursThem) {
  foreign_lock(*repository, false, now() - 31min);
  foreign_lock(*repository, false, now() - 29min);
  const auto listed = list_locks(*repository);
  ASSERT_EQ(listed.size(), 2u);
  EXPECT_TRUE(listed[0].stale);
  EXPECT_FALSE(listed[1].stale);
  EXPECT_THROW(take(LockMode::exclusive), base::Locked);
  EXPECT_EQ(remove_locks(*repository, [](const LockInfo& info) { return info.stale; }), 1u);
  EXPECT_THROW(take(LockMode::exclusive), base::Locked);
}

}  // namespace
}  // namespace davit::repo
