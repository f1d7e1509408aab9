#include "jobs/job_queue.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <latch>

#include "base/errors.h"

namespace davit::jobs {
namespace {

using namespace std::chrono_literals;

auto soon() { return std::chrono::steady_clock::now() + 30s; }

TEST(JobQueue, RunsAtMostItsLimitAndAllInTheEnd) {
  std::atomic<int> running{0}, most{0}, done{0};
  JobQueue queue([](JobClass) { return 3u; });
  std::vector<std::shared_ptr<Job>> jobs;
  for (int i = 0; i < 50; ++i)
    jobs.push_back(queue.submit("v" + std::to_string(i), "backup", JobClass::backup, [&](Job&) {
      const int now = ++running;
      int seen = most;
      while (seen < now && !most.compare_exchange_weak(seen, now)) {}
      std::this_thread::yield();
      --running;
      ++done;
    }));
  for (const auto& job : jobs) ASSERT_TRUE(job->wait_until(soon()));
  EXPECT_EQ(done, 50);
  EXPECT_LE(most, 3);
  EXPECT_TRUE(queue.list().empty());
}

// The thread of a job and one that it starts.
std::vector<int> niceness() {
  std::vector<int> all{::getpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()))};
  std::thread([&] { all.push_back(::getpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()))); }).join();
  return all;
}

TEST(JobQueue, OfTheBackgroundRunAtLowPriorityAndNoneAfterThem) {
  std::atomic<bool> saved{false};
  // So that it is the backup's thread that starts the restore, which waits for its turn.
  JobQueue queue([&](JobClass job_class) { return job_class == JobClass::restore && !saved ? 0u : 1u; },
                 [](JobClass job_class) { return job_class == JobClass::backup; });
  const int ours = niceness()[0];
  std::vector<int> backup, restore;
  std::latch go(1);
  const auto first = queue.submit("1", "backup", JobClass::backup, [&](Job&) {
    go.wait();
    backup = niceness();
    saved = true;
  });
  const auto second = queue.submit("2", "restore", JobClass::restore, [&](Job&) { restore = niceness(); });
  go.count_down();
  ASSERT_TRUE(first->wait_until(soon()));
  ASSERT_TRUE(second->wait_until(soon()));
  EXPECT_EQ(backup, (std::vector{std::max(ours, 10), std::max(ours, 10)}));
  EXPECT_EQ(restore, (std::vector{ours, ours}));
}

TEST(JobQueue, OfTheBackgroundFailAsOthersDo) {
  JobQueue queue([](JobClass) { return 1u; }, [](JobClass) { return true; });
  const auto job = queue.submit("v", "backup", JobClass::backup, [](Job&) { throw base::Corrupt("torn"); });
  ASSERT_TRUE(job->wait_until(soon()));
  EXPECT_THROW(std::rethrow_exception(job->failure()), base::Corrupt);
}

TEST(JobQueue, AskingAgainJoinsTheSameJob) {
  JobQueue queue([](JobClass) { return 1u; });
  std::latch go(1);
  std::atomic<int> runs{0};
  const auto work = [&](Job&) {
    go.wait();
    ++runs;
  };
  const auto first = queue.submit("v", "backup", JobClass::backup, work);
  const auto second = queue.submit("v", "backup", JobClass::backup, work);
  EXPECT_EQ(first, second);
  EXPECT_EQ(queue.find("v"), first);
  go.count_down();
  ASSERT_TRUE(first->wait_until(soon()));
  EXPECT_EQ(runs, 1);
  // Once it has ended, the same key is free for another.
  EXPECT_NE(queue.submit("v", "backup", JobClass::backup, work), first);
}

TEST(JobQueue, KeepsWhatAJobThrewAndTellsWhoeverAsked) {
  JobQueue queue([](JobClass) { return 1u; });
  std::atomic<int> told{0};
  const auto job = queue.submit("v", "restore", JobClass::restore, [](Job&) { throw base::Corrupt("torn"); });
  job->when_finished([&] { ++told; });
  ASSERT_TRUE(job->wait_until(soon()));
  EXPECT_THROW(std::rethrow_exception(job->failure()), base::Corrupt);
  while (told == 0) std::this_thread::yield();
  job->when_finished([&] { ++told; });
  EXPECT_EQ(told, 2);
}

TEST(JobQueue, StopCancelsTheWaitingAndAsksTheRunning) {
  std::shared_ptr<Job> running, waiting;
  {
    JobQueue queue([](JobClass) { return 1u; });
    std::latch started(1);
    running = queue.submit("a", "backup", JobClass::backup, [&](Job& job) {
      started.count_down();
      while (!job.stop.stop_requested()) std::this_thread::yield();
      throw base::Cancelled();
    });
    waiting = queue.submit("b", "backup", JobClass::backup, [](Job&) { FAIL() << "must not run"; });
    started.wait();
    queue.stop();
    EXPECT_THROW(queue.submit("c", "backup", JobClass::backup, [](Job&) {}), base::Conflict);
  }
  EXPECT_TRUE(running->finished());
  EXPECT_THROW(std::rethrow_exception(running->failure()), base::Cancelled);
  EXPECT_THROW(std::rethrow_exception(waiting->failure()), base::Cancelled);
}

TEST(JobQueue, ClassesHaveLimitsOfTheirOwn) {
  JobQueue queue([](JobClass) { return 1u; });
  std::latch go(1);
  const auto backup = queue.submit("a", "backup", JobClass::backup, [&](Job&) { go.wait(); });
  const auto restore = queue.submit("b", "restore", JobClass::restore, [](Job&) {});
  EXPECT_TRUE(restore->wait_until(soon()));  // did not wait for the backup
  go.count_down();
  EXPECT_TRUE(backup->wait_until(soon()));
}

}  // namespace
}  // namespace davit::jobs
