// One copy of a blob, as index tables hold it in memory and in files: 48 bytes.
#pragma once

#include <bit>
#include <cstdint>
#include <tuple>

#include "base/id.h"

namespace davit::repo {

struct IndexRecord {
  base::Id id;
  uint32_t pack = 0;  // its number in the table that the record is of
  uint32_t offset_bytes = 0;
  uint32_t length_bytes = 0;        // sealed
  uint32_t plain_length_bytes = 0;  // 0: not compressed

  // As a number that is ordered as IDs are.
  static uint64_t key(const base::Id& id) {
    return __builtin_bswap64(base::load_le64(id.bytes.data()));
  }
  uint64_t key() const { return key(id); }
};
static_assert(sizeof(IndexRecord) == 48 && std::endian::native == std::endian::little);

inline bool operator<(const IndexRecord& a, const IndexRecord& b) {
  if (a.key() != b.key()) return a.key() < b.key();
  return std::tie(a.id, a.pack, a.offset_bytes) < std::tie(b.id, b.pack, b.offset_bytes);
}

}  // namespace davit::repo
