// Time that tests can set. Everything that decides by the hour of the day takes a Clock.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

namespace davit::base {

// UTC, nanoseconds since 1970.
using Time = std::chrono::sys_time<std::chrono::nanoseconds>;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual Time now() const = 0;
};

class SystemClock : public Clock {
 public:
  Time now() const override { return std::chrono::system_clock::now(); }
};

// RFC 3339 with 'Z' and a fraction only where it is not 0: "2026-11-21T18:00:00Z".
std::string format_utc(Time time);
// RFC 3339 with a zone ('Z' or ±hh:mm), any fraction up to nanoseconds; throws UsageError.
Time parse_rfc3339(std::string_view text);

}  // namespace davit::base
