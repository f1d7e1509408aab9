// Reads JSON from outside, front to back, without building a document. Everything that RFC 8259
// allows is accepted; all else, and nesting beyond kMaxDepth, throws Corrupt with the offset. Never
// reads beyond the input and never allocates more than a few times its size.
//
//   JsonReader json(bytes);
//   for (json.begin_object(); json.next_key();) {
//     if (json.key() == "size") size = json.uint64();
//     else json.skip();
//   }
//   json.finish();
//
// As in Go, from whose encoder these files come, a null leaves a value as it was: ask take_null()
// first.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/id.h"

namespace davit::repo {

class JsonReader {
 public:
  static constexpr int kMaxDepth = 32;

  // `what` names the file in errors and must outlive the reader: "tree".
  JsonReader(base::ByteView json, const char* what);

  void begin_object();
  // True when there is another field: its name is in key(), and the cursor stands before its value,
  // which must be read or skipped. False after the closing brace.
  bool next_key();
  std::string_view key() const { return key_; }

  void begin_array();
  // True when there is another element, which must be read or skipped. False after the closing
  // bracket.
  bool next_element();

  // True and taken when the value is null.
  bool take_null();
  bool boolean();
  uint64_t uint64();
  uint32_t uint32();
  int64_t int64();
  // Valid until the next call. Unpaired surrogates and invalid UTF-8 become U+FFFD.
  std::string_view string();
  // 64 hex digits.
  base::Id id();
  base::Bytes base64();
  void skip();
  // Only white space may be left.
  void finish();

  [[noreturn]] void fail(std::string_view why) const;

  // For readers that know how a value is usually spelled: what has not been read, the cursor
  // standing before a value, and the value's end once it was read there.
  base::ByteView rest() const { return {at_, end_}; }
  void advance(size_t size_bytes) {
    at_ += size_bytes;
    first_ = false;
  }
  // 64 hex digits at `digits`; false for anything else.
  static bool read_id(const uint8_t* digits, base::Id& id);

 private:
  void skip_space() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) ++at_;
  }
  // The next byte that is no white space, not taken.
  uint8_t peek();
  void expect(char wanted);
  void expect_word(std::string_view word);
  void enter(char opening);
  std::string_view string_into(std::string& scratch);
  void unescape(std::string& to);
  char32_t four_hex_digits();
  void skip_number();

  const uint8_t* const begin_;
  const uint8_t* at_;
  const uint8_t* const end_;
  const char* const what_;
  int depth_ = 0;
  bool first_ = true;  // in the innermost container, nothing was read yet
  std::string_view key_;
  std::string key_scratch_;
  std::string string_scratch_;
};

}  // namespace davit::repo
