// The arbiter of the repository's locks.
#include "jobs/repository_access.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>

#include "base/errors.h"
#include "base/files.h"
#include "repo/small_files.h"
#include "support/quick_repository.h"
#include "support/rooms.h"
#include "support/temp_dir.h"
#include "support/unix_client.h"

namespace davit::jobs {
namespace {

using namespace std::chrono_literals;
using test::eventually;
using ::testing::HasSubstr;

class Access : public ::testing::Test {
 protected:
  Access() { test::make_data_directory(data_); }

  size_t locks() { return base::list_directory(data_ + "/repository/locks").size(); }
  base::Id put_lock(const std::string& host, bool exclusive) {
    repo::LockFile lock;
    lock.time.time = std::chrono::system_clock::now();
    lock.hostname = host;
    lock.username = "root";
    lock.pid = 4711;
    lock.exclusive = exclusive;
    return access_.get()->save_unpacked(store::Kind::lock, repo::encode_lock(lock));
  }
  void remove_lock(const base::Id& id) { access_.get()->store().remove({store::Kind::lock, id}); }
  static RepositoryAccess::Timing timing() {
    return {.lock = {.settle = 1ms, .refresh = 20ms, .expire = 60s, .retry = 5ms}, .retry = 5ms, .patience = 10min};
  }

  const test::TempDir dir_;
  const std::string data_ = dir_ / "data";
  Settings settings_{data_ + "/davit.conf", {{"DAVIT_HOSTNAME", "here"}}, {}};
  RepositoryAccess access_{settings_, data_, "0000-ours", timing()};
};

TEST_F(Access, SharedHoldsAreCountedOverOneLockFile) {
  auto first = access_.hold_shared({});
  EXPECT_EQ(locks(), 1u);
  const auto listed = repo::list_locks(*access_.get());
  ASSERT_EQ(listed.size(), 1u);
  EXPECT_EQ(listed[0].lock.hostname, "here-0000-ours");
  EXPECT_FALSE(listed[0].lock.exclusive);
  EXPECT_TRUE(access_.is_ours(listed[0]));
  auto second = access_.hold_shared({});
  EXPECT_LE(locks(), 2u);  // while it is refreshed there are two files
  EXPECT_EQ(first->lost(), second->lost());
  first.reset();
  EXPECT_GE(locks(), 1u);
  second.reset();
  EXPECT_EQ(locks(), 0u);
}

TEST_F(Access, TheExclusiveOneWaitsForHoldsAndKeepsNewOnesWaiting) {
  auto hold = access_.hold_shared({});
  std::atomic<bool> inside{false}, leave{false}, told{false}, held{false};
  std::thread exclusive([&] {
    access_.with_exclusive(
        {}, access_.get(),
        [&](std::stop_token) {
          inside = true;
          while (!leave) std::this_thread::yield();
        },
        [&](const std::string& why) { told = why.find("waiting until running") != std::string::npos; });
  });
  ASSERT_TRUE(eventually([&] { return told.load(); }));
  EXPECT_FALSE(inside);
  { const auto another = access_.hold_shared({}); }  // it has not waited for long
  EXPECT_FALSE(inside);
  hold.reset();
  ASSERT_TRUE(eventually([&] { return inside.load(); }));
  std::atomic<bool> shared_told{false};
  std::thread shared([&] {
    const auto late = access_.hold_shared({}, [&](const std::string&) { shared_told = true; });
    held = true;
  });
  ASSERT_TRUE(eventually([&] { return shared_told.load(); }));
  EXPECT_FALSE(held);
  leave = true;
  exclusive.join();
  shared.join();
  EXPECT_TRUE(held);
  EXPECT_EQ(locks(), 0u);
}

// An exclusive lock of somebody else that is written between the two looks of ours.
TEST_F(Access, WorkBeginsAgainWhereItsLockHasToGiveWay) {
  auto timing = Access::timing();
  timing.lock.settle = 1s;  // time enough for what the test does meanwhile, on a busy machine, too
  RepositoryAccess access(settings_, data_, "0000-ours", timing);
  std::optional<base::Id> other;
  std::atomic<bool> told{false};
  int runs = 0;
  const auto hold = access.work_under(
      {},
      [&](const std::string& why) {
        if (!other) return;
        told = why.find("elsewhere") != std::string::npos;
        remove_lock(*std::exchange(other, std::nullopt));
      },
      RepositoryAccess::Use::write,
      [&](const RepositoryAccess::Hold& begun) {
        if (++runs > 1) return begun.check();
        other = put_lock("elsewhere", true);
        begun.settle();
        ADD_FAILURE() << "it did not give way";
      });
  EXPECT_EQ(runs, 2);
  EXPECT_TRUE(told);
  EXPECT_NO_THROW(hold->check());
}

TEST_F(Access, WhatGoesWrongUnderALockThatGivesWayIsTriedAgainAndOnlyThen) {
  auto timing = Access::timing();
  timing.lock.settle = 1s;  // time enough for what the test does meanwhile, on a busy machine, too
  RepositoryAccess access(settings_, data_, "0000-ours", timing);
  std::optional<base::Id> other;
  int runs = 0;
  const auto work = [&](const RepositoryAccess::Hold&) {
    if (++runs == 1) other = put_lock("elsewhere", true);
    throw base::NotFound("a blob");
  };
  const auto on_wait = [&](const std::string&) {
    if (other) remove_lock(*std::exchange(other, std::nullopt));
  };
  EXPECT_THROW(access.work_under({}, on_wait, RepositoryAccess::Use::write, work), base::NotFound);
  EXPECT_EQ(runs, 2);
  EXPECT_EQ(locks(), 0u);
}

TEST_F(Access, AHoldThatJoinsOneThatHasBegunWaitsForIt) {
  auto timing = Access::timing();
  timing.lock.settle = 1s;  // time enough for what the test does meanwhile, on a busy machine, too
  RepositoryAccess access(settings_, data_, "0000-ours", timing);
  auto begun = access.hold_shared({}, {}, RepositoryAccess::Use::write, RepositoryAccess::When::begun);
  const auto other = put_lock("elsewhere", true);
  std::atomic<bool> told{false};
  std::stop_source stop;
  std::thread joining([&] {
    EXPECT_THROW(access.hold_shared(stop.get_token(), [&](const std::string&) { told = true; }), base::Cancelled);
  });
  EXPECT_TRUE(eventually([&] { return told.load(); }));
  EXPECT_THROW(begun->check(), base::Locked);
  stop.request_stop();
  joining.join();
  begun.reset();
  remove_lock(other);
  EXPECT_NO_THROW(access.hold_shared({}));
}

TEST_F(Access, AfterItsPatienceTheExclusiveOneComesBeforeNewHolds) {
  auto timing = Access::timing();
  timing.patience = 0ms;
  RepositoryAccess access(settings_, data_, "0000-ours", timing);
  auto hold = access.hold_shared({});
  std::atomic<int> tells{0};
  std::atomic<bool> done{false};
  std::thread exclusive([&] {
    access.with_exclusive({}, access.get(), [&](std::stop_token) { done = true; }, [&](const std::string&) { ++tells; });
  });
  ASSERT_TRUE(eventually([&] { return tells > 1; }));
  // A backup that runs may have company; once the last has gone, it is prune's turn.
  const auto company = access.hold_shared({});
  EXPECT_FALSE(done);
  hold.reset();
  EXPECT_FALSE(done);
  const_cast<std::unique_ptr<RepositoryAccess::Hold>&>(company).reset();
  exclusive.join();
  EXPECT_TRUE(done);
}

TEST_F(Access, AnotherProgramsExclusiveLockIsWaitedForAndReported) {
  const auto foreign = put_lock("elsewhere", true);
  EXPECT_THROW(access_.check_not_exclusively_locked(), base::Locked);
  std::atomic<bool> told{false}, held{false};
  std::thread shared([&] {
    const auto hold = access_.hold_shared({}, [&](const std::string& why) {
      if (why.find("pid 4711 on elsewhere") != std::string::npos) told = true;
    });
    held = true;
  });
  ASSERT_TRUE(eventually([&] { return told.load(); }));
  EXPECT_FALSE(held);
  remove_lock(foreign);
  shared.join();
  EXPECT_TRUE(held);
}

TEST_F(Access, AnotherProgramsSharedLockHoldsUpNothingButTheExclusiveOne) {
  auto timing = Access::timing();
  timing.patience = 0ms;
  RepositoryAccess access(settings_, data_, "0000-ours", timing);
  const auto foreign = put_lock("elsewhere", false);
  std::atomic<int> tells{0};
  std::atomic<bool> done{false};
  std::thread exclusive([&] {
    access.with_exclusive({}, access.get(), [&](std::stop_token) { done = true; },
                          [&](const std::string& why) { tells += why.find("elsewhere") != std::string::npos; });
  });
  ASSERT_TRUE(eventually([&] { return tells > 3; }));
  // However long prune has waited: a restic that is left running for days does not stop the backups.
  for (int i = 0; i < 5; ++i) access.hold_shared({});
  EXPECT_FALSE(done);
  remove_lock(foreign);
  exclusive.join();
  EXPECT_TRUE(done);
}

TEST_F(Access, ALostLockIsToldToItsHoldersAndTheNextHoldIsANewOne) {
  auto hold = access_.hold_shared({});
  EXPECT_NO_THROW(hold->check());
  repo::remove_locks(*access_.get(), [](const repo::LockInfo&) { return true; });
  ASSERT_TRUE(eventually([&] { return hold->lost().stop_requested(); }));
  EXPECT_THROW(hold->check(), base::IoError);
  std::atomic<bool> held{false};
  std::thread next([&] {
    const auto fresh = access_.hold_shared({});
    EXPECT_FALSE(fresh->lost().stop_requested());
    held = true;
  });
  EXPECT_FALSE(held) << "the old holder is still unwinding";
  hold.reset();
  next.join();
  EXPECT_TRUE(held);
  EXPECT_EQ(locks(), 0u);
}

TEST_F(Access, ALostExclusiveLockIsToldToItsWork) {
  bool told = false;
  access_.with_exclusive({}, access_.get(), [&](std::stop_token lost) {
    repo::remove_locks(*access_.get(), [](const repo::LockInfo&) { return true; });
    told = eventually([&] { return lost.stop_requested(); });
  });
  EXPECT_TRUE(told);
  EXPECT_EQ(locks(), 0u);
}

TEST_F(Access, LocksThatAFormerRunLeftGoBeforeTheFirstHoldAndOthersStay) {
  put_lock("here-0000-ours", true);
  put_lock("renamed-since-0000-ours", false);
  const auto foreign = put_lock("elsewhere", false);
  const auto hold = access_.hold_shared({});
  EXPECT_EQ(repo::list_locks(*access_.get()).size(), 2u);
  remove_lock(foreign);
  EXPECT_GE(locks(), 1u);
}

TEST_F(Access, WhatThisRunHoldsIsNeverTakenForALeftover) {
  const auto hold = access_.hold_shared({});
  access_.remove_own_stale_locks();
  EXPECT_GE(locks(), 1u);
  EXPECT_FALSE(hold->lost().stop_requested());
}

TEST_F(Access, WaitingEndsWhenItIsToldTo) {
  put_lock("elsewhere", true);
  for (const bool exclusive : {false, true}) {
    std::stop_source stop;
    std::atomic<bool> told{false}, cancelled{false};
    const auto on_wait = [&](const std::string&) { told = true; };
    std::thread waiting([&] {
      try {
        if (exclusive)
          access_.with_exclusive(stop.get_token(), access_.get(), [](std::stop_token) {}, on_wait);
        else
          access_.hold_shared(stop.get_token(), on_wait);
      } catch (const base::Cancelled&) {
        cancelled = true;
      }
    });
    ASSERT_TRUE(eventually([&] { return told.load(); }));
    stop.request_stop();
    waiting.join();
    EXPECT_TRUE(cancelled);
  }
}

TEST_F(Access, WhatTheWorkThrowsGivesTheLockBack) {
  EXPECT_THROW(access_.with_exclusive({}, access_.get(), [](std::stop_token) { throw base::Corrupt("torn"); }),
               base::Corrupt);
  EXPECT_EQ(locks(), 0u);
  access_.hold_shared({});
}

TEST_F(Access, ManyThreadsNeverMeetTheExclusiveOne) {
  std::atomic<int> shared{0}, exclusive{0}, violations{0}, rounds{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t)
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      for (int i = 0; i < 15; ++i) {
        if (t < 4) {
          const auto hold = access_.hold_shared({});
          ++shared;
          if (exclusive != 0) ++violations;
          if (random() % 2) std::this_thread::yield();
          --shared;
        } else {
          access_.with_exclusive({}, access_.get(), [&](std::stop_token) {
            if (++exclusive != 1 || shared != 0) ++violations;
            std::this_thread::yield();
            --exclusive;
          });
        }
        ++rounds;
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(violations, 0);
  EXPECT_EQ(rounds, 90);
  EXPECT_EQ(locks(), 0u);
}

TEST_F(Access, TheEmbeddedRepositoryIsMadeOnceAndItsPasswordIsKept) {
  const std::string fresh = dir_ / "fresh";
  base::make_directories(fresh);
  Settings settings(fresh + "/davit.conf", {}, {});
  RepositoryAccess access(settings, fresh, "0000-new");
  EXPECT_FALSE(access.find_open());
  const auto id = access.get()->id();
  EXPECT_TRUE(access.find_open());
  EXPECT_TRUE(access.password_generated());
  EXPECT_GE(access.password().size(), 32u);
  EXPECT_THROW(access.init(), base::Conflict);
  RepositoryAccess again(settings, fresh, "0000-new");
  EXPECT_EQ(again.get()->id(), id);
  // What a killed process left half written is swept away; what is whole stays.
  base::write_file_atomic(fresh + "/secrets/repository-password.tmp-12345678", base::as_bytes("half"));
  RepositoryAccess third(settings, fresh, "0000-new");
  EXPECT_EQ(base::list_directory(fresh + "/secrets").size(), 2u);
  EXPECT_EQ(third.get()->id(), id);
}

}  // namespace
}  // namespace davit::jobs
