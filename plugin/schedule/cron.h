// When a volume is to be saved: cron expressions as people know them.
//
//   30 4 * * MON-FRI          five fields: minute hour day-of-month month day-of-week
//   0 30 4 * * *              six: seconds first
//   @hourly @daily @midnight @weekly @monthly @yearly @annually
//   @hourly-random @daily-random @weekly-random @monthly-random @yearly-random
//                             a time that is chosen by the seed (the volume's name) and stays the
//                             same
//   @every 1h30m              from the last run on; h, m and s, at least 1 s
//   CRON_TZ=Europe/Berlin …   or TZ=…: the zone of this schedule
//   off, none, never, empty   never
//
// A field is `*`, a number, a range a-b, a step */n, a-b/n or a/n (from a to the end), a list of
// these with commas; months and days also by name (JAN, MON); `?` in a day field means `*`; Sunday
// is 0 or 7. Where both day fields are restricted (not `*` or `?`), a day that fits either one
// counts.
//
// Summer time: with an hour field that names every hour, time passes as it does for everybody:
// times that the clock jumps over are left out, times that it shows twice run twice. With any other
// hour field each day's time runs exactly once: one that is jumped over at the first instant after
// the gap, one that is shown twice the first time.
//
// A value; pure; any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/zone.h"

namespace davit::schedule {

using base::Time;

class Schedule {
 public:
  // Never.
  Schedule() = default;
  // Throws UsageError that names the field, its value and what is allowed; an expression that no
  // day can fulfil (30 February) is refused too. `seed` settles the -random macros.
  static Schedule parse(std::string_view text, const base::Zone& default_zone,
                        std::string_view seed = {});

  // The first time after `after`; nothing where there is none. @every counts from `anchor` (the
  // last run), or from `after` where there is none.
  std::optional<Time> next(Time after, std::optional<Time> anchor = {}) const;

  bool is_never() const { return kind_ == Kind::never; }
  // As it was given.
  const std::string& text() const { return text_; }
  const base::Zone& zone() const { return zone_; }
  // Equal when they were written alike for the same zone and seed.
  bool operator==(const Schedule& other) const;

  // One bit a value; bit 0 is 0.
  struct Fields {
    uint64_t seconds = 1, minutes = 1;
    uint32_t hours = 1, days = 0, months = 0, weekdays = 0;
    bool days_restricted = false, weekdays_restricted = false;

    bool every_hour() const { return hours == (1u << 24) - 1; }
    bool fits(std::chrono::year_month_day date) const;
    // The first local time at or after `from` that fits; nothing within nine years: never (29
    // February can be eight years away).
    std::optional<std::chrono::local_seconds> first_from(std::chrono::local_seconds from) const;
    bool operator==(const Fields&) const = default;
  };

 private:
  enum class Kind { never, every, fields };
  std::optional<Time> next_by_fields(Time after) const;

  Kind kind_ = Kind::never;
  std::string text_;
  base::Zone zone_;
  std::chrono::seconds every_{0};
  Fields fields_;
};

// "1h30m", "90s", "1.5h"; at least one second and below 10,000 days, whole seconds. Throws
// UsageError in which `what` says what the text was for.
std::chrono::seconds parse_duration(std::string_view text, std::string_view what);

// How long after its due time a run begins, so that not all volumes (or hosts) begin at once: in
// [0, jitter), a function of name and time alone, hence the same after a restart.
std::chrono::nanoseconds spread(std::string_view name, Time due, std::chrono::nanoseconds jitter);

}  // namespace davit::schedule
