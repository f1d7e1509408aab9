// One mirror brought up to date: in which order, what goes and what stays, and what is left when it
// is killed at any call of a store.
#include "jobs/mirror_sync.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <mutex>
#include <random>
#include <set>

#include "base/errors.h"
#include "support/mirror_world.h"
#include "support/restic.h"

namespace davit::jobs {
namespace {

using store::Kind;
using store::Name;
using test::StoreCall;
using test::StoreOp;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using World = MirrorWorld;

TEST(MirrorSync, MakesAMirrorAndFollowsThePrimary) {
  World world;
  const auto first = world.save(1);
  world.save(10);
  const auto made = world.sync();
  EXPECT_GT(made.copied, 5u);
  EXPECT_EQ(world.difference(), "");
  EXPECT_THAT(world.mirror_errors(), IsEmpty());
  EXPECT_EQ(world.book.list()[0].state, "in sync");
  EXPECT_EQ(world.sync().copied, 0u);
  world.stores->remove({Kind::snapshot, first});
  world.prune();
  world.save(20);
  const auto followed = world.sync();
  EXPECT_GT(followed.removed, 3u);
  EXPECT_EQ(world.difference(), "");
  EXPECT_THAT(world.mirror_errors(), IsEmpty());
  EXPECT_THAT(world.book.journal(world.place())->read().removed, IsEmpty());
  EXPECT_THAT(test::ids_of(*world.mirror_files, Kind::lock), IsEmpty());
}

TEST(MirrorSync, CopiesPacksThenIndexesThenSnapshots) {
  World world;
  world.save(1);
  std::mutex mutex;
  std::vector<std::pair<StoreOp, Kind>> calls;
  world.mirror->after_each([&](const StoreCall& call) {
    const std::lock_guard lock(mutex);
    if (call.name.kind != Kind::lock && (call.op == StoreOp::put || call.op == StoreOp::remove))
      calls.emplace_back(call.op, call.name.kind);
  });
  world.sync();
  // Kinds are numbered in that order but for the key.
  EXPECT_TRUE(std::is_sorted(calls.begin(), calls.end()));
  EXPECT_EQ(calls.front().second, Kind::config);
  EXPECT_EQ(calls.back().second, Kind::snapshot);

  const auto snapshots = test::ids_of(*world.files, Kind::snapshot);
  world.save(10);
  world.stores->remove({Kind::snapshot, snapshots[0]});
  world.prune();
  calls.clear();
  world.sync();
  const auto removals = std::find_if(
      calls.begin(), calls.end(), [](const auto& call) { return call.first == StoreOp::remove; });
  EXPECT_TRUE(std::is_sorted(calls.begin(), removals));
  ASSERT_GT(calls.end() - removals, 3);
  EXPECT_TRUE(std::all_of(removals, calls.end(),
                          [](const auto& call) { return call.first == StoreOp::remove; }));
  EXPECT_TRUE(std::is_sorted(removals, calls.end(), std::greater<>()));
}

TEST(MirrorSync, ALockOfAnotherOnTheMirrorPutsRemovalsOff) {
  World world;
  const auto first = world.save(1);
  world.save(10);
  world.sync();
  world.stores->remove({Kind::snapshot, first});
  world.prune();
  const auto there = world.repository->in(world.mirror_files);
  auto lock = repo::Lock::take(*there, repo::LockMode::shared, {.host = "elsewhere"},
                               {.settle = std::chrono::milliseconds(1)});
  const auto result = world.sync();
  EXPECT_EQ(result.removed, 0u);
  EXPECT_THAT(result.postponed, HasSubstr("elsewhere"));
  EXPECT_TRUE(world.mirror_files->find_size({Kind::snapshot, first}));
  EXPECT_THAT(world.book.list()[0].note, HasSubstr("elsewhere"));
  lock->release();
  EXPECT_GT(world.sync().removed, 0u);
  EXPECT_EQ(world.difference(), "");
  // Who prunes there is not disturbed at all.
  lock = repo::Lock::take(*there, repo::LockMode::exclusive, {.host = "elsewhere"},
                          {.settle = std::chrono::milliseconds(1)});
  world.save(20);
  EXPECT_THROW(world.sync(), base::Locked);
  lock->release();
  world.sync();
  EXPECT_EQ(world.difference(), "");
}

TEST(MirrorSync, HoldsALockOnTheMirrorWhileItCopies) {
  World world;
  world.save(1);
  std::atomic<int> unlocked{0}, copied{0};
  world.mirror->before_each([&](const StoreCall& call) {
    if (call.op != StoreOp::put || call.name.kind != Kind::data) return;
    ++copied;
    unlocked += test::ids_of(*world.mirror_files, Kind::lock).empty();
  });
  world.sync();
  EXPECT_GT(copied, 0);
  EXPECT_EQ(unlocked, 0);
}

TEST(MirrorSync, APlaceThatWasAMirrorAndIsEmptyIsNotFilledByItself) {
  World world;
  world.save(1);
  world.sync();
  for (const Kind kind : World::kKinds) {
    if (kind == Kind::config)
      world.mirror_files->remove(Name{});
    else
      for (const auto& id : test::ids_of(*world.mirror_files, kind))
        world.mirror_files->remove({kind, id});
  }
  EXPECT_THROW(world.sync(), base::Conflict);
  EXPECT_THAT(test::ids_of(*world.mirror_files, Kind::data), IsEmpty());
  world.book.accept(world.place());
  world.sync();
  EXPECT_EQ(world.difference(), "");
}

TEST(MirrorSync, AnotherRepositoryIsLeftAlone) {
  World world, other;
  world.save(1);
  const base::Bytes config = other.files->get({}, 1 << 20);
  world.mirror_files->put(Name{}, base::ByteView(config));
  EXPECT_THROW(world.sync(), base::Conflict);
  EXPECT_EQ(world.mirror_files->get({}, 1 << 20), config);
  // Nor is one whose config is lost.
  world.mirror_files->remove(Name{});
  world.mirror_files->put({Kind::snapshot, base::Id{{1}}}, base::as_bytes("x"));
  EXPECT_THROW(world.sync(), base::Conflict);
  EXPECT_THAT(test::ids_of(*world.mirror_files, Kind::data), IsEmpty());
}

TEST(MirrorSync, ADamagedFileIsNotCopied) {
  World world;
  world.save(1);
  const Name pack{Kind::data, test::ids_of(*world.files, Kind::data).front()};
  world.files->damage(pack, [](base::Bytes& bytes) { bytes[5] ^= 4; });
  EXPECT_THROW(world.sync(), base::Corrupt);
  EXPECT_EQ(world.mirror_files->find_size(pack), std::nullopt);
  EXPECT_EQ(test::ids_of(*world.mirror_files, Kind::snapshot).size(), 1u)
      << "the rest is worth more than nothing";
  world.files->damage(pack, [](base::Bytes& bytes) { bytes[5] ^= 4; });
  world.sync();
  EXPECT_EQ(world.difference(), "");
  // A damaged config of either is not mistaken for another repository's, nor copied.
  const base::Bytes config = world.files->get({}, 1 << 20);
  for (store::Store* side :
       {static_cast<store::Store*>(world.files.get()), world.mirror_files.get()}) {
    base::Bytes rotten = config;
    rotten[20] ^= 1;
    side->put(Name{}, base::ByteView(rotten));
    world.sync();
    EXPECT_EQ(world.files->get({}, 1 << 20), config);
    EXPECT_EQ(world.mirror_files->get({}, 1 << 20), config);
  }
}

TEST(MirrorSync, AFileThatVanishesMeanwhileMakesItListAnew) {
  World world;
  const auto first = world.save(1);
  world.save(10);
  std::once_flag once;
  world.primary->before_each([&](const StoreCall& call) {
    if (call.op != StoreOp::get || call.name.kind != Kind::data) return;
    std::call_once(once, [&] {
      world.files->remove({Kind::snapshot, first});
      const auto other = world.repository->in(world.files);
      other->refresh_index();
      upkeep::PruneOptions all;
      all.max_unused_ratio = 0;
      upkeep::execute_prune(*other, upkeep::plan_prune(*other, all), all,
                            [](const auto& second_phase) { second_phase(); });
    });
  });
  world.sync();
  EXPECT_THAT(world.mirror_errors(), IsEmpty());
  EXPECT_EQ(test::ids_of(*world.mirror_files, Kind::snapshot),
            test::ids_of(*world.files, Kind::snapshot));
}

// ---- killed

// From its call `at` on nothing of what the process wants happens any more.
void kill_at(test::FaultStore& store, uint64_t at) {
  const uint64_t first = store.calls();
  store.before_each([first, at](const StoreCall& call) {
    if (call.number - first >= at) throw base::IoError("the process is dead", 0);
  });
}

// A mirror that is new, and one that has to follow a prune.
void prepare(World& world, bool is_new) {
  const auto first = world.save(1);
  world.save(10);
  if (is_new) return;
  world.sync();
  world.save(20);
  world.stores->remove({Kind::snapshot, first});
  world.prune();
}

class KilledMirrorSync : public ::testing::TestWithParam<bool> {};

TEST_P(KilledMirrorSync, LeavesAWholeRepositoryAtEachCall) {
  const bool every_call = std::getenv("DAVIT_SOAK") != nullptr;
  std::mt19937 random(20261128);
  bool completed = false;
  int runs = 0;
  for (uint64_t at = 1; !completed; ++at) {
    ASSERT_LT(at, 2000u);
    if (!every_call && random() % 5 != 0 && at > 3) continue;
    World world;
    prepare(world, GetParam());
    ++runs;
    kill_at(*world.mirror, at);
    try {
      world.sync();
      completed = true;
    } catch (const base::Error&) {
    }
    world.mirror->before_each({});
    // Nobody can open it before it has config and key.
    if (world.mirror_files->find_size({}) &&
        !test::ids_of(*world.mirror_files, Kind::key).empty()) {
      EXPECT_THAT(world.mirror_errors(), IsEmpty()) << "killed at call " << at;
    }
    world.sync();
    EXPECT_THAT(world.mirror_errors(), IsEmpty()) << "after call " << at;
    EXPECT_EQ(world.difference(), "") << "after call " << at;
  }
  EXPECT_GT(runs, 5);
}

INSTANTIATE_TEST_SUITE_P(OfA, KilledMirrorSync, ::testing::Bool(), [](const auto& info) {
  return info.param ? "NewMirror" : "MirrorThatFollowsAPrune";
});

TEST(MirrorSync, ResticReadsAMirrorThatWasLeftHalfDone) {
  DAVIT_NEEDS_RESTIC();
  for (const uint64_t at : {14u, 19u, 24u}) {
    test::TempDir directory;
    World world(store::open_store(directory / "mirror"));
    prepare(world, false);
    kill_at(*world.mirror, at);
    EXPECT_THROW(world.sync(), base::Error) << at;
    const test::Restic restic(directory / "mirror", test::kQuickPassword);
    const auto check = restic.run({"check", "--read-data", "--no-lock"});
    EXPECT_EQ(check.exit_code, 0) << at << ": " << check.output;
  }
}

}  // namespace
}  // namespace davit::jobs
