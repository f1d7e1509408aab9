// A SHA-256 value as the repository uses it: the name of a blob or of a file.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace davit::base {

struct Id {
  std::array<uint8_t, 32> bytes{};

  auto operator<=>(const Id&) const = default;
  bool is_zero() const { return *this == Id{}; }
  std::string hex() const { return base::hex(bytes); }
  // The first 8 digits, as restic shows snapshots.
  std::string short_hex() const { return base::hex(ByteView(bytes).first(4)); }
  // Exactly 64 lower-case digits, else nothing: readers ignore files of any other name.
  static std::optional<Id> parse(std::string_view digits) {
    if (digits.size() != 64) return std::nullopt;
    Id id;
    for (size_t i = 0; i < 64; ++i) {
      const char c = digits[i];
      int value;
      if (c >= '0' && c <= '9') value = c - '0';
      else if (c >= 'a' && c <= 'f') value = c - 'a' + 10;
      else return std::nullopt;
      id.bytes[i / 2] = static_cast<uint8_t>(id.bytes[i / 2] << 4 | value);
    }
    return id;
  }
};

}  // namespace davit::base

template <>
struct std::hash<davit::base::Id> {
  size_t operator()(const davit::base::Id& id) const noexcept {
    size_t value;
    std::memcpy(&value, id.bytes.data(), sizeof value);  // uniformly distributed already
    return value;
  }
};
