// The text of a cron expression's five or six fields.
#pragma once

#include <string>
#include <string_view>

#include "schedule/cron.h"

namespace davit::schedule {

// `context` opens the message of the UsageError.
Schedule::Fields parse_fields(std::string_view text, const std::string& context);

inline bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}
inline bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
std::string_view trim(std::string_view text);
std::string lower(std::string_view text);

}  // namespace davit::schedule
