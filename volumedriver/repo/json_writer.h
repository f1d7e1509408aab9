// Writes compact JSON as Go's encoder does, whose bytes the repository's IDs are made of. Appends
// to a buffer that somebody else owns. Commas and braces are the caller's, inside of literals: the
// field names of the format are known, and copying `,"size":` at once is the fastest.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "base/id.h"

namespace davit::repo {

class JsonWriter {
 public:
  explicit JsonWriter(base::Bytes& to) : to_(to) {}

  void raw(std::string_view text) {
    const size_t start = to_.size();
    to_.resize(start + text.size());
    std::memcpy(to_.data() + start, text.data(), text.size());
  }
  void number(uint64_t value);
  void signed_number(int64_t value);
  // With its quotes. Escapes  " \ < > &  U+2028 U+2029 and controls; an invalid byte becomes the
  // six characters \ufffd.
  void string(std::string_view text);
  // The string that Go would write as its quoted form: any bytes survive. Used for the names of
  // nodes.
  void quoted_string(std::string_view bytes);
  void id(const base::Id& id);
  void base64(base::ByteView bytes);

 private:
  base::Bytes& to_;
};

}  // namespace davit::repo
