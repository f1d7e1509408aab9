// UTF-8, decoded strictly: no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace davit::repo {

struct CodePoint {
  char32_t value = 0;
  uint8_t size = 0;  // bytes; 0 where there is no valid sequence
};

// The code point at the start of `text`, which must not be empty.
inline CodePoint decode_utf8(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const auto follows = [&](size_t i) { return i < text.size() && (byte(i) & 0xc0) == 0x80; };
  const uint8_t first = byte(0);
  if (first < 0x80) return {first, 1};
  if (first < 0xc2) return {};
  if (first < 0xe0) {
    if (!follows(1)) return {};
    return {static_cast<char32_t>((first & 0x1f) << 6 | (byte(1) & 0x3f)), 2};
  }
  if (first < 0xf0) {
    if (!follows(1) || !follows(2)) return {};
    const char32_t value = (first & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f);
    if (value < 0x800 || (value >= 0xd800 && value < 0xe000)) return {};
    return {value, 3};
  }
  if (first < 0xf5) {
    if (!follows(1) || !follows(2) || !follows(3)) return {};
    const char32_t value =
        (first & 0x07) << 18 | (byte(1) & 0x3f) << 12 | (byte(2) & 0x3f) << 6 | (byte(3) & 0x3f);
    if (value < 0x10000 || value > 0x10ffff) return {};
    return {value, 4};
  }
  return {};
}

// `value` must be a code point that UTF-8 can hold.
inline void append_utf8(std::string& to, char32_t value) {
  const auto put = [&](char32_t byte) { to.push_back(static_cast<char>(byte)); };
  if (value < 0x80) {
    put(value);
  } else if (value < 0x800) {
    put(0xc0 | value >> 6);
    put(0x80 | (value & 0x3f));
  } else if (value < 0x10000) {
    put(0xe0 | value >> 12);
    put(0x80 | (value >> 6 & 0x3f));
    put(0x80 | (value & 0x3f));
  } else {
    put(0xf0 | value >> 18);
    put(0x80 | (value >> 12 & 0x3f));
    put(0x80 | (value >> 6 & 0x3f));
    put(0x80 | (value & 0x3f));
  }
}

inline bool is_surrogate(char32_t value) {
  return value >= 0xd800 && value < 0xe000;
}

}  // namespace davit::repo
