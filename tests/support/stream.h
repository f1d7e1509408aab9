// Bytes and numbers that look random and are the same in every run.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"

namespace davit::test {

// splitmix64; the chunker's vectors are made with it.
class Stream {
 public:
  explicit Stream(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = state_ += 0x9E3779B97F4A7C15;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
  }
  uint64_t below(uint64_t bound) { return next() % bound; }
  base::Bytes bytes(size_t size) {
    base::Bytes bytes((size + 7) & ~size_t{7});
    for (size_t i = 0; i < bytes.size(); i += 8) base::store_le64(bytes.data() + i, next());
    bytes.resize(size);
    return bytes;
  }

 private:
  uint64_t state_;
};

}  // namespace davit::test
