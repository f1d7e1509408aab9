#include "volumes/name.h"

#include <algorithm>

#include "base/errors.h"

namespace davit::volumes {

namespace {

constexpr size_t kLongest = 255;  // NAME_MAX: the name is a directory's

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// A name as it may stand in a message: whatever an engine passed on, without control characters,
// and short.
std::string shown(std::string_view name) {
  std::string text;
  for (const char c : name.substr(0, 64)) text += c >= 0x20 && c < 0x7f ? c : '?';
  if (name.size() > 64) text += "...";
  return text;
}

}  // namespace

bool is_valid_name(std::string_view name) {
  return !name.empty() && name.size() <= kLongest && is_letter_or_digit(name.front()) &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return is_letter_or_digit(c) || c == '_' || c == '.' || c == '-';
         });
}

void validate_name(std::string_view name) {
  if (is_valid_name(name)) return;
  if (name.empty()) throw base::UsageError("the volume has no name");
  if (name.size() > kLongest)
    throw base::UsageError("the volume name '" + shown(name) + "' is longer than 255 bytes");
  throw base::UsageError(
      "'" + shown(name) +
      "' cannot be a volume's name: it must begin with a letter or digit and hold only "
      "letters, digits, '_', '.' and '-'");
}

bool is_anonymous(std::string_view name) {
  return name.size() == 64 && std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

}  // namespace davit::volumes
