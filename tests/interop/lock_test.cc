// The lock protocol with two real restics, 0.14 (or the one in PATH) and 0.18, as the other party.
#include "repo/lock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <optional>
#include <thread>

#include "base/errors.h"
#include "store/open.h"
#include "support/restic.h"
#include "support/temp_dir.h"

namespace davit::repo {
namespace {

using namespace std::chrono_literals;

struct InteropLock : testing::TestWithParam<test::ResticVersion> {
  void SetUp() override {
    DAVIT_NEEDS_RESTIC_VERSION(GetParam());
    restic.emplace(directory / "repository", "p", test::restic_program(GetParam()));
    repository = Repository::init(store::open_store(directory / "repository"), "p");
  }
  std::unique_ptr<Lock> take(LockMode mode) {
    return Lock::take(*repository, mode, {.host = "host-0f5c"}, {.settle = 10ms, .retry = 50ms});
  }
  size_t locks() { return list_locks(*repository).size(); }

  test::TempDir directory;
  std::optional<test::Restic> restic;
  std::unique_ptr<Repository> repository;
};
INSTANTIATE_TEST_SUITE_P(With, InteropLock, testing::ValuesIn(test::kResticVersions),
                         test::version_name);

TEST_P(InteropLock, ResticRefusesToPruneWhileWeShare) {
  auto lock = take(LockMode::shared);
  const auto prune = restic->ask({"prune"});
  EXPECT_NE(prune.exit_code, 0);
  EXPECT_THAT(prune.errors, testing::HasSubstr("host-0f5c"));
  const auto backup = restic->start({"backup", "--stdin", "--stdin-filename", "x"});
  backup->write_input("both may share");
  EXPECT_TRUE(succeeded(backup->wait()));
  lock->release();
  EXPECT_TRUE(succeeded(restic->ask({"prune"})));
}

TEST_P(InteropLock, ResticRefusesEverythingWhileWeExclude) {
  const auto lock = take(LockMode::exclusive);
  EXPECT_NE(restic->ask({"backup", "--stdin", "--stdin-filename", "x"}).exit_code, 0);
  EXPECT_NE(restic->ask({"prune"}).exit_code, 0);
}

TEST_P(InteropLock, WeRefuseToExcludeWhileResticShares) {
  const auto backup = restic->start({"backup", "--stdin", "--stdin-filename", "x"});
  backup->write_input("still coming");
  while (locks() == 0) std::this_thread::yield();
  EXPECT_FALSE(list_locks(*repository).at(0).lock.exclusive);
  EXPECT_THROW(take(LockMode::exclusive), base::Locked);
  EXPECT_NO_THROW(take(LockMode::shared));
  EXPECT_TRUE(succeeded(backup->wait()));
  EXPECT_NO_THROW(take(LockMode::exclusive));
}

// restic waits 200 ms after it wrote its exclusive lock; there it is stopped.
TEST_P(InteropLock, WeRefuseEverythingWhileResticExcludes) {
  const auto check = restic->start({"check"});
  while (locks() == 0) std::this_thread::yield();
  ASSERT_EQ(::kill(check->pid(), SIGSTOP), 0);
  int status = 0;
  ASSERT_EQ(::waitpid(check->pid(), &status, WUNTRACED), check->pid());
  ASSERT_TRUE(WIFSTOPPED(status));
  EXPECT_EQ(list_locks(*repository).at(0).lock.exclusive, true);
  EXPECT_THROW(take(LockMode::shared), base::Locked);
  EXPECT_THROW(take(LockMode::exclusive), base::Locked);
  ASSERT_EQ(::kill(check->pid(), SIGCONT), 0);
  EXPECT_TRUE(succeeded(check->wait()));
  EXPECT_NO_THROW(take(LockMode::exclusive));
}

// `restic unlock` tests a local pid with a signal that would end us; ours is never local to it.
TEST_P(InteropLock, ResticUnlockLeavesALiveLockAndItsHolderAlone) {
  const auto lock = take(LockMode::shared);
  EXPECT_TRUE(succeeded(restic->ask({"unlock"})));
  EXPECT_EQ(locks(), 1u);
  EXPECT_TRUE(succeeded(restic->ask({"unlock", "--remove-all"})));
  EXPECT_EQ(locks(), 0u);
}

}  // namespace
}  // namespace davit::repo
