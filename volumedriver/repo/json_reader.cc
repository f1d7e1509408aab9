#include "repo/json_reader.h"

#include <array>
#include <limits>

#include "base/errors.h"
#include "repo/utf8.h"

namespace davit::repo {
namespace {

constexpr std::array<int8_t, 256> kHexValue = [] {
  std::array<int8_t, 256> values{};
  values.fill(-1);
  for (int i = 0; i < 10; ++i) values['0' + i] = static_cast<int8_t>(i);
  for (int i = 0; i < 6; ++i) values['a' + i] = values['A' + i] = static_cast<int8_t>(10 + i);
  return values;
}();

// Bytes that a string may hold as they are, in ASCII.
constexpr std::array<bool, 256> kPlain = [] {
  std::array<bool, 256> plain{};
  for (int byte = 0x20; byte < 0x80; ++byte) plain[byte] = byte != '"' && byte != '\\';
  return plain;
}();

bool is_digit(uint8_t byte) {
  return byte >= '0' && byte <= '9';
}

}  // namespace

JsonReader::JsonReader(base::ByteView json, const char* what)
    : begin_(json.data()), at_(begin_), end_(begin_ + json.size()), what_(what) {}

void JsonReader::fail(std::string_view why) const {
  throw base::Corrupt("damaged " + std::string(what_) + ": " + std::string(why) + " near byte " +
                      std::to_string(at_ - begin_));
}

uint8_t JsonReader::peek() {
  skip_space();
  if (at_ == end_) fail("it ends early");
  return *at_;
}

void JsonReader::expect(char wanted) {
  if (peek() != static_cast<uint8_t>(wanted)) fail(std::string("'") + wanted + "' is missing");
  ++at_;
}

void JsonReader::expect_word(std::string_view word) {
  if (static_cast<size_t>(end_ - at_) < word.size() ||
      std::memcmp(at_, word.data(), word.size()) != 0) {
    fail("an unknown word");
  }
  at_ += word.size();
}

void JsonReader::enter(char opening) {
  expect(opening);
  if (++depth_ > kMaxDepth) fail("nesting is too deep");
  first_ = true;
}

void JsonReader::begin_object() {
  enter('{');
}
void JsonReader::begin_array() {
  enter('[');
}

bool JsonReader::next_key() {
  if (peek() == '}') {
    ++at_;
    --depth_;
    first_ = false;
    return false;
  }
  if (!first_) expect(',');
  first_ = false;
  key_ = string_into(key_scratch_);
  expect(':');
  return true;
}

bool JsonReader::next_element() {
  if (peek() == ']') {
    ++at_;
    --depth_;
    first_ = false;
    return false;
  }
  if (!first_) expect(',');
  first_ = false;
  if (peek() == ']') fail("an element is missing");
  return true;
}

bool JsonReader::take_null() {
  if (peek() != 'n') return false;
  expect_word("null");
  return true;
}

bool JsonReader::boolean() {
  const bool value = peek() == 't';
  expect_word(value ? "true" : "false");
  return value;
}

uint64_t JsonReader::uint64() {
  if (!is_digit(peek())) fail("a whole number is missing");
  const bool leading_zero = *at_ == '0';
  const uint8_t* const start = at_;
  uint64_t value = 0;
  for (; at_ != end_ && is_digit(*at_); ++at_) {
    const uint64_t digit = *at_ - '0';
    if (value > (std::numeric_limits<uint64_t>::max() - digit) / 10) fail("a number is too large");
    value = value * 10 + digit;
  }
  if (leading_zero && at_ - start > 1) fail("a number begins with zero");
  if (at_ != end_ && (*at_ == '.' || *at_ == 'e' || *at_ == 'E')) fail("a number is not whole");
  return value;
}

uint32_t JsonReader::uint32() {
  const uint64_t value = uint64();
  if (value > std::numeric_limits<uint32_t>::max()) fail("a number is too large");
  return static_cast<uint32_t>(value);
}

int64_t JsonReader::int64() {
  const bool negative = peek() == '-';
  if (negative) {
    ++at_;
    if (at_ == end_ || !is_digit(*at_)) fail("a whole number is missing");
  }
  const uint64_t value = uint64();
  if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
    fail("a number is too large");
  return negative ? -static_cast<int64_t>(value) : static_cast<int64_t>(value);
}

std::string_view JsonReader::string() {
  return string_into(string_scratch_);
}

// Borrows from the input where nothing needs decoding.
std::string_view JsonReader::string_into(std::string& scratch) {
  expect('"');
  const uint8_t* start = at_;
  while (at_ != end_ && kPlain[*at_]) ++at_;
  if (at_ == end_) fail("a string does not end");
  if (*at_ == '"') {
    const size_t size = at_ - start;
    ++at_;
    return {reinterpret_cast<const char*>(start), size};
  }
  scratch.assign(start, at_);
  for (;;) {
    if (at_ == end_) fail("a string does not end");
    if (kPlain[*at_]) {
      start = at_;
      while (at_ != end_ && kPlain[*at_]) ++at_;
      scratch.append(start, at_);
    } else if (*at_ == '"') {
      ++at_;
      return scratch;
    } else if (*at_ == '\\') {
      unescape(scratch);
    } else if (*at_ < 0x20) {
      fail("a control character in a string");
    } else {
      const std::string_view rest(reinterpret_cast<const char*>(at_), end_ - at_);
      const CodePoint point = decode_utf8(rest);
      if (point.size == 0)
        append_utf8(scratch, 0xfffd);
      else
        scratch.append(rest.substr(0, point.size));
      at_ += point.size == 0 ? 1 : point.size;
    }
  }
}

void JsonReader::unescape(std::string& to) {
  ++at_;  // the backslash
  if (at_ == end_) fail("a string does not end");
  switch (*at_++) {
    case '"':
      to += '"';
      return;
    case '\\':
      to += '\\';
      return;
    case '/':
      to += '/';
      return;
    case 'b':
      to += '\b';
      return;
    case 'f':
      to += '\f';
      return;
    case 'n':
      to += '\n';
      return;
    case 'r':
      to += '\r';
      return;
    case 't':
      to += '\t';
      return;
    case 'u':
      break;
    default:
      fail("an unknown escape in a string");
  }
  char32_t value = four_hex_digits();
  if (value >= 0xd800 && value < 0xdc00 && end_ - at_ >= 2 && at_[0] == '\\' && at_[1] == 'u') {
    const uint8_t* const before = at_;
    at_ += 2;
    const char32_t low = four_hex_digits();
    if (low >= 0xdc00 && low < 0xe000)
      value = 0x10000 + ((value - 0xd800) << 10) + (low - 0xdc00);
    else
      at_ = before;
  }
  append_utf8(to, is_surrogate(value) ? 0xfffd : value);
}

char32_t JsonReader::four_hex_digits() {
  if (end_ - at_ < 4) fail("a string does not end");
  char32_t value = 0;
  for (int i = 0; i < 4; ++i) {
    const int digit = kHexValue[*at_++];
    if (digit < 0) fail("a bad escape in a string");
    value = value << 4 | static_cast<char32_t>(digit);
  }
  return value;
}

// In a form that compilers turn into vector instructions.
bool JsonReader::read_id(const uint8_t* digits, base::Id& id) {
  std::array<uint8_t, 64> values;
  uint8_t bad = 0;
  for (size_t i = 0; i < 64; ++i) {
    const uint8_t digit = digits[i];
    const uint8_t number = static_cast<uint8_t>(digit - '0');
    const uint8_t letter = static_cast<uint8_t>((digit | 0x20) - 'a');
    bad |= static_cast<uint8_t>((number > 9) & (letter > 5));
    values[i] = number <= 9 ? number : static_cast<uint8_t>(letter + 10);
  }
  for (size_t i = 0; i < 32; ++i)
    id.bytes[i] = static_cast<uint8_t>(values[2 * i] << 4 | values[2 * i + 1]);
  return bad == 0;
}

base::Id JsonReader::id() {
  const std::string_view digits = string();
  if (digits.size() != 64) fail("an ID has not 64 digits");
  base::Id id;
  if (!read_id(reinterpret_cast<const uint8_t*>(digits.data()), id))
    fail("an ID is not hexadecimal");
  return id;
}

base::Bytes JsonReader::base64() {
  const std::string_view text = string();
  try {
    return base::from_base64(text);
  } catch (const base::Corrupt&) {
    fail("a value is not base64");
  }
}

void JsonReader::skip_number() {
  const auto digits = [&] {
    if (at_ == end_ || !is_digit(*at_)) fail("a number is damaged");
    while (at_ != end_ && is_digit(*at_)) ++at_;
  };
  if (*at_ == '-') ++at_;
  if (at_ != end_ && *at_ == '0')
    ++at_;
  else
    digits();
  if (at_ != end_ && *at_ == '.') {
    ++at_;
    digits();
  }
  if (at_ != end_ && (*at_ == 'e' || *at_ == 'E')) {
    ++at_;
    if (at_ != end_ && (*at_ == '+' || *at_ == '-')) ++at_;
    digits();
  }
}

// Recursion is bounded by kMaxDepth.
void JsonReader::skip() {
  switch (peek()) {
    case '{':
      for (begin_object(); next_key();) skip();
      return;
    case '[':
      for (begin_array(); next_element();) skip();
      return;
    case '"':
      string();
      return;
    case 't':
      expect_word("true");
      return;
    case 'f':
      expect_word("false");
      return;
    case 'n':
      expect_word("null");
      return;
    case '-':
      skip_number();
      return;
    default:
      if (!is_digit(*at_)) fail("a value is missing");
      skip_number();
  }
}

void JsonReader::finish() {
  skip_space();
  if (at_ != end_) fail("something follows the end");
}

}  // namespace davit::repo
