#include "repo/json_writer.h"

#include <array>
#include <charconv>
#include <string>

#include "repo/printable.h"
#include "repo/utf8.h"

namespace davit::repo {
namespace {

constexpr char kHex[] = "0123456789abcdef";

// Bytes that stand for themselves both in JSON strings and in quoted names.
constexpr std::array<bool, 256> kPlain = [] {
  std::array<bool, 256> plain{};
  for (int byte = 0x20; byte < 0x7f; ++byte) plain[byte] = true;
  for (char special : {'"', '\\', '<', '>', '&'}) plain[static_cast<uint8_t>(special)] = false;
  return plain;
}();

size_t plain_prefix(std::string_view text) {
  size_t size = 0;
  while (size < text.size() && kPlain[static_cast<uint8_t>(text[size])]) ++size;
  return size;
}

constexpr std::array<std::array<char, 2>, 256> kHexPairs = [] {
  std::array<std::array<char, 2>, 256> pairs{};
  for (int byte = 0; byte < 256; ++byte) pairs[byte] = {kHex[byte >> 4], kHex[byte & 15]};
  return pairs;
}();

void append_hex_escape(std::string& to, char kind, char32_t value, int digits) {
  to += '\\';
  to += kind;
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) to += kHex[value >> shift & 15];
}

// The effect of Go's strconv.Quote, without the quotes around.
std::string quote(std::string_view bytes) {
  std::string quoted;
  quoted.reserve(bytes.size() + 16);
  while (!bytes.empty()) {
    const CodePoint point = decode_utf8(bytes);
    if (point.size == 0) {
      append_hex_escape(quoted, 'x', static_cast<uint8_t>(bytes[0]), 2);
      bytes.remove_prefix(1);
      continue;
    }
    const char32_t value = point.value;
    if (value == '"' || value == '\\') {
      quoted += '\\';
      quoted += static_cast<char>(value);
    } else if (is_printable(value)) {
      quoted += bytes.substr(0, point.size);
    } else if (value >= 7 && value <= 13) {
      quoted += '\\';
      quoted += "abtnvfr"[value - 7];
    } else if (value < 0x80) {
      append_hex_escape(quoted, 'x', value, 2);
    } else if (value < 0x10000) {
      append_hex_escape(quoted, 'u', value, 4);
    } else {
      append_hex_escape(quoted, 'U', value, 8);
    }
    bytes.remove_prefix(point.size);
  }
  return quoted;
}

}  // namespace

void JsonWriter::number(uint64_t value) {
  char digits[20];
  const auto result = std::to_chars(digits, digits + sizeof digits, value);
  raw({digits, static_cast<size_t>(result.ptr - digits)});
}

void JsonWriter::signed_number(int64_t value) {
  char digits[21];
  const auto result = std::to_chars(digits, digits + sizeof digits, value);
  raw({digits, static_cast<size_t>(result.ptr - digits)});
}

void JsonWriter::string(std::string_view text) {
  to_.push_back('"');
  for (;;) {
    const size_t plain = plain_prefix(text);
    raw(text.substr(0, plain));
    text.remove_prefix(plain);
    if (text.empty()) break;
    const CodePoint point = decode_utf8(text);
    const char32_t value = point.value;
    if (point.size == 0) {
      raw("\\ufffd");
      text.remove_prefix(1);
      continue;
    }
    if (value == '"')
      raw("\\\"");
    else if (value == '\\')
      raw("\\\\");
    else if (value == '\b')
      raw("\\b");
    else if (value == '\f')
      raw("\\f");
    else if (value == '\n')
      raw("\\n");
    else if (value == '\r')
      raw("\\r");
    else if (value == '\t')
      raw("\\t");
    else if (value < 0x20 || value == '<' || value == '>' || value == '&') {
      raw("\\u00");
      raw({kHexPairs[value].data(), 2});
    } else if (value == 0x2028)
      raw("\\u2028");
    else if (value == 0x2029)
      raw("\\u2029");
    else
      raw(text.substr(0, point.size));
    text.remove_prefix(point.size);
  }
  to_.push_back('"');
}

void JsonWriter::quoted_string(std::string_view bytes) {
  if (plain_prefix(bytes) == bytes.size()) {
    const size_t start = to_.size();
    to_.resize(start + bytes.size() + 2);
    uint8_t* out = to_.data() + start;
    *out++ = '"';
    std::memcpy(out, bytes.data(), bytes.size());
    out[bytes.size()] = '"';
    return;
  }
  string(quote(bytes));
}

void JsonWriter::id(const base::Id& id) {
  const size_t start = to_.size();
  to_.resize(start + 66);
  uint8_t* out = to_.data() + start;
  *out++ = '"';
  for (uint8_t byte : id.bytes) {
    std::memcpy(out, kHexPairs[byte].data(), 2);
    out += 2;
  }
  *out = '"';
}

void JsonWriter::base64(base::ByteView bytes) {
  raw("\"");
  raw(base::base64(bytes));
  raw("\"");
}

}  // namespace davit::repo
