// Words and figures for people. Everything that came from the daemon goes through printable() on
// its way to a terminal: names in a volume are any bytes, and bytes can move a cursor or set a
// title. Pure functions.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"

namespace davit::cli {

using Json = nlohmann::json;

// Fields of a message: what is absent or of another type is "", 0, false, so that no answer can
// make the client fail.
std::string text(const Json& message, const char* field);
uint64_t number(const Json& message, const char* field);
double real(const Json& message, const char* field);
bool flag(const Json& message, const char* field);
const Json& object(const Json& message, const char* field);  // an empty object where there is none
std::vector<std::string> texts(const Json& message, const char* field);
// text(), or the bytes of FIELD_base64 where they are given.
std::string bytes(const Json& message, const char* field);

// Control characters and what is not UTF-8 as \n, \t, \xNN.
std::string printable(std::string_view text);
// Columns on a terminal, one a character; for what printable() made.
size_t display_width(std::string_view text);
// At most so many columns, cut at the end.
std::string cut_to_width(std::string_view text, size_t columns);

// "2026-11-21 18:00:00" in the local zone; what is no RFC 3339 time comes as it is, printable; ""
// stays.
std::string local_time(const std::string& rfc3339);
// "2 h ago", "in 12 min".
std::string relative_time(const std::string& rfc3339, base::Time now);
// "0:06", "1:02:03".
std::string clock_text(int64_t seconds);
// "0.4 s", "12 s", "3 min 5 s", "2 h 10 min".
std::string duration_text(double seconds);
// "1,234,567"
std::string count_text(uint64_t count);
// count_text() with the word in its number: "1 file", "2 files".
std::string counted(uint64_t count, const char* one, const char* many);
// The first 8 digits.
std::string short_id(const std::string& id);

}  // namespace davit::cli
