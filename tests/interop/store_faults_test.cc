// Stores that fail at random, under everything that works on a repository: backup, restore, prune
// and check, judged by restic. And stores that do not keep what they promise: that is found, and
// named exactly.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>

#include "base/errors.h"
#include "base/patience.h"
#include "repo/lock.h"
#include "store/local_store.h"
#include "store/retry_store.h"
#include "support/fault_store.h"
#include "support/made_repository.h"
#include "support/memory_store.h"
#include "support/passing_time.h"
#include "support/restic.h"
#include "support/soak.h"
#include "support/temp_dir.h"
#include "support/tree_maker.h"
#include "support/tree_manifest.h"
#include "support/volume_fixture.h"
#include "upkeep/check.h"
#include "upkeep/prune.h"

namespace davit {
namespace {

using namespace std::chrono_literals;
using store::Kind;
using test::FaultStore;
using test::MemoryStore;
using test::VolumeFixture;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// ---- calls that fail

class StoreFaults : public ::testing::Test {
 protected:
  enum class Retries : uint8_t { no, yes };

  void begin(Retries retries) {
    fixture_ = std::make_unique<VolumeFixture>([this, retries]() -> std::shared_ptr<store::Store> {
      auto local = std::make_shared<store::LocalStore>(directory_ / "repository");
      local->prepare();
      faults_ = std::make_shared<FaultStore>(local);
      if (retries == Retries::no) return faults_;
      return std::make_shared<store::RetryStore>(faults_, test::PassingTime::none());
    });
    fixture_->upload.pack_size_bytes = 256 << 10;
    fixture_->upload.index_blobs = 40;
    fixture_->index_cache = fixture_->path() + "/cache";
    fixture_->reopen();
  }
  void fill(uint64_t seed) {
    base::remove_tree(fixture_->volume("v"));
    test::TreeSpec spec;
    spec.devices = spec.owners = spec.trusted_xattrs = ::geteuid() == 0;
    spec.seed = seed;
    spec.random_files = 150;
    spec.sparse = false;
    test::make_tree(fixture_->volume("v"), spec);
  }

  // Under a lock, as jobs do it.
  void locked(repo::LockMode mode, const std::function<void()>& work) {
    const auto lock = repo::Lock::take(fixture_->repository(), mode, {.host = "host-1"},
                                       {.settle = 1ms, .refresh = 5ms, .retry = 1ms});
    work();
    lock->release();
  }
  void back_up() {
    locked(repo::LockMode::shared, [&] {
      fixture_->repository().refresh_index();
      saved_ = fixture_->save("v");
    });
  }
  void restore() {
    base::remove_tree(fixture_->volume("back"));
    locked(repo::LockMode::shared, [&] { fixture_->restore(saved_.result.tree, "v", "back"); });
    EXPECT_EQ(test::manifest_difference(test::tree_manifest(fixture_->volume("v")),
                                        test::tree_manifest(fixture_->volume("back"))),
              "");
  }
  void prune() {
    auto& repository = fixture_->repository();
    upkeep::PrunePlan plan;
    upkeep::PruneOptions options;
    options.max_unused_ratio = 0;
    locked(repo::LockMode::shared, [&] {
      repository.refresh_index();
      plan = upkeep::plan_prune(repository, options);
    });
    upkeep::execute_prune(repository, std::move(plan), options,
                          [&](const std::function<void()>& second_phase) {
                            locked(repo::LockMode::exclusive, second_phase);
                          });
  }
  void check() {
    locked(repo::LockMode::shared, [&] {
      EXPECT_THAT(upkeep::check(fixture_->repository(), {.read_data = true}).errors, IsEmpty());
    });
  }
  void forget_all_but_the_last() {
    auto& store = fixture_->repository().store();
    for (const base::Id& id : test::ids_of(store, Kind::snapshot))
      if (id != saved_.snapshot) store.remove({Kind::snapshot, id});
  }
  void expect_restic_agrees() {
    const test::Restic restic(directory_ / "repository", VolumeFixture::kPassword);
    const auto result = restic.ask({"check", "--read-data"});
    EXPECT_TRUE(succeeded(result));
    EXPECT_THAT(result.output, HasSubstr("no errors were found"));
  }

  test::TempDir directory_;
  std::shared_ptr<FaultStore> faults_;
  std::unique_ptr<VolumeFixture> fixture_;
  VolumeFixture::Saved saved_;
};

// Each life of a repository with its own seed; `live` is called with faults on.
class StoreFaultsAt : public StoreFaults, public ::testing::WithParamInterface<double> {};

TEST_P(StoreFaultsAt, AreOutlastedByWhoTriesAgain) {
  DAVIT_NEEDS_RESTIC();
  const base::PatienceScope patience({15min});
  const uint64_t first = test::daily_seed();
  uint64_t calls = 0;
  for (uint64_t seed = first; seed < first + (test::is_soak() ? 20 : 1); ++seed) {
    SCOPED_TRACE("DAVIT_SEED=" + std::to_string(seed));
    begin(Retries::yes);
    fill(seed);
    faults_->fail_share(GetParam(), seed);
    back_up();
    fill(seed + 1'000'000);
    back_up();
    restore();
    forget_all_but_the_last();
    prune();
    check();
    restore();
    faults_->fail_share(0, 0);
    calls += faults_->calls();
    EXPECT_THAT(test::ids_of(*faults_, Kind::lock), IsEmpty());
    expect_restic_agrees();
    base::remove_tree(directory_.path() + "/repository");
    if (HasFailure()) return;
  }
  RecordProperty("calls", static_cast<int>(calls));
  EXPECT_GT(calls, 300u);
}

TEST_P(StoreFaultsAt, FailCleanlyWhereNobodyTriesAgain) {
  DAVIT_NEEDS_RESTIC();
  const uint64_t first = test::daily_seed();
  uint64_t failures = 0;
  for (uint64_t seed = first; seed < first + (test::is_soak() ? 10 : 1); ++seed) {
    SCOPED_TRACE("DAVIT_SEED=" + std::to_string(seed));
    begin(Retries::no);
    fill(seed);
    back_up();
    fill(seed + 1'000'000);
    const auto fail_then_work = [&](const std::function<void()>& work) {
      for (int round = 0; round < 4; ++round) {
        faults_->fail_share(GetParam(), seed * 100 + static_cast<uint64_t>(round));
        try {
          work();
        } catch (const base::IoError& error) {
          EXPECT_THAT(error.what(), HasSubstr("was made to fail"));
          ++failures;
        } catch (const base::Error& error) {
          // Of a lock of ours that could not be removed.
          EXPECT_THAT(error.what(), HasSubstr("locked"));
        }
        faults_->fail_share(0, 0);
        remove_locks(fixture_->repository(), [](const repo::LockInfo&) { return true; });
        // Whatever there is, is whole.
        fixture_->repository().refresh_index();
        check();
      }
      work();
    };
    fail_then_work([&] { back_up(); });
    fail_then_work([&] { restore(); });
    forget_all_but_the_last();
    fail_then_work([&] { prune(); });
    fail_then_work([&] { check(); });
    restore();
    expect_restic_agrees();
    base::remove_tree(directory_.path() + "/repository");
    if (HasFailure()) return;
  }
  RecordProperty("failures", static_cast<int>(failures));
  EXPECT_GE(failures, 8u);
}

INSTANTIATE_TEST_SUITE_P(Shares, StoreFaultsAt, ::testing::Values(0.1, 0.3), [](const auto& info) {
  return std::to_string(static_cast<int>(info.param * 100)) + "Percent";
});

// ---- stores that lie

struct LyingStore : ::testing::Test {
  // A new place with a repository in it.
  void begin() {
    memory = std::make_shared<MemoryStore>();
    faults = std::make_shared<FaultStore>(memory);
    repository = repo::Repository::init(
        std::make_shared<store::RetryStore>(faults, test::PassingTime::none()), "password");
  }
  // As somebody else sees it.
  std::unique_ptr<repo::Repository> open() {
    return std::make_unique<repo::Repository>(memory, repository->config(), repository->key(),
                                              repository->key_id());
  }
  // Half of the file stays of the next put of the kind.
  void tear(Kind kind, bool says_so) {
    torn = {};
    faults->after_each([=, this](const test::StoreCall& call) {
      if (call.op != test::StoreOp::put || call.name.kind != kind || is_torn.exchange(true)) return;
      torn = call.name;
      memory->damage(call.name, [](base::Bytes& bytes) { bytes.resize(bytes.size() / 2); });
      if (says_so) throw base::IoError("the connection broke", 0, true);
    });
    is_torn = false;
  }

  const test::Files files{{"a", test::noise(1, 50'000)}, {"d/b", test::noise(2, 70'000)}};
  const base::PatienceScope patience{{15min}};
  std::shared_ptr<MemoryStore> memory;
  std::shared_ptr<FaultStore> faults;
  std::unique_ptr<repo::Repository> repository;
  std::atomic<bool> is_torn{false};
  store::Name torn;
};

constexpr Kind kKinds[] = {Kind::data, Kind::index, Kind::snapshot};

TEST_F(LyingStore, AFileOfWhichHalfWasWrittenIsWrittenAgain) {
  for (const Kind kind : kKinds) {
    begin();
    tear(kind, /*says_so=*/true);
    const base::Id snapshot = test::save_files(*repository, files, test::packs_of(32 << 10));
    ASSERT_EQ(torn.kind, kind);
    const auto fresh = open();
    fresh->refresh_index();
    EXPECT_EQ(test::read_files(*fresh, snapshot), files);
    EXPECT_THAT(upkeep::check(*fresh, {.read_data = true}).errors, IsEmpty());
  }
}

TEST_F(LyingStore, WhatItKeptOnlyHalfOfIsFoundAndNamed) {
  for (const Kind kind : kKinds) {
    begin();
    const test::Files others{{"other", test::noise(9, 30'000)}};
    const base::Id whole = test::save_files(*repository, others);
    tear(kind, /*says_so=*/false);
    const base::Id snapshot = test::save_files(*repository, files, test::packs_of(32 << 10));
    ASSERT_EQ(torn.kind, kind);
    const std::string name = torn.id.short_hex();
    // Without reading the data: sizes tell.
    EXPECT_THAT(upkeep::check(*open(), {}).errors, Contains(HasSubstr(name)));
    const auto restore = [&](const base::Id& id) {
      const auto fresh = open();
      fresh->refresh_index();
      return test::read_files(*fresh, id);
    };
    try {
      restore(snapshot);
      ADD_FAILURE() << store::to_string(torn) << " was restored";
    } catch (const base::Corrupt& error) {
      EXPECT_THAT(error.what(), HasSubstr(name));
    }
    // What does not need it is whole.
    if (kind != Kind::index) {
      EXPECT_EQ(restore(whole), others);
    }
  }
}

}  // namespace
}  // namespace davit
