// Repair of a repository that has mirrors: what one of them has whole is never given up.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/errors.h"
#include "support/mirror_world.h"
#include "upkeep/repair.h"

namespace davit::upkeep {
namespace {

using jobs::MirrorWorld;
using store::Kind;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct RepairWithMirror : ::testing::Test {
  RepairWithMirror() {
    world.save(1);
    world.save(10);
    world.sync();
    for (const auto kind : {Kind::data, Kind::snapshot, Kind::index}) {
      const auto ids = test::ids_of(*world.files, kind);
      damaged.push_back({kind, ids.front()});
      world.files->damage(damaged.back(), [](base::Bytes& bytes) { bytes[bytes.size() / 2] ^= 1; });
    }
    options.read_data = true;
    options.forget = true;
  }
  std::map<Kind, std::vector<base::Id>> all_files() {
    std::map<Kind, std::vector<base::Id>> all;
    for (const auto kind : MirrorWorld::kKinds)
      if (kind != Kind::config) all[kind] = test::ids_of(*world.files, kind);
    return all;
  }

  MirrorWorld world;
  std::vector<store::Name> damaged;
  RepairOptions options;
};

TEST_F(RepairWithMirror, TakesWhatTheMirrorHasWhole) {
  for (const bool dry_run : {true, false}) {
    options.dry_run = dry_run;
    const RepairReport report = repair(*world.repository, options);
    EXPECT_THAT(report.lost, IsEmpty());
    EXPECT_THAT(report.snapshots, IsEmpty());
    EXPECT_EQ(report.blobs_lost + report.packs_salvaged + report.index_files_removed, 0u);
    if (dry_run) {
      for (const auto& name : damaged)
        EXPECT_THAT(report.actions, ::testing::Contains(HasSubstr(name.id.hex())));
    }
  }
  EXPECT_EQ(world.difference(), "");
}

TEST_F(RepairWithMirror, WhichIsAwayGivesUpNothing) {
  const auto before = all_files();
  world.mirror->before_each(
      [](const test::StoreCall&) { throw base::IoError("the mirror is away", 0, true); });
  try {
    repair(*world.repository, options);
    ADD_FAILURE() << "repaired";
  } catch (const base::IoError& error) {
    EXPECT_TRUE(error.transient());
    EXPECT_THAT(error.what(), HasSubstr("does not tell now"));
  }
  EXPECT_EQ(all_files(), before);
  world.mirror->before_each([](const test::StoreCall&) {});
  EXPECT_THAT(repair(*world.repository, options).lost, IsEmpty());
  EXPECT_EQ(world.difference(), "");
  world.sync();
  EXPECT_THAT(world.mirror_errors(), IsEmpty());
}

}  // namespace
}  // namespace davit::upkeep
