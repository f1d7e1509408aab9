// The POSIX form of a zone's rule ("CET-1CEST,M3.5.0,M10.5.0/3"), as TZif files end with it (RFC
// 8536 §3.3.1).
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace davit::base {

struct PosixZone {
  struct Day {
    enum class Kind { julian_without_leap_day, day_of_year, weekday_of_month };
    Kind kind = Kind::day_of_year;
    int day = 0;  // J1..J365, 0..365, or the weekday 0..6
    int week = 0, month = 0;
    std::chrono::seconds time{7200};  // after midnight; may be negative or over a day
  };
  struct Change {
    std::chrono::sys_seconds at;
    bool to_summer;
  };

  // Nothing where the text is no such rule.
  static std::optional<PosixZone> parse(std::string_view text);
  // The changes of the years from `first` to `last`, in order.
  std::vector<Change> changes(int first, int last) const;

  std::chrono::seconds standard{0};  // local minus UTC (the text has the opposite sign)
  std::chrono::seconds summer{0};
  bool has_summer = false;
  Day summer_begins, summer_ends;
};

}  // namespace davit::base
