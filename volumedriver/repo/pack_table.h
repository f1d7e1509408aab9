// What index files say of packs, numbered in the order in which they came. Files that say the same
// of a pack share one number; what they say differently of one pack has several. Its owner locks.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "base/id.h"
#include "repo/blob.h"

namespace davit::repo {

struct IndexedPack {
  base::Id id;
  uint64_t fingerprint = 0;         // of its entries, in whatever order
  std::array<uint32_t, 2> blobs{};  // by type

  auto operator<=>(const IndexedPack&) const = default;
  void count(const PackBlob& blob);
};
static_assert(sizeof(IndexedPack) == 48);

class PackTable {
 public:
  size_t size() const { return packs_.size(); }
  const IndexedPack& operator[](size_t number) const { return packs_[number]; }
  const std::vector<IndexedPack>& all() const { return packs_; }

  std::optional<uint32_t> find(const IndexedPack& pack) const {
    if (slots_.empty()) return std::nullopt;
    for (size_t slot = first_slot(pack); slots_[slot] != kFree; slot = (slot + 1) & mask())
      if (packs_[slots_[slot]] == pack) return slots_[slot];
    return std::nullopt;
  }
  // It must not be there.
  uint32_t add(const IndexedPack& pack) {
    packs_.push_back(pack);
    if (packs_.size() * 4 > slots_.size() * 3) {
      slots_.assign(std::max<size_t>(64, slots_.size() * 2), kFree);
      for (size_t number = 0; number < packs_.size(); ++number)
        place(static_cast<uint32_t>(number));
    } else {
      place(static_cast<uint32_t>(packs_.size() - 1));
    }
    return static_cast<uint32_t>(packs_.size() - 1);
  }

 private:
  static constexpr uint32_t kFree = UINT32_MAX;
  size_t mask() const { return slots_.size() - 1; }
  size_t first_slot(const IndexedPack& pack) const {
    return std::hash<base::Id>()(pack.id) & mask();
  }
  void place(uint32_t number) {
    size_t slot = first_slot(packs_[number]);
    while (slots_[slot] != kFree) slot = (slot + 1) & mask();
    slots_[slot] = number;
  }

  std::vector<IndexedPack> packs_;
  std::vector<uint32_t> slots_;
};

inline void IndexedPack::count(const PackBlob& blob) {
  const auto mix = [](uint64_t value) {
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
    value = (value ^ value >> 27) * 0x94d049bb133111eb;
    return value ^ value >> 31;
  };
  uint64_t value = base::load_le64(blob.id.bytes.data());
  value = mix(value + blob.offset_bytes);
  value = mix(value + blob.length_bytes);
  value = mix(value + blob.plain_length_bytes);
  fingerprint += mix(value + static_cast<uint64_t>(blob.type));
  ++blobs[static_cast<size_t>(blob.type)];
}

}  // namespace davit::repo
