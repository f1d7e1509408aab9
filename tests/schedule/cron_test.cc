#include "schedule/cron.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "base/errors.h"

namespace davit::schedule {
namespace {

using namespace std::chrono;
using base::format_utc;
using base::parse_rfc3339;
using base::UsageError;
using base::Zone;
using testing::ElementsAre;
using testing::HasSubstr;

Time at(const char* text) {
  return parse_rfc3339(text);
}

std::vector<std::string> runs(const Schedule& schedule, const char* after, int count) {
  std::vector<std::string> times;
  std::optional<Time> time = at(after);
  while (count-- > 0 && (time = schedule.next(*time))) times.push_back(format_utc(*time));
  return times;
}
std::vector<std::string> runs(const char* text, const char* after, int count,
                              const char* zone = "UTC") {
  return runs(Schedule::parse(text, Zone::find(zone)), after, count);
}

TEST(Cron, FiveFieldsAndSix) {
  EXPECT_THAT(runs("30 4 * * *", "2026-11-21T18:00:00Z", 2),
              ElementsAre("2026-11-22T04:30:00Z", "2026-11-23T04:30:00Z"));
  EXPECT_THAT(runs("15 30 4 * * *", "2026-11-21T18:00:00Z", 1),
              ElementsAre("2026-11-22T04:30:15Z"));
  EXPECT_THAT(runs("*/20 59 23 31 12 *", "2026-12-31T23:59:00Z", 3),
              ElementsAre("2026-12-31T23:59:20Z", "2026-12-31T23:59:40Z", "2027-12-31T23:59:00Z"));
}

TEST(Cron, TheNextTimeIsAlwaysLater) {
  EXPECT_THAT(runs("0 * * * *", "2026-11-21T18:00:00Z", 1), ElementsAre("2026-11-21T19:00:00Z"));
  EXPECT_THAT(runs("0 * * * *", "2026-11-21T17:59:59.999999999Z", 1),
              ElementsAre("2026-11-21T18:00:00Z"));
}

TEST(Cron, NamesListsRangesAndSteps) {
  EXPECT_THAT(runs("0 9-17/4 * JAN,mar MON-Fri", "2026-01-30T10:00:00Z", 4),
              ElementsAre("2026-01-30T13:00:00Z", "2026-01-30T17:00:00Z", "2026-03-02T09:00:00Z",
                          "2026-03-02T13:00:00Z"));
  EXPECT_THAT(runs("50/5 0 1 january ?", "2026-01-01T00:55:00Z", 1),
              ElementsAre("2027-01-01T00:50:00Z"));
  EXPECT_THAT(runs("50/5 0 1 * ?", "2026-01-01T00:00:00Z", 3),
              ElementsAre("2026-01-01T00:50:00Z", "2026-01-01T00:55:00Z", "2026-02-01T00:50:00Z"));
}

TEST(Cron, SundayIsZeroAndSeven) {
  for (const char* text :
       {"0 0 * * 0", "0 0 * * 7", "0 0 * * SUN", "0 0 * * sunday", "0 0 * * 7/2"})
    EXPECT_THAT(runs(text, "2026-11-21T18:00:00Z", 2),
                ElementsAre("2026-11-22T00:00:00Z", "2026-11-29T00:00:00Z"))
        << text;
  for (const char* text : {"0 0 * * 5-7", "0 0 * * FRI-SUN", "0 0 * * 0,5,6"})
    EXPECT_THAT(runs(text, "2026-11-23T00:00:00Z", 4),
                ElementsAre("2026-11-27T00:00:00Z", "2026-11-28T00:00:00Z", "2026-11-29T00:00:00Z",
                            "2026-12-04T00:00:00Z"))
        << text;
}

TEST(Cron, EitherDayFieldWhereBothAreRestricted) {
  EXPECT_THAT(runs("0 0 13 * FRI", "2026-11-01T00:00:00Z", 5),
              ElementsAre("2026-11-06T00:00:00Z", "2026-11-13T00:00:00Z", "2026-11-20T00:00:00Z",
                          "2026-11-27T00:00:00Z", "2026-12-04T00:00:00Z"));
  EXPECT_THAT(runs("0 0 13 * ?", "2026-11-01T00:00:00Z", 2),
              ElementsAre("2026-11-13T00:00:00Z", "2026-12-13T00:00:00Z"));
  EXPECT_THAT(runs("0 0 ? * FRI", "2026-11-01T00:00:00Z", 1), ElementsAre("2026-11-06T00:00:00Z"));
}

TEST(Cron, LeapDays) {
  EXPECT_THAT(runs("0 0 29 2 *", "2026-01-01T00:00:00Z", 2),
              ElementsAre("2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"));
  EXPECT_THAT(runs("0 0 29 2 *", "2096-03-01T00:00:00Z", 1), ElementsAre("2104-02-29T00:00:00Z"));
}

TEST(Cron, Macros) {
  EXPECT_THAT(runs("@hourly", "2026-11-21T18:10:00Z", 1), ElementsAre("2026-11-21T19:00:00Z"));
  for (const char* text : {"@daily", "@midnight", "@Daily"})
    EXPECT_THAT(runs(text, "2026-11-21T18:10:00Z", 1), ElementsAre("2026-11-22T00:00:00Z")) << text;
  EXPECT_THAT(runs("@weekly", "2026-11-22T00:00:00Z", 1), ElementsAre("2026-11-29T00:00:00Z"));
  EXPECT_THAT(runs("@monthly", "2026-11-21T18:10:00Z", 1), ElementsAre("2026-12-01T00:00:00Z"));
  for (const char* text : {"@yearly", "@annually"})
    EXPECT_THAT(runs(text, "2026-11-21T18:10:00Z", 1), ElementsAre("2027-01-01T00:00:00Z")) << text;
}

TEST(Cron, OffIsNever) {
  for (const char* text : {"", "  ", "off", "none", "Never"}) {
    const Schedule schedule = Schedule::parse(text, Zone());
    EXPECT_TRUE(schedule.is_never()) << text;
    EXPECT_FALSE(schedule.next(at("2026-11-21T18:00:00Z")));
  }
  EXPECT_FALSE(Schedule::parse("@daily", Zone()).is_never());
}

TEST(Cron, EveryCountsFromTheLastRun) {
  const Schedule every = Schedule::parse("@every 1h30m", Zone());
  const Time last = at("2026-11-21T18:07:00Z");
  EXPECT_EQ(format_utc(*every.next(last, last)), "2026-11-21T19:37:00Z");
  EXPECT_EQ(format_utc(*every.next(at("2026-11-21T19:37:00Z"), last)), "2026-11-21T21:07:00Z");
  EXPECT_EQ(format_utc(*every.next(at("2026-11-21T23:00:00Z"), last)), "2026-11-22T00:07:00Z");
  EXPECT_EQ(format_utc(*every.next(last)), "2026-11-21T19:37:00Z");
  // The anchor lies ahead: the clock was set back by ten days. It does not stall for ten days.
  EXPECT_LE(*every.next(last - days(10), last), last - days(10) + minutes(90));
}

TEST(Cron, Durations) {
  EXPECT_EQ(parse_duration("1h30m", "x"), minutes(90));
  EXPECT_EQ(parse_duration("90s", "x"), seconds(90));
  EXPECT_EQ(parse_duration("1.5h", "x"), minutes(90));
  EXPECT_EQ(parse_duration("0h1m1s", "x"), seconds(61));
  for (const char* text : {"", "1", "h", "-1h", "0s", "0.9s", "500ms", "1d", "1h 30m",
                           "99999999999999999999h", "1h.m"})
    EXPECT_THROW(parse_duration(text, "x"), UsageError) << text;
}

TEST(Cron, AZoneInFront) {
  EXPECT_THAT(runs("CRON_TZ=Asia/Kathmandu 0 6 * * *", "2026-11-21T18:00:00Z", 1),
              ElementsAre("2026-11-22T00:15:00Z"));
  EXPECT_THAT(runs("TZ=UTC @daily", "2026-11-21T18:00:00Z", 1, "America/New_York"),
              ElementsAre("2026-11-22T00:00:00Z"));
  EXPECT_THAT(runs("@daily", "2026-11-21T18:00:00Z", 1, "America/New_York"),
              ElementsAre("2026-11-22T05:00:00Z"));
}

TEST(Cron, InAGapADailyTimeRunsOnceAtItsEnd) {
  EXPECT_THAT(runs("30 2 * * *", "2026-03-28T00:00:00Z", 3, "Europe/Berlin"),
              ElementsAre("2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"));
  EXPECT_THAT(runs("*/15 2 * * *", "2026-03-08T06:00:00Z", 2, "America/New_York"),
              ElementsAre("2026-03-08T07:00:00Z", "2026-03-09T06:00:00Z"))
      << "four times within the gap are one run";
  EXPECT_THAT(runs("15 2 * * *", "2026-10-03T12:00:00Z", 2, "Australia/Lord_Howe"),
              ElementsAre("2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"));
  EXPECT_THAT(runs("0 2,3 * * *", "2026-03-28T12:00:00Z", 2, "Europe/Berlin"),
              ElementsAre("2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"));
  // Where summer begins at midnight, @daily still has its run.
  EXPECT_THAT(runs("@daily", "2026-04-23T12:00:00Z", 2, "Africa/Cairo"),
              ElementsAre("2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z"));
}

TEST(Cron, InAnOverlapADailyTimeRunsOnce) {
  EXPECT_THAT(runs("30 2 * * *", "2026-10-24T12:00:00Z", 2, "Europe/Berlin"),
              ElementsAre("2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"));
  EXPECT_THAT(runs("30 2 * * *", "2026-10-25T01:10:00Z", 1, "Europe/Berlin"),
              ElementsAre("2026-10-26T01:30:00Z"))
      << "asked between the two 02:30";
  EXPECT_THAT(runs("45 1 * * *", "2026-04-04T12:00:00Z", 2, "Australia/Lord_Howe"),
              ElementsAre("2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"));
}

TEST(Cron, AWildcardHourRunsThroughBoth) {
  EXPECT_THAT(runs("*/30 * * * *", "2026-10-25T00:00:00Z", 5, "Europe/Berlin"),
              ElementsAre("2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z",
                          "2026-10-25T02:00:00Z", "2026-10-25T02:30:00Z"));
  EXPECT_THAT(runs("@hourly", "2026-03-29T00:00:00Z", 2, "Europe/Berlin"),
              ElementsAre("2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"));
  EXPECT_THAT(runs("*/15 * * * *", "2026-04-04T14:20:00Z", 5, "Australia/Lord_Howe"),
              ElementsAre("2026-04-04T14:30:00Z", "2026-04-04T14:45:00Z", "2026-04-04T15:00:00Z",
                          "2026-04-04T15:15:00Z", "2026-04-04T15:30:00Z"));
}

// An oracle of its own: each minute of the real time, or of the wall's time, is looked at one by
// one.
struct Case {
  const char* text;
  bool (*fits)(year_month_day date, unsigned weekday, long hour, long minute);
  bool every_hour;
};
const Case kCases[] = {
    {"*/15 * * * *", [](auto, auto, long, long m) { return m % 15 == 0; }, true},
    {"7 * * * 1-5", [](auto, unsigned w, long, long m) { return m == 7 && w >= 1 && w <= 5; },
     true},
    {"30 1,2 * * *", [](auto, auto, long h, long m) { return m == 30 && (h == 1 || h == 2); },
     false},
    {"0 */2 * * *", [](auto, auto, long h, long m) { return m == 0 && h % 2 == 0; }, false},
    {"5 0 1,15 * SAT",
     [](year_month_day d, unsigned w, long h, long m) {
       return m == 5 && h == 0 && (unsigned(d.day()) == 1 || unsigned(d.day()) == 15 || w == 6);
     },
     false},
    {"59 23 31 * *",
     [](year_month_day d, auto, long h, long m) {
       return m == 59 && h == 23 && unsigned(d.day()) == 31;
     },
     false},
};

bool fits(const Case& c, base::LocalTime local) {
  const auto date = floor<days>(local);
  const auto minute = floor<minutes>(local - date).count();
  return c.fits(year_month_day(date), weekday(date).c_encoding(), minute / 60, minute % 60);
}

TEST(Cron, AgreesWithLookingAtEveryMinuteOfAYear) {
  const Time begin = at("2026-01-01T00:00:00Z"), end = at("2027-01-01T00:00:00Z");
  for (const char* name :
       {"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"}) {
    const Zone zone = Zone::find(name);
    for (const Case& c : kCases) {
      std::set<Time> expected;
      if (c.every_hour) {
        for (Time t = begin + minutes(1); t <= end; t += minutes(1))
          if (fits(c, zone.to_local(t))) expected.insert(t);
      } else {
        for (auto local = zone.to_local(begin) - days(1); local < zone.to_local(end) + days(1);
             local += minutes(1))
          if (fits(c, local)) expected.insert(zone.from_local(local).first);
        std::erase_if(expected, [&](Time t) { return t <= begin || t > end; });
      }
      std::set<Time> found;
      const Schedule schedule = Schedule::parse(c.text, zone);
      for (auto t = schedule.next(begin); t && *t <= end; t = schedule.next(*t)) found.insert(*t);
      EXPECT_EQ(found, expected) << name << " " << c.text;
      // From any instant the answer is the next of that list.
      std::mt19937_64 random(5);
      for (int i = 0; i < 200; ++i) {
        const Time from = begin + seconds(random() % (300 * 86400));
        EXPECT_EQ(*schedule.next(from), *expected.upper_bound(from))
            << name << " " << c.text << " " << format_utc(from);
      }
    }
  }
}

std::string refusal(const char* text) {
  try {
    Schedule::parse(text, Zone());
    return "accepted";
  } catch (const UsageError& error) {
    return error.what();
  }
}

TEST(Cron, RefusalsNameFieldValueAndWhatIsAllowed) {
  EXPECT_EQ(refusal("0 25 * * *"),
            "schedule '0 25 * * *': hour '25' is not allowed; allowed are 0-23, *, ranges a-b, "
            "steps /n, lists with commas");
  EXPECT_THAT(refusal("61 * * * *"), HasSubstr("minute '61'"));
  EXPECT_THAT(refusal("61 * * * * *"), HasSubstr("second '61'"));
  EXPECT_THAT(refusal("0 0 0 * *"), HasSubstr("day-of-month '0'"));
  EXPECT_THAT(refusal("0 0 1 FOO *"), HasSubstr("month 'FOO'"));
  EXPECT_THAT(refusal("0 0 1,x * *"), HasSubstr("day-of-month 'x' in '1,x'"));
  EXPECT_THAT(refusal("0 0 * * 8"), HasSubstr("day-of-week '8'"));
  EXPECT_THAT(refusal("0 17-9 * * *"), HasSubstr("a range goes upward"));
  EXPECT_THAT(refusal("*/0 * * * *"), HasSubstr("a step is from 1 to 60"));
  EXPECT_THAT(refusal("0 ? * * *"), HasSubstr("hour '?'"));
  EXPECT_THAT(refusal("* * *"), HasSubstr("it has 3 fields"));
  EXPECT_THAT(refusal("@fortnightly"), HasSubstr("'@fortnightly' is none of @hourly"));
  EXPECT_THAT(refusal("@every"), HasSubstr("no duration"));
  EXPECT_THAT(refusal("@every 10ms"), HasSubstr("no duration"));
  EXPECT_THAT(refusal("CRON_TZ=Mars/Base 0 0 * * *"), HasSubstr("time zone 'Mars/Base'"));
  EXPECT_THAT(refusal("TZ=UTC"), HasSubstr("after the zone"));
  for (const char* text : {"0 0 30 2 *", "0 0 31 4,6,9,11 *"})
    EXPECT_THAT(refusal(text), HasSubstr("no day is ever like this")) << text;
  for (const char* text :
       {"1- * * * *", "-1 * * * *", ", * * * *", "1, * * * *", "*/ * * * *", "1/2/3 * * * *",
        "1-2-3 * * * *", "** * * * *", "0 0 * * MONX", "99999999999 * * * *", "0x1 * * * *"})
    EXPECT_THAT(refusal(text), HasSubstr("is not allowed")) << text;
}

TEST(Cron, RandomMacrosAreStableAndSpreadOut) {
  std::set<std::string> daily, weekly;
  for (int i = 0; i < 200; ++i) {
    const std::string volume = "volume" + std::to_string(i);
    const Schedule schedule = Schedule::parse("@daily-random", Zone(), volume);
    const auto times = runs(schedule, "2026-11-21T00:00:00Z", 3);
    EXPECT_EQ(times[1].substr(11), times[0].substr(11));
    EXPECT_EQ(times,
              runs(Schedule::parse("@daily-random", Zone(), volume), "2026-11-21T00:00:00Z", 3));
    daily.insert(times[0].substr(11, 2));
    weekly.insert(
        runs(Schedule::parse("@weekly-random", Zone(), volume), "2026-11-21T00:00:00Z", 1)[0]
            .substr(0, 10));
  }
  EXPECT_EQ(daily.size(), 24u);
  EXPECT_GE(weekly.size(), 7u);
  // Never to change: a new release must not move everybody's backups.
  EXPECT_THAT(runs(Schedule::parse("@daily-random", Zone(), "pgdata"), "2026-11-21T00:00:00Z", 1),
              ElementsAre("2026-11-21T17:13:40Z"));
}

TEST(Cron, TheSpreadIsStableAndBelowTheJitter) {
  const Time due = at("2026-11-21T18:00:00Z");
  std::set<nanoseconds> offsets;
  for (int i = 0; i < 500; ++i) {
    const auto offset = spread("v" + std::to_string(i), due, minutes(10));
    EXPECT_GE(offset, nanoseconds(0));
    EXPECT_LT(offset, minutes(10));
    EXPECT_EQ(offset, spread("v" + std::to_string(i), due, minutes(10)));
    offsets.insert(floor<minutes>(offset));
  }
  EXPECT_EQ(offsets.size(), 10u);
  EXPECT_NE(spread("v", due, hours(1)), spread("v", due + hours(1), hours(1)));
  EXPECT_EQ(spread("v", due, seconds(0)), nanoseconds(0));
}

}  // namespace
}  // namespace davit::schedule
