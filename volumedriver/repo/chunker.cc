#include "repo/chunker.h"

#include <algorithm>
#include <charconv>
#include <span>

#include "base/errors.h"

namespace davit::repo {
namespace {

constexpr int kDegree = 53;
constexpr size_t kWindow = 64;
constexpr uint64_t kCutMask = (1 << 20) - 1;
// The hash is a chain of dependent steps, so several places of the data are hashed in turn to keep
// the processor busy. Eight chains fit its registers. An odd number of lines in each: of lanes that
// lie 4 KiB apart, all would compete for one set of the first cache.
constexpr size_t kLanes = 8;
constexpr size_t kLaneSize = 4096 + 64;
constexpr size_t kBlockSize = kLanes * kLaneSize;

int degree_of(uint64_t bits) {
  return bits == 0 ? -1 : 63 - __builtin_clzll(bits);
}

uint64_t remainder(uint64_t dividend, uint64_t divisor) {
  const int degree = degree_of(divisor);
  for (int d = degree_of(dividend); d >= degree; d = degree_of(dividend))
    dividend ^= divisor << (d - degree);
  return dividend;
}

// a * b mod p, for a of lower degree than p.
uint64_t multiply(uint64_t a, uint64_t b, uint64_t p) {
  const uint64_t top = uint64_t{1} << degree_of(p);
  uint64_t product = 0;
  for (; b != 0; b >>= 1) {
    if (b & 1) product ^= a;
    a <<= 1;
    if (a & top) a ^= p;
  }
  return product;
}

uint64_t greatest_common_divisor(uint64_t a, uint64_t b) {
  while (b != 0) {
    a = remainder(a, b);
    std::swap(a, b);
  }
  return a;
}

}  // namespace

int Polynomial::degree() const {
  return degree_of(bits);
}

// Ben-Or: p has a factor of degree i at most exactly when it shares one with x^(2^i) - x.
bool Polynomial::is_irreducible() const {
  if (degree() < 1) return false;
  if (degree() == 1) return true;
  uint64_t power = 2;  // x
  for (int i = 1; i <= degree() / 2; ++i) {
    power = multiply(power, power, bits);
    if (greatest_common_divisor(bits, power ^ 2) != 1) return false;
  }
  return true;
}

Polynomial Polynomial::random_irreducible() {
  for (;;) {
    Polynomial candidate;
    base::random_fill({reinterpret_cast<uint8_t*>(&candidate.bits), sizeof candidate.bits});
    candidate.bits &= (uint64_t{1} << (kDegree + 1)) - 1;
    candidate.bits |= (uint64_t{1} << kDegree) | 1;
    if (candidate.is_irreducible()) return candidate;
  }
}

Polynomial Polynomial::parse(std::string_view hex) {
  Polynomial polynomial;
  const char* end = hex.data() + hex.size();
  const auto [stop, error] = std::from_chars(hex.data(), end, polynomial.bits, 16);
  if (error != std::errc() || stop != end || hex.size() > 16) {
    throw base::Corrupt("the chunker polynomial is not a hexadecimal number");
  }
  return polynomial;
}

std::string Polynomial::format() const {
  char digits[16];
  const auto result = std::to_chars(digits, digits + sizeof digits, bits, 16);
  return std::string(digits, result.ptr);
}

Chunker::Chunker(Polynomial polynomial, bool wide)
    : polynomial_(polynomial),
      tables_(tables_of(polynomial)),
      wide_(tables_.reduce, tables_.leave),
      is_wide_(wide && WideSearch::works_here()) {}

Chunker::Tables Chunker::tables_of(Polynomial polynomial) {
  if (polynomial.degree() != kDegree || !polynomial.is_irreducible()) {
    throw base::Corrupt("the chunker polynomial " + polynomial.format() +
                        " is not an irreducible one of degree 53");
  }
  const uint64_t p = polynomial.bits;
  const uint64_t x53 = p ^ (uint64_t{1} << kDegree);  // x^53 mod p
  uint64_t leave = 1;                                 // x^(8 * 63) mod p
  for (size_t i = 0; i < kWindow - 1; ++i) leave = multiply(leave, uint64_t{1} << 8, p);
  Tables tables;
  for (uint64_t byte = 0; byte < 256; ++byte) {
    tables.reduce[byte] = multiply(x53, byte, p) ^ (byte << kDegree);
    tables.leave[byte] = multiply(leave, byte, p);
  }
  return tables;
}

inline uint64_t Chunker::push(uint64_t hash, uint8_t byte) const {
  return (hash << 8 | byte) ^ tables_.reduce[hash >> (kDegree - 8)];
}

const uint8_t* Chunker::find_in_turn(const uint8_t* from, const uint8_t* to) const {
  uint64_t hash = 0;
  for (const uint8_t* at = from - kWindow; at != from; ++at) hash = push(hash, *at);
  for (; from != to; ++from) {
    hash = push(hash ^ tables_.leave[*(from - kWindow)], *from);
    if ((hash & kCutMask) == 0) return from + 1;
  }
  return nullptr;
}

const uint8_t* Chunker::find_in_block(const uint8_t* from) const {
  uint64_t hashes[kLanes] = {};
  for (size_t i = 0; i < kWindow; ++i) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      hashes[lane] = push(hashes[lane], from[lane * kLaneSize + i - kWindow]);
    }
  }
  const uint8_t* best = nullptr;
  for (const uint8_t* at = from; at != from + kLaneSize; ++at) {
#pragma GCC unroll 8
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const uint8_t* here = at + lane * kLaneSize;
      hashes[lane] = push(hashes[lane] ^ tables_.leave[*(here - kWindow)], *here);
      if ((hashes[lane] & kCutMask) == 0) [[unlikely]] {
        if (best == nullptr || here + 1 < best) best = here + 1;
      }
    }
  }
  return best;
}

const uint8_t* Chunker::find_cut(const uint8_t* from, const uint8_t* to) const {
  const auto left = [&] { return static_cast<size_t>(to - from); };
  if (is_wide_) {
    while (const size_t lane_bytes = WideSearch::lane_bytes(left())) {
      if (const uint8_t* step = wide_.find(from, lane_bytes))
        return find_in_turn(step, step + WideSearch::kStep);
      from += WideSearch::kLanes * lane_bytes;
    }
  }
  for (; left() >= kBlockSize; from += kBlockSize) {
    if (const uint8_t* cut = find_in_block(from)) return cut;
  }
  return find_in_turn(from, to);
}

size_t Chunker::next_cut(base::ByteView data, bool at_end, size_t searched_bytes) const {
  const size_t limit = std::min(data.size(), kMaxChunk);
  // A cut exactly at the limit needs no hash to be found, but a smaller one does.
  const size_t from = std::max(kMinChunk, searched_bytes + 1) - 1;
  if (from < limit) {
    if (const uint8_t* cut = find_cut(data.data() + from, data.data() + limit)) {
      return static_cast<size_t>(cut - data.data());
    }
  }
  return limit == kMaxChunk || at_end ? limit : 0;
}

}  // namespace davit::repo
