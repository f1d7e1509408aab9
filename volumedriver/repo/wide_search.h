// Fingerprints of 32 places of the data at once, for the chunker, with AVX2.
//
// A fingerprint is linear over GF(2) in the bytes of its window, so what one byte does to it is the
// sum of what its two halves do, and a byte of the result is one of 16 for each half: what one
// shuffle looks up for 32 bytes. So 32 fingerprints lie in seven vectors, the first byte of all of
// them in the first; a step takes one byte of each place.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace davit::repo {

// Immutable once made; any number of threads may use one (half a KiB).
class WideSearch {
 public:
  static constexpr size_t kLanes = 32;
  static constexpr size_t kStep = 16;

  // Whether the processor can.
  static bool works_here();

  // The Chunker's tables.
  WideSearch(std::span<const uint64_t, 256> reduce, std::span<const uint64_t, 256> leave);

  // The lane_bytes for the block that begins where `bytes` are left; 0: too few for one.
  static size_t lane_bytes(size_t bytes);

  // Of the kLanes * lane_bytes bytes from `from`: where the first kStep bytes begin among which one
  // is the last of a window whose fingerprint ends with 20 zeros; null: there is none. The 64 bytes
  // before `from` are there. Only where works_here().
  const uint8_t* find(const uint8_t* from, size_t lane_bytes) const;

 private:
  static constexpr size_t kPlanes = 7;
  using Table = std::array<uint8_t, 16>;
  struct Tables {
    // Of the low and of the high half of a byte, by plane.
    std::array<Table, kPlanes> low, high;
  };
  static Tables tables_of(std::span<const uint64_t, 256> values);
  class Block;

  alignas(16) Tables reduce_;
  alignas(16) Tables leave_;
};

}  // namespace davit::repo
