// How the scan cache (repo/scan_cache.h) lies in its file; for its own sources only.
#pragma once

#include <algorithm>
#include <cstring>
#include <string_view>

#include "base/bytes.h"
#include "base/id.h"
#include "crypto/sha256.h"
#include "repo/tree.h"

namespace davit::repo {

inline constexpr std::string_view kScanMagic = "davit scan cache, format 4\n";
inline constexpr size_t kScanMagicSize = 32;
inline constexpr size_t kScanChecksumSize = 16;
inline constexpr size_t kScanRunSize = 16;
inline constexpr size_t kScanHeaderSize =
    kScanMagicSize + 32 + 32 + 32 + kScanRunSize + 8 + 8 + kScanChecksumSize;
inline constexpr size_t kBlockHeaderSize = 4 + kScanChecksumSize;
// A record of a file of 1 TiB holds some 24 MiB of blob IDs.
inline constexpr uint32_t kMaxBlock = 1u << 30;

inline bool checksum_matches(base::ByteView bytes, base::ByteView checksum) {
  const base::Id id = crypto::sha256(bytes);
  return std::equal(checksum.begin(), checksum.end(), id.bytes.begin());
}

inline void append_number(base::Bytes& to, uint64_t value, size_t width) {
  for (size_t i = 0; i < width; ++i) to.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

// Reads numbers and texts off the front; anything beyond the end makes it bad.
class Cursor {
 public:
  explicit Cursor(base::ByteView bytes) : rest_(bytes) {}

  base::ByteView take(size_t size) {
    if (size > rest_.size()) {
      good_ = false;
      rest_ = {};
      return {};
    }
    const base::ByteView front = rest_.first(size);
    rest_ = rest_.subspan(size);
    return front;
  }
  uint64_t number(size_t width) {
    uint64_t value = 0;
    const base::ByteView bytes = take(width);
    if (!bytes.empty()) std::memcpy(&value, bytes.data(), bytes.size());  // little endian
    return value;
  }
  NodeTime time() {
    const int64_t seconds = static_cast<int64_t>(number(8));
    return {seconds, static_cast<uint32_t>(number(4))};
  }
  bool good() const { return good_; }
  size_t left() const { return rest_.size(); }

 private:
  base::ByteView rest_;
  bool good_ = true;
};

inline base::Id load_id(base::ByteView bytes) {
  base::Id id;
  if (bytes.size() == id.bytes.size()) std::copy(bytes.begin(), bytes.end(), id.bytes.begin());
  return id;
}

}  // namespace davit::repo
