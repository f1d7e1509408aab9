// Reads the tar streams that engines write: ustar, pax and GNU headers, and nothing else.
//
// Strict, because what is misread here is found out when the image is needed. libarchive, made to
// read whatever there is, takes unknown types for files, cuts names at a NUL, and takes a stream
// that breaks off between two members for a whole one; its libraries (ICU's data among them) would
// also double what the plugin ships.
//
// One thread. Nothing is copied but headers: content is given as it lies in what `next` gave.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace davit::archive {

struct TarMember {
  enum class Type : uint8_t { file, directory, symlink, hard_link };

  Type type = Type::file;
  std::string name;         // as the stream has it, but without NUL; not empty
  std::string link_target;  // of links: the same
  uint64_t size_bytes = 0;  // of files
};

class TarReader {
 public:
  // Longer names and link targets are refused: no file system has them.
  static constexpr size_t kMaxName = 4096;

  // `next` gives the stream's next bytes, and none at its end; what it throws is thrown on.
  explicit TarReader(std::function<base::Bytes()> next) : next_(std::move(next)) {}

  // What was not read of the last member is skipped. Nothing once the end mark was read, and all
  // that is behind it: zeros. Throws Corrupt for a stream that is cut, damaged, or holds what is no
  // file, directory or link.
  std::optional<TarMember> next_member();
  // The current member's next bytes, valid until the next call; none at its end.
  base::ByteView read();

 private:
  struct Extensions;
  using Block = std::array<uint8_t, 512>;

  base::ByteView take(uint64_t limit);
  void take_exactly(std::span<uint8_t> out);
  void skip(uint64_t count);
  base::Bytes take_extension(uint64_t size);
  std::string take_long_name(uint64_t size);
  void read_pax(base::ByteView records, bool global, Extensions& extensions) const;
  TarMember make_member(const Block& header, uint64_t size, Extensions&& extensions) const;
  void finish();
  [[noreturn]] void refuse(const std::string& why) const;

  std::function<base::Bytes()> next_;
  base::Bytes piece_;
  size_t at_ = 0;         // in piece_
  uint64_t offset_ = 0;   // in the stream
  bool ended_ = false;    // next_ gave nothing
  uint64_t left_ = 0;     // of the current member's content
  uint64_t padding_ = 0;  // behind that
};

// For messages: control characters and what is no ASCII replaced, and not longer than a line.
std::string shown_name(std::string_view name);

}  // namespace davit::archive
