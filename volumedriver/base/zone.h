// Time zones from the system's compiled zone files (TZif, RFC 8536), read by us: date-tz of Debian
// 12 leaves out the rule at the end of a file, so that with "slim" files (Fedora, Alpine) it is an
// hour off for half of every year, and with "fat" ones from 2038 on. Nothing is ever downloaded.
//
// A Zone is an immutable value, cheap to copy; any thread may use it. Without any zone data only
// UTC works.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace davit::base {

// What a clock on the wall shows.
using LocalTime = std::chrono::local_time<std::chrono::nanoseconds>;

class Zone {
 public:
  // UTC.
  Zone();
  // A name such as Europe/Berlin. Looks in `directory`, else in $TZDIR, else where systems keep
  // zone files. Throws UsageError that names the zone and says whether it or all zone data is
  // missing.
  static Zone find(std::string_view name, const std::string& directory = {});
  // $TZ (a name, a path, or a POSIX rule such as CET-1CEST,M3.5.0,M10.5.0/3), else /etc/localtime,
  // else UTC. Throws UsageError where $TZ makes no sense.
  static Zone local();
  // From the bytes of a TZif file; throws Corrupt.
  static Zone from_tzif(std::string name, std::string_view bytes);
  // Throws UsageError.
  static Zone from_posix(std::string_view rule);

  const std::string& name() const;

  // The longest time around an instant in which the offset to UTC is one: [begin, end).
  struct Span {
    Time begin, end;
    std::chrono::seconds offset;  // local minus UTC
  };
  Span span_at(Time time) const;
  std::chrono::seconds offset_at(Time time) const { return span_at(time).offset; }

  LocalTime to_local(Time time) const;

  struct Resolved {
    enum class Kind { unique, gap, overlap };
    Kind kind;
    Time first;   // in a gap: the first instant after it
    Time second;  // in an overlap: the later of the two; else equal to first
  };
  Resolved from_local(LocalTime local) const;

  struct Rules;

 private:
  explicit Zone(std::shared_ptr<const Rules> rules) : rules_(std::move(rules)) {}
  std::shared_ptr<const Rules> rules_;
};

}  // namespace davit::base
