#include "archive/tar_reader.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <limits>

#include "base/errors.h"

namespace davit::archive {

namespace {

constexpr size_t kBlock = 512;
// Of a pax header or a long name: engines write some hundred bytes.
constexpr uint64_t kMaxExtension = 1 << 20;
// Behind the end mark: tar pads to 10 KiB, some to a tape's block.
constexpr uint64_t kMaxTail = 16 << 20;
// Sums of sizes stay far from the end of 64 bits.
constexpr uint64_t kMaxSize = uint64_t{1} << 60;

// A header's fields: offset and length.
struct Field {
  size_t offset, length;
};
constexpr Field kName{0, 100}, kSize{124, 12}, kChecksum{148, 8}, kLinkName{157, 100},
    kMagic{257, 8}, kPrefix{345, 155};
constexpr size_t kType = 156;

using Block = std::array<uint8_t, kBlock>;

std::string_view raw(const Block& block, Field field) {
  return {reinterpret_cast<const char*>(block.data()) + field.offset, field.length};
}

// Up to the first NUL.
std::string text(const Block& block, Field field) {
  const std::string_view all = raw(block, field);
  return std::string(all.substr(0, all.find('\0')));
}

// Octal digits between blanks and NULs, or GNU's base 256. Nothing where it is neither, or
// negative.
std::optional<uint64_t> number(const Block& block, Field field) {
  const std::string_view all = raw(block, field);
  uint64_t value = 0;
  if (static_cast<uint8_t>(all[0]) & 0x80) {
    if (static_cast<uint8_t>(all[0]) != 0x80) return std::nullopt;
    for (const char c : all.substr(1)) {
      if (value > (std::numeric_limits<uint64_t>::max() >> 8)) return std::nullopt;
      value = value << 8 | static_cast<uint8_t>(c);
    }
    return value;
  }
  const size_t from = std::min(all.find_first_not_of(' '), all.size());
  const size_t end = std::min(all.find_first_of(std::string_view(" \0", 2), from), all.size());
  for (const char c : all.substr(from, end - from)) {
    if (c < '0' || c > '7') return std::nullopt;
    value = value << 3 | static_cast<uint64_t>(c - '0');  // 12 digits at most
  }
  if (all.find_first_not_of(std::string_view(" \0", 2), end) != std::string_view::npos)
    return std::nullopt;
  return value;
}

bool is_zero(base::ByteView bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

bool has_good_checksum(const Block& block) {
  uint64_t sum = 0;
  for (size_t i = 0; i < kBlock; ++i) {
    const bool in_field = i >= kChecksum.offset && i < kChecksum.offset + kChecksum.length;
    sum += in_field ? ' ' : block[i];
  }
  return number(block, kChecksum) == sum;
}

bool starts_with(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

}  // namespace

// What headers in front of a member say of it.
struct TarReader::Extensions {
  std::optional<std::string> name, link_target;
  std::optional<uint64_t> size_bytes;
};

std::string shown_name(std::string_view name) {
  std::string shown(name.substr(0, 120));
  for (char& c : shown)
    if (c < ' ' || c > '~') c = '?';
  return "'" + shown + (name.size() > shown.size() ? "…'" : "'");
}

void TarReader::refuse(const std::string& why) const {
  throw base::Corrupt("the image stream is not usable: " + why + " (at byte " +
                      std::to_string(offset_) + ")");
}

// Up to `limit` bytes as they lie; none at the stream's end.
base::ByteView TarReader::take(uint64_t limit) {
  if (at_ == piece_.size()) {
    if (ended_) return {};
    piece_ = next_();
    at_ = 0;
    ended_ = piece_.empty();
  }
  const size_t count = static_cast<size_t>(std::min<uint64_t>(limit, piece_.size() - at_));
  const base::ByteView taken = base::ByteView(piece_).subspan(at_, count);
  at_ += count;
  offset_ += count;
  return taken;
}

void TarReader::take_exactly(std::span<uint8_t> out) {
  while (!out.empty()) {
    const base::ByteView some = take(out.size());
    if (some.empty()) refuse("it ends in the middle");
    std::memcpy(out.data(), some.data(), some.size());
    out = out.subspan(some.size());
  }
}

void TarReader::skip(uint64_t count) {
  while (count > 0) {
    const base::ByteView some = take(count);
    if (some.empty()) refuse("it ends in the middle");
    count -= some.size();
  }
}

base::Bytes TarReader::take_extension(uint64_t size) {
  if (size > kMaxExtension) refuse("a header of " + std::to_string(size) + " bytes");
  base::Bytes bytes(size);
  take_exactly(bytes);
  skip((kBlock - size % kBlock) % kBlock);
  return bytes;
}

std::string TarReader::take_long_name(uint64_t size) {
  const base::Bytes bytes = take_extension(size);
  std::string name(base::as_text(bytes));
  if (!name.empty() && name.back() == '\0') name.pop_back();
  return name;
}

// Records of the form "LENGTH KEY=VALUE\n", where LENGTH counts all of it.
void TarReader::read_pax(base::ByteView records, bool global, Extensions& extensions) const {
  std::string_view rest = base::as_text(records);
  while (!rest.empty()) {
    size_t length = 0;
    const char* const begin = rest.data();
    const auto [end, error] =
        std::from_chars(begin, begin + std::min<size_t>(rest.size(), 8), length);
    const size_t digits = static_cast<size_t>(end - begin);
    if (error != std::errc() || length > rest.size() || length < digits + 3 ||
        rest[digits] != ' ' || rest[length - 1] != '\n')
      refuse("a pax header that is no list of records");
    const std::string_view record = rest.substr(digits + 1, length - digits - 2);
    rest.remove_prefix(length);
    const size_t equals = record.find('=');
    if (equals == std::string_view::npos) refuse("a pax record without a value");
    const std::string_view key = record.substr(0, equals), value = record.substr(equals + 1);
    if (starts_with(key, "GNU.sparse."))
      refuse("a sparse file, which no engine puts into an image");
    if (key != "path" && key != "linkpath" && key != "size") continue;  // owners, times, comments
    if (global) refuse("a pax header that gives all members one " + std::string(key));
    if (key == "size") {
      uint64_t size = 0;
      const auto parsed = std::from_chars(value.data(), value.data() + value.size(), size);
      if (parsed.ec != std::errc() || parsed.ptr != value.data() + value.size())
        refuse("a pax header whose size is no number");
      extensions.size_bytes = size;
    } else {
      (key == "path" ? extensions.name : extensions.link_target) = value;
    }
  }
}

std::optional<TarMember> TarReader::next_member() {
  skip(left_ + padding_);
  left_ = padding_ = 0;
  Extensions extensions;
  for (bool extended = false;; extended = true) {
    Block header;
    take_exactly(header);
    if (is_zero(header)) {
      if (extended) refuse("a header without its member");
      finish();
      return std::nullopt;
    }
    if (!has_good_checksum(header)) refuse("a header with a wrong checksum");
    const auto size = number(header, kSize);
    if (!size) refuse("a header whose size is no number");
    switch (header[kType]) {
      case 'x':
        read_pax(take_extension(*size), false, extensions);
        continue;
      case 'g':
        read_pax(take_extension(*size), true, extensions);
        continue;
      case 'L':
        extensions.name = take_long_name(*size);
        continue;
      case 'K':
        extensions.link_target = take_long_name(*size);
        continue;
      default:
        break;
    }
    TarMember member = make_member(header, *size, std::move(extensions));
    left_ = member.size_bytes;
    padding_ = (kBlock - left_ % kBlock) % kBlock;
    return member;
  }
}

TarMember TarReader::make_member(const Block& header, uint64_t size,
                                 Extensions&& extensions) const {
  TarMember member;
  if (extensions.name) {
    member.name = std::move(*extensions.name);
  } else {
    member.name = text(header, kName);
    // GNU's header has other things where ustar has the prefix.
    if (raw(header, kMagic).substr(0, 6) == std::string_view("ustar\0", 6))
      if (const std::string prefix = text(header, kPrefix); !prefix.empty())
        member.name = prefix + "/" + member.name;
  }
  if (extensions.size_bytes) size = *extensions.size_bytes;
  const auto check = [&](const std::string& name, const char* what) {
    if (name.empty()) refuse(std::string("a member with an empty ") + what);
    if (name.find('\0') != std::string::npos)
      refuse(std::string("a member with a NUL in its ") + what + ": " + shown_name(name));
    if (name.size() > kMaxName)
      refuse("a member with a " + std::string(what) + " of " + std::to_string(name.size()) +
             " bytes");
  };
  check(member.name, "name");
  switch (header[kType]) {
    case '\0':
    case '0':
      member.type = TarMember::Type::file;
      break;
    case '1':
      member.type = TarMember::Type::hard_link;
      break;
    case '2':
      member.type = TarMember::Type::symlink;
      break;
    case '5':
      member.type = TarMember::Type::directory;
      break;
    default:
      refuse(shown_name(member.name) + " is no file, directory or link, but of the type " +
             shown_name(raw(header, {kType, 1})));
  }
  if (member.type == TarMember::Type::symlink || member.type == TarMember::Type::hard_link) {
    member.link_target =
        extensions.link_target ? std::move(*extensions.link_target) : text(header, kLinkName);
    check(member.link_target, "link target");
  }
  if (member.type != TarMember::Type::file && size != 0)
    refuse(shown_name(member.name) + " is no file, but has content");
  if (size > kMaxSize) refuse(shown_name(member.name) + " is larger than anything can be");
  member.size_bytes = size;
  return member;
}

// Behind the first of the two zero blocks that end an archive.
void TarReader::finish() {
  Block second;
  take_exactly(second);
  if (!is_zero(second)) refuse("an end mark that is none");
  const uint64_t end = offset_;
  for (base::ByteView rest; !(rest = take(std::numeric_limits<uint64_t>::max())).empty();) {
    if (!is_zero(rest)) refuse("something behind its end");
    if (offset_ - end > kMaxTail) refuse("zeros without end behind its end");
  }
}

base::ByteView TarReader::read() {
  if (left_ == 0) return {};
  const base::ByteView some = take(left_);
  if (some.empty()) refuse("it ends in the middle of a member");
  left_ -= some.size();
  return some;
}

}  // namespace davit::archive
