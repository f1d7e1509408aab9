// What goes from a mirror, and what stays there although the primary has lost it.
#include "jobs/mirror_removals.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/errors.h"
#include "support/mirror_world.h"

namespace davit::jobs {
namespace {

using store::Kind;
using test::StoreCall;
using test::StoreOp;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using World = MirrorWorld;

TEST(MirrorRemovals, WhatVanishedByItselfStaysOnTheMirrorUntilAPruneOfOurs) {
  World world;
  const auto lost = world.save(1);
  world.save(10);
  world.sync();
  // Neither through the store that notes what is removed.
  world.files->remove({Kind::snapshot, lost});
  const auto pack = test::ids_of(*world.files, Kind::data).front();
  const auto index = test::ids_of(*world.files, Kind::index).front();
  const base::Bytes content = world.files->get({Kind::data, pack}, 1 << 20);
  const base::Bytes indexed = world.files->get({Kind::index, index}, 1 << 20);
  world.files->remove({Kind::data, pack});
  world.files->remove({Kind::index, index});
  EXPECT_EQ(world.sync().removed, 0u);
  EXPECT_TRUE(world.mirror_files->find_size({Kind::snapshot, lost}));
  EXPECT_TRUE(world.mirror_files->find_size({Kind::data, pack}));
  EXPECT_TRUE(world.mirror_files->find_size({Kind::index, index}));
  EXPECT_THAT(world.book.list()[0].note, HasSubstr(lost.short_hex()));
  EXPECT_THAT(world.mirror_errors(), IsEmpty());
  world.files->put({Kind::data, pack}, base::ByteView(content));
  world.files->put({Kind::index, index}, base::ByteView(indexed));
  world.prune();
  world.sync();
  EXPECT_EQ(world.difference(), "");
  EXPECT_EQ(world.book.list()[0].note, "");
}

// The prune freed what it used; so it goes with that, although it was not davit that removed it.
TEST(MirrorRemovals, ASnapshotThatVanishedBeforeAPruneGoesAlsoWhereTheMirrorWasAwayThen) {
  World world;
  const auto lost = world.save(1);
  world.save(10);
  world.sync();
  world.files->remove({Kind::snapshot, lost});
  world.prune();
  const auto later = world.save(20);
  world.sync();
  EXPECT_EQ(world.difference(), "");
  EXPECT_THAT(world.mirror_errors(), IsEmpty());
  // What is lost after the prune is whole on the mirror, and stays.
  world.files->remove({Kind::snapshot, later});
  world.sync();
  EXPECT_TRUE(world.mirror_files->find_size({Kind::snapshot, later}));
}

// Lost packs and indexes may be whole on the mirror only, and no prune has named them.
TEST(MirrorRemovals, PacksThatDavitDidNotRemoveStayOnTheMirrorAlsoAfterAPrune) {
  World world;
  world.save(1);
  world.sync();
  const std::string stray = test::noise(3, 100);
  world.mirror_files->put({Kind::data, base::Id{{1}}}, base::as_bytes(stray));
  world.sync();
  EXPECT_TRUE(world.mirror_files->find_size({Kind::data, base::Id{{1}}}));
  world.prune();
  world.sync();
  EXPECT_TRUE(world.mirror_files->find_size({Kind::data, base::Id{{1}}}));
}

TEST(MirrorRemovals, NothingIsEverRemovedFromAnAppendOnlyMirror) {
  World world(std::make_shared<test::MemoryStore>(), true);
  const auto first = world.save(1);
  world.sync();
  const auto packs = test::ids_of(*world.files, Kind::data);
  world.save(10);
  world.stores->remove({Kind::snapshot, first});
  world.prune();
  world.mirror->before_each([](const StoreCall& call) {
    if (call.op == StoreOp::remove && call.name.kind != Kind::lock)
      throw base::IoError("forbidden", 0);
  });
  EXPECT_EQ(world.sync().removed, 0u);
  EXPECT_TRUE(world.mirror_files->find_size({Kind::snapshot, first}));
  for (const auto& pack : packs) EXPECT_TRUE(world.mirror_files->find_size({Kind::data, pack}));
  EXPECT_THAT(world.mirror_errors(), IsEmpty());
  EXPECT_EQ(world.book.list()[0].note, "") << "what davit removed is no loss";
  world.sync();
  EXPECT_EQ(world.book.list()[0].note, "");
}

// A prune that fails before it has removed anything is none: what was lost is whole on the mirror.
TEST(MirrorRemovals, APruneThatFailedLetsNoLostSnapshotGo) {
  World world;
  const auto lost = world.save(1);
  const auto kept = world.save(10);
  world.stores->remove({Kind::snapshot, kept});
  world.save(20);
  world.sync();
  world.files->remove({Kind::snapshot, lost});
  const auto take_it_away = [&] {
    world.primary->before_each([](const StoreCall& call) {
      if (call.op == StoreOp::list) throw base::IoError("the disk is gone", 0);
    });
  };
  EXPECT_THROW(world.prune(take_it_away), base::IoError);
  world.primary->before_each([](const StoreCall&) {});
  world.sync();
  EXPECT_TRUE(world.mirror_files->find_size({Kind::snapshot, lost}));
  EXPECT_THAT(world.mirror_errors(), IsEmpty());
  world.prune();
  world.sync();
  EXPECT_FALSE(world.mirror_files->find_size({Kind::snapshot, lost}));
  EXPECT_EQ(world.difference(), "");
}

}  // namespace
}  // namespace davit::jobs
