// A process that forgets and prunes is killed before and after each of its calls to the store, one
// run for each call (a sample of them unless DAVIT_SOAK is set). What it leaves must be whole,
// every snapshot that it had not forgotten restorable, and the next prune must finish the work.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <random>

#include "base/errors.h"
#include "store/open.h"
#include "support/fault_store.h"
#include "support/made_repository.h"
#include "support/temp_dir.h"
#include "upkeep/check.h"
#include "upkeep/prune.h"

namespace davit {
namespace {

using store::Kind;
using test::Files;
using test::noise;

constexpr int kKilled = 86;

class PruneCrash : public ::testing::Test {
 protected:
  std::unique_ptr<repo::Repository> open(std::shared_ptr<store::Store> store) {
    // Not through the password: a hundred runs need no hundred scrypts.
    return std::make_unique<repo::Repository>(std::move(store), config_, key_, key_id_);
  }
  std::unique_ptr<repo::Repository> open() { return open(store::open_store(path_)); }

  static void SetUpTestSuite() {
    // What is killed here is a process, not a machine: a hundred runs need no disk.
    if (::access("/dev/shm", W_OK) == 0) ::setenv("TMPDIR", "/dev/shm", 0);
  }
  void SetUp() override {
    {
      const auto repository = repo::Repository::init(store::open_store(path_), "password");
      config_ = repository->config();
      key_ = repository->key();
      key_id_ = repository->key_id();
      const auto save = [&](const Files& files) {
        return test::save_files(*repository, files, test::packs_of(64 << 10));
      };
      Files odd, all;
      for (int i = 0; i < 30; ++i) {
        const std::string name = "dir" + std::to_string(i % 3) + "/file" + std::to_string(i);
        all[name] = noise(i, 10'000);
        if (i % 2) odd[name] = all[name];
      }
      forgotten_ = save(all);
      kept_[save(odd)] = odd;
      for (int i = 0; i < 9; ++i) {
        const Files one = {{"small", noise(100 + i, 2000)}};
        kept_[save(one)] = one;
      }
      // An orphan, as an interrupted backup leaves it.
      const base::Bytes stray = base::to_bytes(base::as_bytes(noise(7, 5000)));
      repository->store().put({Kind::data, *base::Id::parse(std::string(64, 'a'))}, stray);
    }
    std::filesystem::copy(path_, directory_ / "before", std::filesystem::copy_options::recursive);
  }

  void start_again() {
    base::remove_tree(path_);
    std::filesystem::copy(directory_ / "before", path_, std::filesystem::copy_options::recursive);
  }

  void forget_and_prune(std::shared_ptr<store::Store> store) {
    const auto repository = open(store);
    repository->refresh_index();
    store->remove({Kind::snapshot, forgotten_});
    execute_prune(*repository, upkeep::plan_prune(*repository, {}), {},
                  [](const auto& second_phase) { second_phase(); });
  }

  // Runs it in a child that dies at that call; false when there are not so many.
  bool killed_at(uint64_t number, bool after_the_call) {
    const pid_t child = ::fork();
    if (child == 0) {
      try {
        auto faults = std::make_shared<test::FaultStore>(store::open_store(path_));
        const auto die = [&](const test::StoreCall& call) {
          if (call.number >= number) ::_exit(kKilled);
        };
        after_the_call ? faults->after_each(die) : faults->before_each(die);
        forget_and_prune(faults);
        ::_exit(0);
      } catch (...) {
        ::dprintf(2, "%s\n", base::current_message().c_str());
        ::_exit(1);
      }
    }
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == kKilled))
        << status;
    return WIFEXITED(status) && WEXITSTATUS(status) == kKilled;
  }

  void expect_whole() {
    const auto repository = open();
    repository->refresh_index();
    upkeep::CheckOptions options;
    options.read_data = true;
    EXPECT_THAT(check(*repository, options).errors, ::testing::IsEmpty());
    for (const auto& [id, files] : kept_) EXPECT_EQ(test::read_files(*repository, id), files);
  }

  test::TempDir directory_;
  std::string path_ = directory_ / "repository";
  repo::ConfigFile config_;
  crypto::Key key_;
  base::Id key_id_, forgotten_;
  std::map<base::Id, Files> kept_;
};

TEST_F(PruneCrash, LeavesAWholeRepositoryAtEveryCall) {
  const bool every_call = std::getenv("DAVIT_SOAK") != nullptr;
  std::mt19937 random(20261122);
  uint64_t number = 1, runs = 0;
  for (bool more = true; more; number += every_call ? 1 : 1 + random() % 12) {
    for (const bool after_the_call : {false, true}) {
      start_again();
      more = killed_at(number, after_the_call);
      ++runs;
      expect_whole();
      forget_and_prune(store::open_store(path_));
      expect_whole();
      EXPECT_TRUE(upkeep::plan_prune(*open(), {}).empty());
      if (HasFailure())
        FAIL() << "killed " << (after_the_call ? "after" : "before") << " call " << number;
    }
  }
  EXPECT_GT(number, 50);
  RecordProperty("runs", static_cast<int>(runs));
}

}  // namespace
}  // namespace davit
