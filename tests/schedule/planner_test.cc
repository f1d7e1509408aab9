#include "schedule/planner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

namespace davit::schedule {
namespace {

using namespace std::chrono;
using base::format_utc;
using base::parse_rfc3339;
using base::Zone;
using testing::ElementsAre;
using testing::IsEmpty;

const Time kStart = parse_rfc3339("2026-11-21T18:00:00Z");

Entry entry(const std::string& name, const char* schedule, Time since = kStart) {
  Entry result;
  result.name = name;
  result.schedule = Schedule::parse(schedule, Zone(), name);
  result.since = since;
  return result;
}
std::vector<std::string> names(const std::vector<Planner::Due>& due) {
  std::vector<std::string> result;
  for (const auto& each : due) result.push_back(each.name);
  return result;
}

TEST(Planner, ARunBeginsWhenItIsDue) {
  Planner planner;
  planner.put(entry("v", "@hourly"), kStart);
  EXPECT_THAT(planner.due(kStart), IsEmpty());
  EXPECT_THAT(planner.due(kStart + minutes(59)), IsEmpty());
  const auto due = planner.due(kStart + hours(1));
  EXPECT_THAT(names(due), ElementsAre("v"));
  EXPECT_EQ(due[0].due, kStart + hours(1));
  EXPECT_THAT(planner.due(kStart + hours(1)), IsEmpty()) << "it runs";
  planner.finished(Work::backup, "v");
  EXPECT_THAT(planner.due(kStart + hours(1) + minutes(1)), IsEmpty()) << "it ran";
  EXPECT_EQ(planner.next_run(Work::backup, "v", kStart + hours(1)), kStart + hours(2));
}

TEST(Planner, DowntimeIsMadeUpForOnce) {
  Planner planner;
  Entry v = entry("v", "@hourly", kStart - days(30));
  v.last_attempt = v.last_success = kStart - days(3);
  planner.put(v, kStart);
  EXPECT_EQ(planner.due(kStart).size(), 1u);
  planner.finished(Work::backup, "v");
  EXPECT_THAT(planner.due(kStart + minutes(59)), IsEmpty());
  EXPECT_EQ(planner.due(kStart + minutes(60)).size(), 1u);
}

TEST(Planner, ANewVolumeHasMissedNothing) {
  Planner planner;
  planner.put(entry("v", "@daily"), kStart);
  EXPECT_THAT(planner.due(kStart + hours(5)), IsEmpty());
  EXPECT_EQ(planner.due(kStart + hours(6)).size(), 1u);
}

TEST(Planner, WhatCameDueDuringARunIsOneRunAfterIt) {
  Planner planner;
  planner.put(entry("v", "*/15 * * * *"), kStart);
  EXPECT_EQ(planner.due(kStart + minutes(15)).size(), 1u);
  for (int m = 16; m < 70; ++m) EXPECT_THAT(planner.due(kStart + minutes(m)), IsEmpty());
  planner.finished(Work::backup, "v");
  EXPECT_EQ(planner.due(kStart + minutes(70)).size(), 1u);
  planner.finished(Work::backup, "v");
  EXPECT_THAT(planner.due(kStart + minutes(71)), IsEmpty());
  EXPECT_EQ(planner.due(kStart + minutes(75)).size(), 1u);
}

TEST(Planner, WhoWaitedLongestBeginsFirst) {
  Planner planner(Limits{.jobs = 1});
  planner.put(entry("often", "* * * * *"), kStart);
  planner.put(entry("rare", "5 * * * *"), kStart);
  EXPECT_THAT(names(planner.due(kStart + minutes(1))), ElementsAre("often"));
  planner.finished(Work::backup, "often");
  // Both wait at 18:06; `often` since 18:02, `rare` since 18:05.
  EXPECT_THAT(names(planner.due(kStart + minutes(6))), ElementsAre("often"));
  planner.finished(Work::backup, "often");
  EXPECT_THAT(names(planner.due(kStart + minutes(7))), ElementsAre("rare"));
}

TEST(Planner, NoMoreThanTheLimitAtOnce) {
  Planner planner;
  for (const char* name : {"a", "b", "c"}) planner.put(entry(name, "@hourly"), kStart);
  Entry prune = entry("repository", "@hourly");
  prune.work = Work::prune;
  planner.put(prune, kStart);
  const Time now = kStart + hours(1);
  EXPECT_THAT(names(planner.due(now)), ElementsAre("a", "b", "repository"))
      << "maintenance has a place of its own";
  EXPECT_THAT(planner.due(now), IsEmpty());
  planner.finished(Work::backup, "b");
  EXPECT_THAT(names(planner.due(now)), ElementsAre("c"));
  planner.set_limits(Limits{.jobs = 3});
  EXPECT_TRUE(planner.begin(Work::backup, "by hand", now));
  EXPECT_EQ(planner.running(false), 3u);
}

TEST(Planner, AFailedRunWaitsForItsNextTimeButNotAfterARestart) {
  Entry v = entry("v", "@daily", kStart - days(9));
  v.last_success = kStart - days(2);
  v.last_attempt = kStart - hours(18);  // today's failed
  Planner planner;
  planner.put(v, kStart);
  EXPECT_EQ(planner.due(kStart).size(), 1u);
  planner.finished(Work::backup, "v");  // fails again: the daemon stays up
  EXPECT_THAT(planner.due(kStart + hours(5)), IsEmpty());
  EXPECT_EQ(planner.due(kStart + hours(6)).size(), 1u);
}

TEST(Planner, ARunThatEndedTheProcessIsNotRepeatedAtOnce) {
  Entry v = entry("v", "@daily", kStart - days(9));
  v.last_success = kStart - days(2);
  v.last_attempt = kStart - seconds(10);
  Planner planner;
  planner.put(v, kStart);
  EXPECT_THAT(planner.due(kStart), IsEmpty());
  EXPECT_THAT(planner.due(kStart + minutes(4)), IsEmpty());
  EXPECT_EQ(planner.due(kStart + minutes(5)).size(), 1u);
}

TEST(Planner, ARunByHandNeverOverlapsAndCounts) {
  Planner planner;
  planner.put(entry("v", "@every 1h"), kStart);
  EXPECT_TRUE(planner.begin(Work::backup, "v", kStart + minutes(30)));
  EXPECT_FALSE(planner.begin(Work::backup, "v", kStart + minutes(31)));
  EXPECT_THAT(planner.due(kStart + minutes(89)), IsEmpty());
  planner.finished(Work::backup, "v");
  EXPECT_THAT(planner.due(kStart + minutes(89)), IsEmpty()) << "@every counts from the last run";
  EXPECT_EQ(planner.due(kStart + minutes(90)).size(), 1u);
}

TEST(Planner, ASmallStepBackOfTheClockRepeatsNothing) {
  Planner planner;
  planner.put(entry("v", "@hourly"), kStart);
  EXPECT_EQ(planner.due(kStart + hours(1)).size(), 1u);
  planner.finished(Work::backup, "v");
  EXPECT_THAT(planner.due(kStart + minutes(58)), IsEmpty());
  EXPECT_THAT(planner.due(kStart + hours(1)), IsEmpty());
  EXPECT_THAT(planner.due(kStart + hours(1) + minutes(30)), IsEmpty());
  EXPECT_EQ(planner.due(kStart + hours(2)).size(), 1u);
}

TEST(Planner, ALargeStepBackDoesNotStall) {
  for (const char* schedule : {"@hourly", "@every 1h"}) {
    Planner planner;
    planner.put(entry("v", schedule), kStart + days(900));
    EXPECT_EQ(planner.due(kStart + days(900)).size(), 1u) << schedule;
    planner.finished(Work::backup, "v");
    // The clock ran 900 days ahead, and is put right.
    EXPECT_THAT(planner.due(kStart), IsEmpty()) << schedule;
    EXPECT_THAT(planner.due(kStart + minutes(59)), IsEmpty()) << schedule;
    EXPECT_EQ(planner.due(kStart + hours(1)).size(), 1u) << schedule;
  }
  // The same after a restart, when the notes lie in the future.
  Planner planner;
  Entry v = entry("v", "@hourly", kStart + days(800));
  v.last_attempt = v.last_success = kStart + days(900);
  planner.put(v, kStart);
  EXPECT_THAT(planner.due(kStart), IsEmpty());
  EXPECT_EQ(planner.due(kStart + hours(1)).size(), 1u);
}

TEST(Planner, SchedulesChangeWhileTheyRun) {
  Planner planner;
  planner.put(entry("v", "@hourly"), kStart);
  EXPECT_EQ(planner.due(kStart + hours(1)).size(), 1u);
  planner.put(entry("v", "*/10 * * * *"), kStart + minutes(75));
  planner.finished(Work::backup, "v");
  EXPECT_THAT(planner.due(kStart + minutes(76)), IsEmpty())
      << "the new schedule has missed nothing";
  EXPECT_EQ(planner.due(kStart + minutes(80)).size(), 1u);
  planner.finished(Work::backup, "v");
  planner.put(entry("v", "off"), kStart + minutes(81));
  EXPECT_THAT(planner.due(kStart + days(400)), IsEmpty());
  EXPECT_FALSE(planner.next_run(Work::backup, "v", kStart));
}

TEST(Planner, TheSameScheduleAgainChangesNothing) {
  Planner planner;
  planner.put(entry("v", "@hourly"), kStart);
  for (int m = 1; m < 60; ++m) planner.set_all({entry("v", "@hourly")}, kStart + minutes(m));
  EXPECT_EQ(planner.due(kStart + hours(1)).size(), 1u);
}

TEST(Planner, ARemovedEntryIsForgottenOnceItsRunEnds) {
  Planner planner(Limits{.jobs = 1});
  planner.put(entry("v", "@hourly"), kStart);
  EXPECT_EQ(planner.due(kStart + hours(1)).size(), 1u);
  planner.set_all({entry("w", "@hourly")}, kStart + minutes(61));
  EXPECT_TRUE(planner.is_running(Work::backup, "v"));
  EXPECT_THAT(planner.due(kStart + hours(2)), IsEmpty()) << "its run takes the only place";
  planner.finished(Work::backup, "v");
  EXPECT_FALSE(planner.is_running(Work::backup, "v"));
  EXPECT_THAT(names(planner.due(kStart + hours(3))), ElementsAre("w"));
}

TEST(Planner, JitterIsTheSameAfterARestart) {
  Entry v = entry("v", "@hourly");
  v.jitter = minutes(20);
  const auto begin_of = [&](Time restart) {
    Planner planner;
    planner.put(v, restart);
    return *planner.next_run(Work::backup, "v", restart);
  };
  const Time expected = kStart + hours(1) + spread("v", kStart + hours(1), minutes(20));
  EXPECT_GT(expected, kStart + hours(1));
  EXPECT_EQ(begin_of(kStart), expected);
  EXPECT_EQ(begin_of(kStart + hours(1) + seconds(5)), expected);
}

TEST(Planner, WakesForTheNextRunAndNeverSleepsLong) {
  Planner planner(Limits{.jobs = 1});
  EXPECT_EQ(planner.next_wake(kStart), kStart + Planner::kLongestSleep);
  planner.put(entry("v", "@hourly"), kStart);
  planner.put(entry("w", "@hourly"), kStart);
  EXPECT_EQ(planner.next_wake(kStart), kStart + Planner::kLongestSleep);
  EXPECT_EQ(planner.next_wake(kStart + minutes(59) + seconds(30)), kStart + hours(1));
  EXPECT_EQ(planner.due(kStart + hours(1)).size(), 1u);
  EXPECT_EQ(planner.next_wake(kStart + hours(1)), kStart + hours(1) + Planner::kLongestSleep)
      << "who waits for its turn wakes nobody";
  planner.finished(Work::backup, "v");
  EXPECT_GT(planner.next_wake(kStart + hours(1)), kStart + hours(1));
  EXPECT_LT(planner.next_wake(kStart + hours(1)), kStart + hours(1) + seconds(1));
}

// A week of a busy host with restarts, manual runs, changes and clock corrections: the promises
// hold throughout.
TEST(Planner, KeepsItsPromisesOverARandomWeek) {
  for (unsigned seed = 1; seed <= 10; ++seed) {
    std::mt19937 random(seed);
    const Limits limits{.jobs = 1 + int(random() % 3)};
    auto planner = std::make_unique<Planner>(limits);
    struct State {
      Entry entry;
      std::optional<Time> ends;
    };
    std::map<std::string, State> volumes;
    const char* const kSchedules[] = {"@hourly", "*/20 * * * *", "@every 45m", "@daily",
                                      "30 3,15 * * *"};
    for (int i = 0; i < 8; ++i) {
      const std::string name = "v" + std::to_string(i);
      volumes[name] = {entry(name, kSchedules[random() % 5]), {}};
      if (random() % 2) volumes[name].entry.jitter = minutes(5);
      planner->put(volumes[name].entry, kStart);
    }
    size_t runs = 0;
    for (Time now = kStart; now < kStart + days(7);) {
      for (auto& [name, state] : volumes)
        if (state.ends && *state.ends <= now) {
          planner->finished(Work::backup, name);
          state.entry.last_success = state.entry.last_attempt;
          state.ends.reset();
        }
      if (random() % 400 == 0) {  // a restart: running jobs are lost
        planner = std::make_unique<Planner>(limits);
        now += minutes(random() % 300);
        for (auto& [name, state] : volumes) {
          state.ends.reset();
          planner->put(state.entry, now);
        }
      }
      for (const auto& due : planner->due(now)) {
        State& state = volumes.at(due.name);
        ++runs;
        ASSERT_FALSE(state.ends) << "overlap";
        ASSERT_LE(due.due, now);
        // There was something to do: a due time since what was covered by the last successful run.
        const Time since = state.entry.last_success.value_or(kStart);
        ASSERT_LE(*state.entry.schedule.next(since, since), now)
            << due.name << " " << format_utc(now);
        state.entry.last_attempt = now;
        state.ends = now + seconds(random() % 1500);
      }
      const auto running = std::count_if(volumes.begin(), volumes.end(),
                                         [](const auto& v) { return v.second.ends.has_value(); });
      ASSERT_LE(running, limits.jobs);
      // Nobody waits while there is a place.
      if (running < limits.jobs)
        for (auto& [name, state] : volumes)
          if (!state.ends) {
            const auto next = planner->next_run(Work::backup, name, now);
            ASSERT_TRUE(next && *next > now) << name;
          }
      Time next = planner->next_wake(now);
      ASSERT_GT(next, now);
      for (const auto& [name, state] : volumes)
        if (state.ends) next = std::min(next, std::max(*state.ends, now + seconds(1)));
      now = next;
    }
    EXPECT_GT(runs, 100u);
  }
}

}  // namespace
}  // namespace davit::schedule
