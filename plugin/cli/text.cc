#include "cli/text.h"

#include <cmath>
#include <cstdio>
#include <ctime>

#include "base/bytes.h"
#include "base/errors.h"

namespace davit::cli {

namespace {

const Json* find(const Json& message, const char* field) {
  if (!message.is_object()) return nullptr;
  const auto found = message.find(field);
  return found == message.end() ? nullptr : &*found;
}

// The length of the UTF-8 character at the start of `text`, 0 when there is none.
size_t character_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xc2 && first < 0xe0   ? 2
                        : first >= 0xe0 && first < 0xf0 ? 3
                        : first >= 0xf0 && first < 0xf5 ? 4
                                                        : 0;
  if (length == 0 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xc0) != 0x80) return 0;
  if (first == 0xe0 && byte(1) < 0xa0) return 0;  // overlong
  if (first == 0xed && byte(1) > 0x9f) return 0;  // surrogates
  if (first == 0xf0 && byte(1) < 0x90) return 0;
  if (first == 0xf4 && byte(1) > 0x8f) return 0;
  return length;
}

// Characters that change how a terminal shows what follows: C1 controls, and those that turn the
// writing direction.
bool is_unsafe(std::string_view character) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(character[i]); };
  if (character.size() == 2) return byte(0) == 0xc2 && byte(1) < 0xa0;
  if (character.size() == 3 && byte(0) == 0xe2)
    return (byte(1) == 0x80 && byte(2) >= 0xa8 && byte(2) <= 0xae) ||
           (byte(1) == 0x81 && byte(2) >= 0xa6 && byte(2) <= 0xa9);
  return false;
}

std::string format(const char* pattern, auto... values) {
  char text[96];
  std::snprintf(text, sizeof text, pattern, values...);
  return text;
}

std::optional<base::Time> parse_time(const std::string& rfc3339) {
  try {
    return base::parse_rfc3339(rfc3339);
  } catch (const base::Error&) {
    return std::nullopt;
  }
}

}  // namespace

std::string text(const Json& message, const char* field) {
  const Json* value = find(message, field);
  return value != nullptr && value->is_string() ? value->get<std::string>() : std::string();
}

uint64_t number(const Json& message, const char* field) {
  const Json* value = find(message, field);
  return value != nullptr && value->is_number_unsigned() ? value->get<uint64_t>() : 0;
}

double real(const Json& message, const char* field) {
  const Json* value = find(message, field);
  return value != nullptr && value->is_number() ? value->get<double>() : 0;
}

bool flag(const Json& message, const char* field) {
  const Json* value = find(message, field);
  return value != nullptr && value->is_boolean() && value->get<bool>();
}

const Json& object(const Json& message, const char* field) {
  static const Json kEmpty = Json::object();
  const Json* value = find(message, field);
  return value != nullptr && value->is_object() ? *value : kEmpty;
}

std::vector<std::string> texts(const Json& message, const char* field) {
  std::vector<std::string> values;
  const Json* list = find(message, field);
  if (list == nullptr || !list->is_array()) return values;
  for (const Json& value : *list)
    if (value.is_string()) values.push_back(value.get<std::string>());
  return values;
}

std::string bytes(const Json& message, const char* field) {
  const std::string encoded = text(message, (std::string(field) + "_base64").c_str());
  if (!encoded.empty()) {
    try {
      return std::string(base::as_text(base::from_base64(encoded)));
    } catch (const base::Corrupt&) {  // then the text has to do
    }
  }
  return text(message, field);
}

std::string printable(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const size_t length = character_length(text);
    const unsigned char first = static_cast<unsigned char>(text[0]);
    const std::string_view character = text.substr(0, length == 0 ? 1 : length);
    text.remove_prefix(character.size());
    if (first == '\n') {
      result += "\\n";
    } else if (first == '\t') {
      result += "\\t";
    } else if (length == 0 || first < 0x20 || first == 0x7f || is_unsafe(character)) {
      for (const char byte : character)
        result += format("\\x%02x", static_cast<unsigned char>(byte));
    } else {
      result += character;
    }
  }
  return result;
}

size_t display_width(std::string_view text) {
  size_t columns = 0;
  for (const char byte : text) columns += (static_cast<unsigned char>(byte) & 0xc0) != 0x80;
  return columns;
}

std::string cut_to_width(std::string_view text, size_t columns) {
  size_t at = 0;
  while (at < text.size()) {
    if ((static_cast<unsigned char>(text[at]) & 0xc0) != 0x80) {
      if (columns == 0) break;
      --columns;
    }
    ++at;
  }
  return std::string(text.substr(0, at));
}

std::string local_time(const std::string& rfc3339) {
  const auto time = parse_time(rfc3339);
  if (!time) return printable(rfc3339);
  const std::time_t seconds =
      std::chrono::floor<std::chrono::seconds>(*time).time_since_epoch().count();
  std::tm fields{};
  if (::localtime_r(&seconds, &fields) == nullptr) return printable(rfc3339);
  char text[64];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &fields);
  return text;
}

std::string relative_time(const std::string& rfc3339, base::Time now) {
  const auto time = parse_time(rfc3339);
  if (!time) return printable(rfc3339);
  const bool past = *time <= now;
  const auto gap = past ? now - *time : *time - now;
  const int64_t seconds = std::chrono::floor<std::chrono::seconds>(gap).count();
  std::string amount;
  if (seconds < 60)
    amount = format("%lld s", static_cast<long long>(seconds));
  else if (seconds < 3600)
    amount = format("%lld min", static_cast<long long>(seconds / 60));
  else if (seconds < 48 * 3600)
    amount = format("%lld h", static_cast<long long>(seconds / 3600));
  else
    amount = format("%lld days", static_cast<long long>(seconds / 86400));
  return past ? amount + " ago" : "in " + amount;
}

std::string clock_text(int64_t seconds) {
  if (seconds < 0) seconds = 0;
  const auto hours = static_cast<long long>(seconds / 3600);
  const int minutes = static_cast<int>(seconds / 60 % 60), rest = static_cast<int>(seconds % 60);
  return hours > 0 ? format("%lld:%02d:%02d", hours, minutes, rest)
                   : format("%d:%02d", minutes, rest);
}

std::string duration_text(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e12) return "?";
  if (seconds < 10) return format("%.1f s", seconds);
  const auto whole = static_cast<long long>(std::llround(seconds));
  if (whole < 60) return format("%lld s", whole);
  if (whole < 3600) return format("%lld min %lld s", whole / 60, whole % 60);
  return format("%lld h %lld min", whole / 3600, whole / 60 % 60);
}

std::string count_text(uint64_t count) {
  std::string digits = std::to_string(count);
  for (size_t at = digits.size(); at > 3;) digits.insert(at -= 3, 1, ',');
  return digits;
}

std::string counted(uint64_t count, const char* one, const char* many) {
  return count_text(count) + " " + (count == 1 ? one : many);
}

std::string short_id(const std::string& id) {
  return printable(id.substr(0, 8));
}

}  // namespace davit::cli
