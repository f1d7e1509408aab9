#include "base/bytes.h"

#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstdio>

#include "base/errors.h"

namespace davit::base {

static_assert(std::endian::native == std::endian::little, "the loads and stores assume little endian");

void trim(Bytes& bytes, size_t keep_bytes) {
  static const uintptr_t page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  if (bytes.capacity() <= keep_bytes) return;
  const uintptr_t start = reinterpret_cast<uintptr_t>(bytes.data());
  const uintptr_t from = (start + keep_bytes + page - 1) / page * page;
  const uintptr_t to = (start + bytes.capacity()) / page * page;
  // Whole pages, and nobody else's. Where the system does not want them, nothing is lost.
  if (from < to) ::madvise(reinterpret_cast<void*>(from), to - from, MADV_DONTNEED);
}

std::string hex(ByteView bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text(bytes.size() * 2, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) {
    text[2 * i] = kDigits[bytes[i] >> 4];
    text[2 * i + 1] = kDigits[bytes[i] & 15];
  }
  return text;
}

namespace {

int hex_digit(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
  return -1;
}

constexpr char kBase64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::array<int8_t, 256> make_base64_values() {
  std::array<int8_t, 256> values{};
  for (auto& value : values) value = -1;
  for (int i = 0; i < 64; ++i) values[static_cast<uint8_t>(kBase64[i])] = static_cast<int8_t>(i);
  return values;
}
constexpr auto kBase64Values = make_base64_values();

}  // namespace

Bytes from_hex(std::string_view digits) {
  if (digits.size() % 2 != 0) throw UsageError("a hexadecimal text has an even number of digits");
  Bytes bytes(digits.size() / 2);
  for (size_t i = 0; i < bytes.size(); ++i) {
    const int high = hex_digit(digits[2 * i]);
    const int low = hex_digit(digits[2 * i + 1]);
    if (high < 0 || low < 0) throw UsageError("not a hexadecimal text");
    bytes[i] = static_cast<uint8_t>(high << 4 | low);
  }
  return bytes;
}

std::string base64(ByteView bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  size_t i = 0;
  for (; i + 3 <= bytes.size(); i += 3) {
    const uint32_t group = uint32_t{bytes[i]} << 16 | uint32_t{bytes[i + 1]} << 8 | bytes[i + 2];
    for (int shift = 18; shift >= 0; shift -= 6) text += kBase64[group >> shift & 63];
  }
  if (const size_t rest = bytes.size() - i; rest == 1) {
    text += kBase64[bytes[i] >> 2];
    text += kBase64[(bytes[i] & 3) << 4];
    text += "==";
  } else if (rest == 2) {
    text += kBase64[bytes[i] >> 2];
    text += kBase64[(bytes[i] & 3) << 4 | bytes[i + 1] >> 4];
    text += kBase64[(bytes[i + 1] & 15) << 2];
    text += '=';
  }
  return text;
}

Bytes from_base64(std::string_view text) {
  if (text.size() % 4 != 0) throw Corrupt("a base64 text has a wrong length");
  Bytes bytes;
  bytes.reserve(text.size() / 4 * 3);
  for (size_t i = 0; i < text.size(); i += 4) {
    const bool last = i + 4 == text.size();
    const int padding = last ? (text[i + 3] == '=') + (text[i + 2] == '=' && text[i + 3] == '=') : 0;
    uint32_t group = 0;
    for (int j = 0; j < 4; ++j) {
      const int value = j >= 4 - padding ? 0 : kBase64Values[static_cast<uint8_t>(text[i + j])];
      if (value < 0) throw Corrupt("a base64 text has a wrong character");
      group = group << 6 | static_cast<uint32_t>(value);
    }
    bytes.push_back(static_cast<uint8_t>(group >> 16));
    if (padding < 2) bytes.push_back(static_cast<uint8_t>(group >> 8));
    if (padding < 1) bytes.push_back(static_cast<uint8_t>(group));
    const uint32_t unused = padding == 2 ? group & 0xffff : padding == 1 ? group & 0xff : 0;
    if (unused != 0) throw Corrupt("a base64 text has stray bits");
  }
  return bytes;
}

void random_fill(std::span<uint8_t> out) {
  while (!out.empty()) {
    const ssize_t got = ::getrandom(out.data(), out.size(), 0);
    if (got < 0) {
      const int number = errno;
      if (number == EINTR) continue;
      throw_errno("getrandom", number);
    }
    out = out.subspan(static_cast<size_t>(got));
  }
}

double random_fraction() {
  std::array<uint8_t, 8> raw;
  random_fill(raw);
  return static_cast<double>(load_le64(raw.data()) >> 11) * 0x1p-53;
}

std::string make_uuid() {
  std::array<uint8_t, 16> raw;
  random_fill(raw);
  raw[6] = static_cast<uint8_t>((raw[6] & 0x0f) | 0x40);
  raw[8] = static_cast<uint8_t>((raw[8] & 0x3f) | 0x80);
  std::string text = hex(raw);
  for (const size_t position : {8, 13, 18, 23}) text.insert(position, 1, '-');
  return text;
}

std::string human_size(uint64_t size_bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(size_bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) value /= 1024, ++unit;
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
  return text;
}

}  // namespace davit::base
