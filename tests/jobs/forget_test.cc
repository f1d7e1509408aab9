#include "jobs/forget.h"

#include "jobs_fixture.h"

namespace davit::jobs {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class Forget : public JobsFixture {
 protected:
  // One snapshot an hour.
  std::vector<std::string> save(const std::string& name, int count, const volumes::OptionMap& options = {}) {
    rooms().create(name, options);
    std::vector<std::string> made;
    for (int i = 0; i < count; ++i) {
      rooms().write(name, "file", std::to_string(i));
      made.push_back(rooms().backup(name).snapshot);
      clock_.advance(std::chrono::hours(1));
    }
    return made;
  }
  std::vector<std::string> ids(const std::string& volume) {
    std::vector<std::string> all;
    for (const auto& info : rooms().snapshots(volume)) all.push_back(info.id.hex());
    return all;
  }
  bool run_retention() {
    std::atomic<int> ended{0};
    manager().start_removed_retention([&](bool ok) { ended = ok ? 1 : 2; });
    EXPECT_TRUE(test::eventually([&] { return ended != 0; }));
    return ended == 1;
  }
};

TEST_F(Forget, AnIdTakesThatSnapshotAndNoOther) {
  const auto made = save("db", 3);
  const auto groups = manager().forget({.targets = {made[1].substr(0, 10)}, .policy = {}, .dry_run = false});
  ASSERT_THAT(groups, SizeIs(1));
  EXPECT_EQ(groups[0].volume, "db");
  ASSERT_THAT(groups[0].remove, SizeIs(1));
  EXPECT_EQ(groups[0].remove[0].id.hex(), made[1]);
  EXPECT_THAT(ids("db"), ElementsAre(made[0], made[2]));
  EXPECT_THAT(files_in("repository/locks"), IsEmpty());
}

TEST_F(Forget, ADryRunTellsReasonsAndChangesNothing) {
  const auto made = save("db", 3);
  upkeep::Policy policy;
  policy.last = 1;
  const auto groups = manager().forget({.targets = {"db"}, .policy = policy, .dry_run = true});
  ASSERT_THAT(groups, SizeIs(1));
  ASSERT_THAT(groups[0].keep, SizeIs(1));
  EXPECT_EQ(groups[0].keep[0].snapshot.id.hex(), made[2]);
  EXPECT_THAT(groups[0].keep[0].reasons, ElementsAre("last snapshot"));
  EXPECT_THAT(groups[0].remove, SizeIs(2));
  EXPECT_THAT(ids("db"), SizeIs(3));
  manager().forget({.targets = {"db"}, .policy = policy, .dry_run = false});
  EXPECT_THAT(ids("db"), ElementsAre(made[2]));
}

TEST_F(Forget, WithoutTargetsEachVolumesOwnRuleCounts) {
  const auto kept = save("kept", 3);
  const auto short_lived = save("short", 3);
  manager().set_volume_option("short", "keep-last", "1");
  manager().forget({});
  EXPECT_THAT(ids("short"), ElementsAre(short_lived[2]));
  EXPECT_THAT(ids("kept"), SizeIs(3));
}

TEST_F(Forget, WhatWasSavedBeforeARestoreInPlaceStaysForAWhile) {
  const auto made = save("db", 1, {{"keep-last", "1"}});
  rooms().write("db", "file", "precious");
  const auto safety =
      manager().restore({.reference = made[0], .target = "db", .in_place = true, .options = {}}, {}, {}).safety_snapshot;
  clock_.advance(std::chrono::hours(1));
  const auto next = rooms().backup("db").snapshot;
  EXPECT_THAT(ids("db"), ElementsAre(safety, next));
  clock_.advance(std::chrono::hours(24 * 7));
  const auto last = rooms().backup("db").snapshot;
  EXPECT_THAT(ids("db"), ElementsAre(last));
}

TEST_F(Forget, OneBadTargetAmongGoodOnesRemovesNothing) {
  const auto made = save("db", 2);
  EXPECT_THROW(manager().forget({.targets = {made[0], "nobody"}, .policy = {}, .dry_run = false}), base::NotFound);
  EXPECT_THAT(ids("db"), SizeIs(2));
}

TEST_F(Forget, ANameNeverMeansAnotherHostsVolume) {
  const auto made = save("db", 2);
  stop();
  environment_["DAVIT_HOSTNAME"] = "there";
  EXPECT_THAT(refusal([&] { manager().forget({.targets = {"db"}, .policy = {}, .dry_run = false}); }),
              HasSubstr("this host has no snapshots of db"));
  EXPECT_THAT(refusal([&] { manager().forget({.targets = {"here:db"}, .policy = {}, .dry_run = false}); }),
              HasSubstr("one by one"));
  EXPECT_THAT(ids("db"), SizeIs(2));
  manager().forget({.targets = {made[0].substr(0, 8)}, .policy = {}, .dry_run = false});
  EXPECT_THAT(ids("db"), ElementsAre(made[1]));
}

TEST_F(Forget, SnapshotsOfARemovedVolumeStayForTheirTime) {
  save("db", 2, {{"final-backup", "off"}});
  save("other", 1);
  driver().remove("db");
  clock_.advance(std::chrono::hours(24 * 89));
  EXPECT_TRUE(run_retention());
  EXPECT_THAT(ids("db"), SizeIs(2));
  clock_.advance(std::chrono::hours(24 * 2));
  EXPECT_TRUE(run_retention());
  EXPECT_THAT(ids("db"), IsEmpty());
  EXPECT_THAT(ids("other"), SizeIs(1));
  EXPECT_EQ(manager().last_removed_retention().succeeded, clock_.now());
}

TEST_F(Forget, AVolumeThatWasMadeAgainIsNotRemoved) {
  save("db", 2, {{"final-backup", "off"}});
  driver().remove("db");
  rooms().create("db");
  clock_.advance(std::chrono::hours(24 * 365));
  EXPECT_TRUE(run_retention());
  EXPECT_THAT(ids("db"), SizeIs(2));
}

TEST_F(Forget, WhatThisInstallationNeverRemovedIsNotItsToForget) {
  save("db", 1);
  stop();
  // The same host, installed anew: its registry knows nothing.
  base::remove_tree(data() + "/registry");
  base::remove_tree(data() + "/volumes");
  clock_.advance(std::chrono::hours(24 * 365));
  EXPECT_TRUE(run_retention());
  EXPECT_THAT(ids("db"), SizeIs(1));
}

TEST_F(Forget, RetentionThatFailsIsNotedAndTriedAgain) {
  save("db", 1, {{"final-backup", "off"}});
  driver().remove("db");
  base::write_file_atomic(data() + "/state/removed.json", base::as_bytes("not JSON"));
  EXPECT_FALSE(run_retention());
  EXPECT_THAT(manager().last_removed_retention().error, HasSubstr("removed.json"));
  // Nor does that keep volumes from being made and removed.
  rooms().create("next", {{"final-backup", "off"}});
  driver().remove("next");
  EXPECT_FALSE(registry().find("next"));
}

}  // namespace
}  // namespace davit::jobs
