// Time stamps as the repository spells them: RFC 3339 as Go prints and reads it. Years 0 to 9999,
// wider than base::Time.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace davit::repo {

struct CivilTime {
  int64_t seconds = 0;       // since 1970, UTC
  uint32_t nanoseconds = 0;  // counted forward
  int offset_minutes = 0;    // the zone it was or is to be spelled in
};

// The longest: "9999-12-31T23:59:59.999999999+23:59".
inline constexpr size_t kMaxTimeText = 35;

// Writes without a terminating NUL, returns the length. A year outside 0..9999 becomes the nearest
// of them; nothing else changes. No trailing zeros in the fraction; 'Z' for offset 0.
size_t format_time(const CivilTime& time, char* out);
// Nothing when it is no such time. Digits of the fraction beyond the ninth are dropped.
std::optional<CivilTime> parse_time(std::string_view text);

}  // namespace davit::repo
