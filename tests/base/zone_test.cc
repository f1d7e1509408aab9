#include "base/zone.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <random>

#include "base/errors.h"
#include "base/files.h"
#include "base/posix_zone.h"
#include "support/skip.h"
#include "support/temp_dir.h"

namespace davit::base {
namespace {

using namespace std::chrono;
using Kind = Zone::Resolved::Kind;

LocalTime wall(int y, unsigned m, unsigned d, int h, int min, int s = 0) {
  const sys_days date = year(y) / month(m) / day(d);
  return LocalTime(date.time_since_epoch() + hours(h) + minutes(min) + seconds(s));
}

// Sets a variable for the life of the guard.
class Environment {
 public:
  Environment(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    value ? setenv(name, value, 1) : unsetenv(name);
  }
  ~Environment() { old_ ? setenv(name_, old_->c_str(), 1) : unsetenv(name_); }

 private:
  const char* name_;
  std::optional<std::string> old_;
};

TEST(Zone, OffsetsAroundTheChangesOfBerlin) {
  const Zone berlin = Zone::find("Europe/Berlin");
  EXPECT_EQ(berlin.offset_at(parse_rfc3339("2026-03-29T00:59:59Z")), hours(1));
  EXPECT_EQ(berlin.offset_at(parse_rfc3339("2026-03-29T01:00:00Z")), hours(2));
  EXPECT_EQ(berlin.offset_at(parse_rfc3339("2026-10-25T00:59:59.999Z")), hours(2));
  EXPECT_EQ(berlin.offset_at(parse_rfc3339("2026-10-25T01:00:00Z")), hours(1));
  EXPECT_EQ(berlin.offset_at(parse_rfc3339("2126-07-01T00:00:00Z")),
            hours(2));  // by the rule, past any table
}

TEST(Zone, OddOffsets) {
  EXPECT_EQ(Zone::find("Asia/Kathmandu").offset_at(parse_rfc3339("2026-01-01T00:00:00Z")),
            minutes(345));
  const Zone lord_howe = Zone::find("Australia/Lord_Howe");
  EXPECT_EQ(lord_howe.offset_at(parse_rfc3339("2026-01-01T00:00:00Z")), hours(11));
  EXPECT_EQ(lord_howe.offset_at(parse_rfc3339("2026-07-01T00:00:00Z")), minutes(630));
}

TEST(Zone, AGapLeadsToTheFirstInstantAfterIt) {
  const auto resolved = Zone::find("America/New_York").from_local(wall(2026, 3, 8, 2, 30));
  EXPECT_EQ(resolved.kind, Kind::gap);
  EXPECT_EQ(format_utc(resolved.first), "2026-03-08T07:00:00Z");
  const auto half_an_hour = Zone::find("Australia/Lord_Howe").from_local(wall(2026, 10, 4, 2, 10));
  EXPECT_EQ(half_an_hour.kind, Kind::gap);
  EXPECT_EQ(format_utc(half_an_hour.first), "2026-10-03T15:30:00Z");
}

TEST(Zone, AnOverlapHasTwoInstants) {
  const auto resolved = Zone::find("America/New_York").from_local(wall(2026, 11, 1, 1, 30));
  EXPECT_EQ(resolved.kind, Kind::overlap);
  EXPECT_EQ(format_utc(resolved.first), "2026-11-01T05:30:00Z");
  EXPECT_EQ(format_utc(resolved.second), "2026-11-01T06:30:00Z");
  const auto half_an_hour = Zone::find("Australia/Lord_Howe").from_local(wall(2026, 4, 5, 1, 45));
  EXPECT_EQ(half_an_hour.kind, Kind::overlap);
  EXPECT_EQ(half_an_hour.second - half_an_hour.first, minutes(30));
}

TEST(Zone, TheEdgesOfGapAndOverlapBelongToTheRightSide) {
  const Zone berlin = Zone::find("Europe/Berlin");
  EXPECT_EQ(berlin.from_local(wall(2026, 3, 29, 1, 59, 59)).kind, Kind::unique);
  EXPECT_EQ(berlin.from_local(wall(2026, 3, 29, 2, 0)).kind, Kind::gap);
  EXPECT_EQ(berlin.from_local(wall(2026, 3, 29, 3, 0)).kind, Kind::unique);
  EXPECT_EQ(berlin.from_local(wall(2026, 10, 25, 1, 59, 59)).kind, Kind::unique);
  EXPECT_EQ(berlin.from_local(wall(2026, 10, 25, 2, 0)).kind, Kind::overlap);
  EXPECT_EQ(berlin.from_local(wall(2026, 10, 25, 3, 0)).kind, Kind::unique);
}

TEST(Zone, ADayThatNeverWasIsAGap) {  // Samoa had no 30 December 2011
  const auto resolved = Zone::find("Pacific/Apia").from_local(wall(2011, 12, 30, 12, 0));
  EXPECT_EQ(resolved.kind, Kind::gap);
  EXPECT_EQ(format_utc(resolved.first), "2011-12-30T10:00:00Z");
}

// Every zone, at random times of three centuries, against the C library (which reads the same files
// its own way).
void expect_same_as_libc(const std::string& directory) {
  std::mt19937_64 random(20261122);
  int zones = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    const std::string name = std::filesystem::relative(entry.path(), directory).string();
    if (!entry.is_regular_file() || name.find('.') != name.npos || name.rfind("right/", 0) == 0)
      continue;
    const auto bytes = find_file(entry.path().string());
    if (!bytes || as_text(*bytes).substr(0, 4) != "TZif") continue;
    ++zones;
    const Zone zone = Zone::find(name, directory);
    const Environment tz("TZ", (":" + entry.path().string()).c_str());
    tzset();
    for (int i = 0; i < 200; ++i) {
      const time_t at =
          static_cast<time_t>(random() % 8'200'000'000ULL) - 2'200'000'000L;  // 1900 to 2160
      tm fields{};
      localtime_r(&at, &fields);
      const Time time{seconds(at)};
      ASSERT_EQ(zone.offset_at(time).count(), fields.tm_gmtoff) << name << " " << format_utc(time);
      // And back: what the wall shows leads to this instant or, in an overlap, to its twin.
      const auto back = zone.from_local(zone.to_local(time));
      ASSERT_TRUE(back.first == time || back.second == time) << name << " " << format_utc(time);
      ASSERT_NE(back.kind, Kind::gap) << name << " " << format_utc(time);
    }
  }
  EXPECT_GT(zones, 300);
}

TEST(Zone, AllZonesAgreeWithTheCLibrary) {
  expect_same_as_libc("/usr/share/zoneinfo");
}

TEST(Zone, SlimFilesAgreeWithTheCLibraryToo) {
  test::TempDir slim;
  const std::string compile =
      "zic -b slim -d " + slim.path() + " /usr/share/zoneinfo/tzdata.zi 2>/dev/null";
  if (std::system(("PATH=$PATH:/usr/sbin " + compile).c_str()) != 0)
    DAVIT_SKIP("no zic or no tzdata.zi here");
  expect_same_as_libc(slim.path());
}

TEST(Zone, UnknownNamesAreRefusedByName) {
  for (const char* name : {"Europe/Berln", "", "../../etc/passwd", "/etc/localtime", "Europe",
                           "zone.tab", "Europe/Berlin\n"})
    EXPECT_THROW(Zone::find(name), UsageError) << name;
  try {
    Zone::find("Europe/Berln");
  } catch (const UsageError& error) {
    EXPECT_STREQ(
        error.what(),
        "time zone 'Europe/Berln' is not known; give a name such as Europe/Berlin, or UTC");
  }
}

TEST(Zone, WithoutZoneDataOnlyUtcWorks) {
  test::TempDir empty;
  EXPECT_EQ(Zone::find("UTC", empty.path()).name(), "UTC");
  for (const std::string& directory : {empty.path(), empty.path() + "/none"}) {
    try {
      Zone::find("Europe/Berlin", directory);
      FAIL();
    } catch (const UsageError& error) {
      EXPECT_NE(std::string(error.what()).find("no zone data"), std::string::npos) << error.what();
    }
  }
}

TEST(Zone, TheLocalZoneIsThatOfTzThenUtc) {
  {
    const Environment tz("TZ", ":Europe/Berlin");
    EXPECT_EQ(Zone::local().name(), "Europe/Berlin");
  }
  {
    const Environment tz("TZ", "CET-1CEST,M3.5.0,M10.5.0/3");
    EXPECT_EQ(Zone::local().offset_at(parse_rfc3339("2026-07-01T00:00:00Z")), hours(2));
    EXPECT_EQ(Zone::local().offset_at(parse_rfc3339("2026-12-01T00:00:00Z")), hours(1));
  }
  {
    const Environment tz("TZ", "");
    EXPECT_EQ(Zone::local().name(), "UTC");
  }
  {
    const Environment tz("TZ", "Atlantis/Center");
    EXPECT_THROW(Zone::local(), UsageError);
  }
}

TEST(Zone, DamagedFilesAreCorruptAtEveryLength) {
  const auto bytes = find_file("/usr/share/zoneinfo/Europe/Berlin");
  ASSERT_TRUE(bytes);
  const std::string_view whole = as_text(*bytes);
  for (size_t length = 0; length < whole.size(); ++length)
    EXPECT_THROW(Zone::from_tzif("x", whole.substr(0, length)), Corrupt) << length;
  std::mt19937 random(7);
  for (int i = 0; i < 3000; ++i) {
    std::string damaged(whole);
    for (int k = 0; k < 3; ++k) damaged[random() % damaged.size()] = static_cast<char>(random());
    try {
      Zone::from_tzif("x", damaged).from_local(wall(2026, 3, 29, 2, 30));
    } catch (const Corrupt&) {
    }
  }
}

TEST(Zone, PosixRules) {
  EXPECT_FALSE(PosixZone::parse(""));
  EXPECT_FALSE(PosixZone::parse("CE-1"));
  EXPECT_FALSE(PosixZone::parse("CET"));
  EXPECT_FALSE(PosixZone::parse("CET-1CEST,M13.5.0,M10.5.0"));
  EXPECT_FALSE(PosixZone::parse("CET-1CEST,M3.5.0"));
  EXPECT_EQ(PosixZone::parse("<+0545>-5:45")->standard, minutes(345));
  EXPECT_EQ(PosixZone::parse("<+1030>-10:30<+11>-11,M10.1.0,M4.1.0")->summer, hours(11));
  // Summer the whole year: no instant is standard time.
  const Zone always = Zone::from_posix("XXX3EDT4,0/0,J365/23");
  for (const char* time : {"2026-01-01T00:00:00Z", "2026-12-31T23:59:59Z", "2027-01-01T04:00:00Z",
                           "2028-07-01T00:00:00Z"})
    EXPECT_EQ(always.offset_at(parse_rfc3339(time)), -hours(4)) << time;
}

}  // namespace
}  // namespace davit::base
