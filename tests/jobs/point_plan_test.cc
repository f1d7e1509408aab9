// What is saved together: pure decisions about labels and connections.
#include "jobs/point_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/errors.h"
#include "jobs/labels.h"

namespace davit::jobs {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

engine::Container container(const std::string& name, const std::vector<std::string>& volumes,
                            const std::string& commit = "true") {
  engine::Container made;
  made.id = "id of " + name;
  made.name = name;
  made.state = "running";
  if (!commit.empty()) made.labels["davit.commit"] = commit;
  for (const auto& volume : volumes) made.volumes.push_back({volume, "davit:latest", "/" + volume});
  return made;
}

std::vector<std::string> names(const PointPlan& plan) {
  std::vector<std::string> all = plan.volumes;
  for (const auto& each : plan.containers) all.push_back("c:" + each.name);
  return all;
}

const std::set<std::string> kVolumes{"a", "b", "c", "d"};

TEST(PointPlan, AVolumeThatNobodyCommittedUsesIsAlone) {
  const std::vector<engine::Container> all{container("web", {"b"}), container("other", {"a"}, "")};
  EXPECT_THAT(names(plan_around_volume("a", all, kVolumes, CommitMode::labelled)), ElementsAre("a"));
  EXPECT_THAT(names(plan_around_volume("a", all, kVolumes, CommitMode::all)), ElementsAre("a", "c:other"));
  EXPECT_THAT(names(plan_around_volume("b", all, kVolumes, CommitMode::none)), ElementsAre("b"));
}

TEST(PointPlan, FollowsConnectionsInAnyOrderOfTheList) {
  const std::vector<engine::Container> all{container("cd", {"c", "d"}), container("bc", {"b", "c"}),
                                           container("ab", {"a", "b", "unknown"}), container("none", {})};
  EXPECT_THAT(names(plan_around_volume("a", all, kVolumes, CommitMode::labelled)),
              ::testing::UnorderedElementsAre("a", "b", "c", "d", "c:ab", "c:bc", "c:cd"));
  EXPECT_THAT(names(plan_around_container("id of none", all, kVolumes, CommitMode::labelled)), ElementsAre("c:none"));
  EXPECT_THAT(names(plan_around_container("id of nobody", all, kVolumes, CommitMode::labelled)), IsEmpty());
}

TEST(PointPlan, AContainerThatRefusesConnectsNothingUnlessItIsAskedFor) {
  const std::vector<engine::Container> all{container("ab", {"a", "b"}, "FALSE"), container("bc", {"b", "c"})};
  EXPECT_THAT(names(plan_around_volume("a", all, kVolumes, CommitMode::all)), ElementsAre("a"));
  EXPECT_THAT(names(plan_around_container("id of ab", all, kVolumes, CommitMode::labelled)),
              ::testing::UnorderedElementsAre("a", "b", "c", "c:ab", "c:bc"));
}

TEST(PointPlan, VolumesOfOtherDriversAreNotOurs) {
  engine::Container local = container("web", {"a"});
  local.volumes[0].driver = "local";
  EXPECT_THAT(volumes_of(local, kVolumes), IsEmpty());
  EXPECT_THAT(volumes_of(container("web", {"b", "a", "b", "x"}), kVolumes), ElementsAre("a", "b"));
}

TEST(PointPlan, WhatIsBeingRemovedIsNotCommitted) {
  engine::Container dead = container("web", {"a"});
  dead.state = "removing";
  EXPECT_FALSE(is_committed(dead, CommitMode::all));
}

TEST(Labels, AreReadAndWhatCannotBeFollowedIsTold) {
  const auto validate = [](const volumes::OptionMap& options, const std::string&) {
    for (const auto& [key, value] : options)
      if (value == "bad") throw base::UsageError(key + " is bad");
  };
  const auto good = read_labels({{"davit.commit", "yes"},
                                 {"davit.schedule", "@hourly"},
                                 {"davit.keep-daily", "7"},
                                 {"davit.keep-images", "3"},
                                 {"davit.point", "0123456789abcdef"},
                                 {"other", "label"}},
                                "web", validate);
  EXPECT_EQ(good.options, (volumes::OptionMap{{"schedule", "@hourly"}, {"keep-daily", "7"}}));
  EXPECT_EQ(good.keep_images, 3u);
  EXPECT_EQ(good.problem, "");
  const auto bad = read_labels(
      {{"davit.commit", "maybe"}, {"davit.schedule", "bad"}, {"davit.keep-images", "-1"}, {"davit.keep-last", "2"}}, "web",
      validate);
  EXPECT_EQ(bad.options, (volumes::OptionMap{{"keep-last", "2"}})) << "the others count";
  EXPECT_EQ(bad.keep_images, 0u);
  for (const char* part : {"davit.commit", "schedule is bad", "davit.keep-images"}) EXPECT_THAT(bad.problem, HasSubstr(part));
}

}  // namespace
}  // namespace davit::jobs
