#include "upkeep/retention.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "base/errors.h"

namespace davit::upkeep {
namespace {

using namespace std::chrono;
using base::parse_rfc3339;
using base::Time;
using base::UsageError;
using testing::ElementsAre;
using testing::HasSubstr;

const Time kNow = parse_rfc3339("2026-11-22T12:00:00Z");

base::Id id_of(int number) {
  base::Id id;
  id.bytes[0] = static_cast<uint8_t>(number >> 8);
  id.bytes[1] = static_cast<uint8_t>(number);
  return id;
}
Candidate at(int number, const char* time, int offset_minutes = 0,
             std::vector<std::string> tags = {}) {
  return {id_of(number), parse_rfc3339(time), offset_minutes, std::move(tags)};
}
// The numbers of what stays, newest first.
std::vector<int> kept(const Decision& decision) {
  std::vector<int> numbers;
  for (const auto& keep : decision.keep)
    numbers.push_back(keep.id.bytes[0] << 8 | keep.id.bytes[1]);
  return numbers;
}
std::vector<int> kept(const std::vector<Candidate>& candidates,
                      const std::map<std::string, std::string>& options) {
  return kept(apply(candidates, Policy::parse(options), kNow));
}

TEST(Retention, AnEmptyPolicyKeepsEverything) {
  const std::vector<Candidate> all{at(1, "2026-11-20T00:00:00Z"), at(2, "2026-11-21T00:00:00Z")};
  EXPECT_THAT(kept(all, {}), ElementsAre(2, 1));
  EXPECT_THAT(apply(all, Policy{}, kNow).keep[0].reasons, ElementsAre("policy is empty"));
}

TEST(Retention, TheNewestOfEachDayStays) {
  const std::vector<Candidate> all{at(1, "2026-11-18T09:00:00Z"), at(2, "2026-11-19T09:00:00Z"),
                                   at(3, "2026-11-19T21:00:00Z"), at(4, "2026-11-21T09:00:00Z"),
                                   at(5, "2026-11-21T08:00:00Z")};
  EXPECT_THAT(kept(all, {{"keep-daily", "2"}}), ElementsAre(4, 3))
      << "days without a snapshot do not count";
  EXPECT_THAT(kept(all, {{"keep-last", "1"}, {"keep-daily", "3"}}), ElementsAre(4, 3, 1));
}

TEST(Retention, TheOldestStaysWhileCountsAreLeft) {
  const std::vector<Candidate> all{at(1, "2026-11-01T09:00:00Z"), at(2, "2026-11-10T09:00:00Z"),
                                   at(3, "2026-11-20T09:00:00Z")};
  const Decision decision = apply(all, Policy::parse({{"keep-yearly", "2"}}), kNow);
  EXPECT_THAT(kept(decision), ElementsAre(3, 1));
  EXPECT_THAT(decision.keep[1].reasons, ElementsAre("oldest yearly snapshot"));
  EXPECT_THAT(kept(all, {{"keep-yearly", "1"}}), ElementsAre(3));
}

TEST(Retention, DaysAreThoseOfTheSnapshotsOwnZone) {
  // 23:30 and 00:30 in Berlin are two days there, one in UTC.
  const auto night = [](int offset) {
    return std::vector<Candidate>{at(1, "2026-07-01T12:00:00Z", offset),
                                  at(2, "2026-07-01T21:30:00Z", offset),
                                  at(3, "2026-07-01T22:30:00Z", offset)};
  };
  EXPECT_THAT(kept(night(0), {{"keep-daily", "1"}}), ElementsAre(3));
  EXPECT_THAT(kept(night(120), {{"keep-daily", "2"}}), ElementsAre(3, 2));
  EXPECT_THAT(kept(night(-720), {{"keep-hourly", "9"}}), ElementsAre(3, 2, 1));
}

TEST(Retention, WeeksAreThoseOfIso) {
  // 2027-01-03 is a Sunday of week 53 of 2026; 2026-12-28 its Monday.
  const std::vector<Candidate> all{at(1, "2026-12-27T09:00:00Z"), at(2, "2026-12-28T09:00:00Z"),
                                   at(3, "2027-01-03T09:00:00Z"), at(4, "2027-01-04T09:00:00Z")};
  EXPECT_THAT(kept(all, {{"keep-weekly", "3"}}), ElementsAre(4, 3, 1));
}

TEST(Retention, WithinCountsBackFromTheNewestThatIsNotInTheFuture) {
  const std::vector<Candidate> all{at(1, "2026-03-02T23:59:59Z"), at(2, "2026-03-03T00:00:01Z"),
                                   at(3, "2026-03-31T00:00:00Z"), at(4, "2026-12-24T00:00:00Z")};
  // A month before 31 March is 31 February, which is 3 March.
  EXPECT_THAT(kept(all, {{"keep-within", "1m"}}), ElementsAre(4, 3, 2));
  EXPECT_THAT(kept(all, {{"keep-within", "1h"}}), ElementsAre(4, 3))
      << "the future is always young enough";
  EXPECT_THAT(kept(all, {{"keep-within-monthly", "2m"}}), ElementsAre(4, 3, 1))
      << "the oldest stays";
}

TEST(Retention, TagsKeepAlways) {
  const std::vector<Candidate> all{at(1, "2026-11-01T09:00:00Z", 0, {"gold", "safe"}),
                                   at(2, "2026-11-02T09:00:00Z", 0, {"gold"}),
                                   at(3, "2026-11-03T09:00:00Z"), at(4, "2026-11-04T09:00:00Z")};
  EXPECT_THAT(kept(all, {{"keep-tag", "gold"}, {"keep-last", "1"}}), ElementsAre(4, 2, 1));
  EXPECT_THAT(kept(all, {{"keep-tag", "safe,gold"}}), ElementsAre(1));
  EXPECT_THAT(kept(all, {{"keep-tag", "safe gold"}}), ElementsAre(2, 1));
}

TEST(Retention, APolicyNeverRemovesAll) {
  const std::vector<Candidate> all{at(1, "2026-11-01T09:00:00Z"), at(2, "2026-11-02T09:00:00Z")};
  const Decision decision = apply(all, Policy::parse({{"keep-tag", "gold"}}), kNow);
  EXPECT_TRUE(decision.refused);
  EXPECT_THAT(kept(decision), ElementsAre(2, 1));
  EXPECT_TRUE(decision.remove.empty());
  EXPECT_FALSE(apply({}, Policy::parse({{"keep-last", "1"}}), kNow).refused);
}

TEST(Retention, EveryCandidateIsDecidedOnceAndKeptOnesHaveReasons) {
  std::mt19937 random(11);
  for (int round = 0; round < 300; ++round) {
    std::vector<Candidate> all;
    const int count = 1 + static_cast<int>(random() % 60);
    for (int i = 0; i < count; ++i)
      all.push_back({id_of(i),
                     kNow - hours(random() % (24 * 365 * 4)) + hours(48),
                     int(random() % 1600) - 800,
                     {}});
    Policy policy;
    for (int Policy::*member : {&Policy::last, &Policy::hourly, &Policy::daily, &Policy::weekly,
                                &Policy::monthly, &Policy::yearly})
      if (random() % 3 == 0) policy.*member = int(random() % 8) - 1;
    if (random() % 4 == 0)
      policy.within = CalendarDuration{0, int(random() % 20), int(random() % 9), 1};
    const Decision decision = apply(all, policy, kNow);
    EXPECT_EQ(decision.keep.size() + decision.remove.size(), all.size());
    EXPECT_FALSE(decision.keep.empty());
    EXPECT_FALSE(decision.refused) << policy.to_string();
    std::set<base::Id> seen(decision.remove.begin(), decision.remove.end());
    for (const auto& keep : decision.keep) {
      EXPECT_FALSE(keep.reasons.empty());
      seen.insert(keep.id);
    }
    EXPECT_EQ(seen.size(), all.size());
    // What was removed is never missed: applying the policy to the rest removes nothing but what
    // the oldest rule kept.
    std::vector<Candidate> rest;
    for (const Candidate& candidate : all)
      if (std::find(decision.remove.begin(), decision.remove.end(), candidate.id) ==
          decision.remove.end())
        rest.push_back(candidate);
    EXPECT_TRUE(apply(rest, policy, kNow).remove.empty()) << policy.to_string();
  }
}

TEST(Retention, TimesAtTheEdgeOfWhatAClockHolds) {
  const std::vector<Candidate> all{at(1, "1678-01-01T00:00:00Z", 840),
                                   at(2, "2261-12-31T23:59:59Z", -840),
                                   at(3, "2026-11-01T00:00:00Z")};
  EXPECT_THAT(kept(all, {{"keep-within", "100000y"}}), ElementsAre(2, 3));
  EXPECT_THAT(kept(all, {{"keep-within", "100000m100000d100000h"}, {"keep-yearly", "9"}}),
              ElementsAre(2, 3, 1));
}

TEST(Retention, SnapshotsOfARemovedVolumeStayForTheirTime) {
  const std::vector<Candidate> all{at(1, "2026-01-01T00:00:00Z"), at(2, "2026-08-01T00:00:00Z")};
  const Time removed = parse_rfc3339("2026-08-02T00:00:00Z");
  EXPECT_EQ(apply_to_removed(all, 90, removed, removed + days(90) - seconds(1)).keep.size(), 2u);
  EXPECT_EQ(apply_to_removed(all, 90, removed, removed + days(90)).remove.size(), 2u);
  EXPECT_EQ(apply_to_removed(all, 0, removed, removed + days(9000)).keep.size(), 2u)
      << "0 is for ever";
  EXPECT_EQ(apply_to_removed(all, 90, {}, all[1].time + days(90) - seconds(1)).keep.size(), 2u);
  EXPECT_EQ(apply_to_removed(all, 90, {}, all[1].time + days(90)).keep.size(), 0u);
  EXPECT_EQ(
      apply_to_removed(all, 1, parse_rfc3339("2026-01-01T00:00:00Z"), all[1].time).keep.size(), 2u)
      << "a last backup that came later is not older than itself";
  EXPECT_TRUE(apply_to_removed({}, 90, {}, kNow).keep.empty());
}

TEST(Retention, OptionsBecomeAPolicyAndText) {
  const Policy policy = Policy::parse({{"keep-daily", "7"},
                                       {"keep-yearly", "unlimited"},
                                       {"keep-monthly", "-1"},
                                       {"keep-within", "2h1y5m7d"},
                                       {"keep-within-weekly", "3m"},
                                       {"keep-tag", "a,b c"},
                                       {"keep-last", ""},
                                       {"schedule", "@daily"}});
  EXPECT_EQ(policy.daily, 7);
  EXPECT_EQ(policy.yearly, Policy::kAll);
  EXPECT_EQ(policy.to_string(),
            "keep-daily=7 keep-monthly=unlimited keep-yearly=unlimited keep-within=1y5m7d2h "
            "keep-within-weekly=3m "
            "keep-tag=a,b keep-tag=c");
  EXPECT_EQ(Policy{}.to_string(), "keep everything");
  EXPECT_TRUE(Policy::parse({{"keep-daily", "0"}}).empty());
}

TEST(Retention, BadOptionsAreRefusedByName) {
  const auto refusal = [](const char* key, const char* value) -> std::string {
    try {
      Policy::parse({{key, value}});
      return "accepted";
    } catch (const UsageError& error) {
      return error.what();
    }
  };
  EXPECT_EQ(
      refusal("keep-daily", "seven"),
      "keep-daily 'seven' is not allowed: give a number of snapshots, or -1 or unlimited for all");
  for (const char* bad : {"-2", "1.5", "7 ", "99999999999", "+1"})
    EXPECT_THAT(refusal("keep-daily", bad), HasSubstr("is not allowed")) << bad;
  for (const char* bad : {"7", "1w", "d", "1d1d", "-1d", "1d ", "0d", "999999999999d"})
    EXPECT_THAT(refusal("keep-within", bad), HasSubstr("is no duration")) << bad;
  EXPECT_THAT(refusal("keep-dayly", "7"),
              HasSubstr("'keep-dayly' is no rule of retention; known are keep-last"));
  EXPECT_THAT(refusal("keep-tag", "a,,b"), HasSubstr("empty tag"));
}

}  // namespace
}  // namespace davit::upkeep
