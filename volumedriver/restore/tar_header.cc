#include "restore/tar_header.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string_view>

namespace davit::restore {

namespace {

constexpr uint64_t kMaxOctalSize = 077777777777;  // 8 GiB - 1

// Fields of a ustar header, each ended by a NUL where it is not full.
struct Ustar {
  char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link_target[100],
      magic[6], version[2], user[32], group[32], major[8], minor[8], prefix[155], rest[12];
};
static_assert(sizeof(Ustar) == kTarBlock);

template <size_t N>
void put(char (&field)[N], std::string_view text) {
  std::memcpy(field, text.data(), std::min(N, text.size()));
}

// Digits and a NUL.
template <size_t N>
void put_octal(char (&field)[N], uint64_t value) {
  std::snprintf(field, N, "%0*llo", static_cast<int>(N - 1),
                static_cast<unsigned long long>(value));
}

void append_header(base::Bytes& to, char type, unsigned mode, std::string_view prefix,
                   std::string_view name, std::string_view link_target, uint64_t size) {
  Ustar header;
  std::memset(&header, 0, sizeof header);
  put(header.name, name);
  put(header.prefix, prefix);
  put_octal(header.mode, mode);
  put_octal(header.uid, 0);
  put_octal(header.gid, 0);
  put_octal(header.size, size);
  put_octal(header.mtime, 0);
  put_octal(header.major, 0);
  put_octal(header.minor, 0);
  header.type = type;
  put(header.link_target, link_target);
  put(header.magic, std::string_view("ustar\0", 6));
  put(header.version, "00");
  std::memset(header.checksum, ' ', sizeof header.checksum);
  unsigned sum = 0;
  for (size_t i = 0; i < kTarBlock; ++i) sum += reinterpret_cast<const uint8_t*>(&header)[i];
  std::snprintf(header.checksum, sizeof header.checksum, "%06o", sum);  // a NUL, then the blank
  base::append(to, {reinterpret_cast<const uint8_t*>(&header), kTarBlock});
}

// "LENGTH KEY=VALUE\n"; LENGTH counts itself.
void append_record(std::string& to, const std::string& key, const std::string& value) {
  const size_t rest = key.size() + value.size() + 3;
  size_t length = rest + 1;
  while (rest + std::to_string(length).size() != length)
    length = rest + std::to_string(length).size();
  to += std::to_string(length) + " " + key + "=" + value + "\n";
}

// Where a name may be cut into prefix and name; npos where that does not help.
size_t find_split(std::string_view name) {
  constexpr size_t kName = sizeof Ustar::name, kPrefix = sizeof Ustar::prefix;
  if (name.size() <= kName) return 0;
  const size_t slash = name.find('/', name.size() - kName - 1);
  return slash == std::string_view::npos || slash > kPrefix || slash + 1 == name.size() ||
                 slash == 0
             ? std::string_view::npos
             : slash;
}

}  // namespace

base::Bytes tar_header(TarType type, const std::string& name, const std::string& link_target,
                       uint64_t size_bytes) {
  const std::string full = type == TarType::directory ? name + "/" : name;
  const size_t split = find_split(full);
  std::string records;
  if (split == std::string::npos) append_record(records, "path", full);
  if (link_target.size() > sizeof Ustar::link_target)
    append_record(records, "linkpath", link_target);
  if (size_bytes > kMaxOctalSize) append_record(records, "size", std::to_string(size_bytes));

  base::Bytes bytes;
  if (!records.empty()) {
    append_header(bytes, 'x', 0644, "", "PaxHeader", "", records.size());
    base::append(bytes, base::as_bytes(records));
    const size_t end = bytes.size();
    bytes.resize(end + tar_padding(records.size()));
    std::fill(bytes.begin() + static_cast<ptrdiff_t>(end), bytes.end(), uint8_t{0});
  }
  const std::string_view whole = full;
  const bool cut = split != std::string::npos && split > 0;
  const unsigned mode = type == TarType::directory ? 0755 : type == TarType::symlink ? 0777 : 0644;
  append_header(bytes, static_cast<char>(type), mode, cut ? whole.substr(0, split) : "",
                cut ? whole.substr(split + 1) : whole, link_target,
                size_bytes > kMaxOctalSize ? 0 : size_bytes);
  return bytes;
}

}  // namespace davit::restore
