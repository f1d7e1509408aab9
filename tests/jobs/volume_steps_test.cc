#include "jobs/volume_steps.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace davit::jobs {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Action = VolumeStep::Action;
using Mode = RestoreContainerRequest::Volumes;
using volumes::State;

const std::map<std::string, std::string> kPoint{{"data", "snap"}};

VolumesPlan plan(const VolumesThere& there, Mode mode = Mode::automatic, bool is_copy = false,
                 NeededVolume volume = {"data", "davit", {"/data"}, false}) {
  return plan_volumes({volume}, mode, is_copy ? "copy" : "web", is_copy, kPoint, there);
}

TEST(VolumeSteps, AMissingOneIsMadeFromThePoint) {
  const auto made = plan({});
  ASSERT_EQ(made.steps.size(), 1u);
  EXPECT_EQ(made.steps[0].action, Action::make);
  EXPECT_EQ(made.steps[0].snapshot, "snap");
  EXPECT_EQ(made.steps[0].name, "data");
}

TEST(VolumeSteps, OneThatIsThereIsKeptAndTheEngineToldOfIt) {
  EXPECT_EQ(plan({{{"data", "davit"}}, {{"data", State::ready}}, {}}).steps[0].action, Action::keep);
  EXPECT_EQ(plan({{}, {{"data", State::ready}}, {}}).steps[0].action, Action::adopt);
  EXPECT_EQ(plan({{{"data", "local"}}, {}, {}}).steps[0].action, Action::keep) << "not davit's, and not touched";
}

TEST(VolumeSteps, OneThatIsThereIsReplacedOnlyWhereThatIsSaid) {
  const VolumesThere there{{{"data", "davit"}}, {{"data", State::ready}}, {}};
  EXPECT_EQ(plan(there, Mode::keep).steps[0].action, Action::keep);
  EXPECT_EQ(plan(there, Mode::point).steps[0].action, Action::replace);
  const auto used = plan({{{"data", "davit"}}, {{"data", State::ready}}, {{"data", "web"}}}, Mode::point);
  EXPECT_THAT(used.conflicts, ElementsAre(HasSubstr("in use by web")));
  EXPECT_THAT(used.steps, IsEmpty());
}

TEST(VolumeSteps, ACopyGetsItsOwnUnlessToldOtherwise) {
  const VolumesThere there{{{"data", "davit"}}, {{"data", State::ready}}, {{"data", "web"}}};
  const auto copy = plan(there, Mode::automatic, true);
  EXPECT_EQ(copy.steps[0].name, "copy-data");
  EXPECT_EQ(copy.steps[0].action, Action::make);
  EXPECT_EQ(plan(there, Mode::keep, true).steps[0].name, "data");
  const auto taken = plan({{{"copy-data", "local"}}, {}, {}}, Mode::automatic, true);
  EXPECT_THAT(taken.conflicts, ElementsAre(HasSubstr("a volume copy-data already")));
  const auto foreign = plan({{{"other", "local"}}, {}, {}}, Mode::automatic, true, {"other", "local", {"/o"}, false});
  EXPECT_EQ(foreign.steps[0].name, "other");
  EXPECT_THAT(foreign.notes, ElementsAre(HasSubstr("the copy shares it")));
}

TEST(VolumeSteps, WhatNobodySavedMustBeThere) {
  const NeededVolume other{"other", "local", {"/o"}, false};
  EXPECT_THAT(plan({}, Mode::automatic, false, other).conflicts, ElementsAre(HasSubstr("other is missing")));
  EXPECT_THAT(plan({}, Mode::automatic, true, other).conflicts, ElementsAre(HasSubstr("other is missing")));
}

TEST(VolumeSteps, AnAnonymousOneIsNewWhereItIsGone) {
  const std::string name(64, 'f');
  const NeededVolume anonymous{name, "local", {"/cache"}, true};
  const auto fresh = plan({}, Mode::automatic, false, anonymous);
  EXPECT_EQ(fresh.steps[0].action, Action::fresh);
  EXPECT_EQ(fresh.steps[0].name, "");
  EXPECT_THAT(fresh.notes, ElementsAre(HasSubstr("/cache")));
  EXPECT_EQ(plan({{{name, "local"}}, {}, {}}, Mode::automatic, false, anonymous).steps[0].action, Action::keep);
  EXPECT_EQ(plan({{{name, "local"}}, {}, {}}, Mode::automatic, true, anonymous).steps[0].action, Action::fresh);
}

TEST(VolumeSteps, OneThatIsNotWholeIsAConflict) {
  EXPECT_THAT(plan({{}, {{"data", State::failed}}, {}}).conflicts, ElementsAre(HasSubstr("failed")));
  EXPECT_THAT(plan({{}, {{"data", State::restoring}}, {}}).conflicts, ElementsAre(HasSubstr("davit wait data")));
}

}  // namespace
}  // namespace davit::jobs
