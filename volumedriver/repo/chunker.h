// Cuts files where their content says so, exactly as restic does, so that both deduplicate against
// each other.
//
// The rule: a chunk ends at the smallest length L in [kMinChunk, kMaxChunk] for which the low 20
// bits of the Rabin fingerprint of the 64 bytes before the cut are zero, else at kMaxChunk or at
// the end of the file. The fingerprint is a pure function of those 64 bytes and the repository's
// polynomial.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "repo/wide_search.h"

namespace davit::repo {

inline constexpr size_t kMinChunk = 512 << 10;
inline constexpr size_t kMaxChunk = 8 << 20;

// A polynomial over GF(2); bit i is the coefficient of x^i.
struct Polynomial {
  uint64_t bits = 0;

  // Of degree 53, as every repository uses; from the kernel's random numbers.
  static Polynomial random_irreducible();
  // 1 to 16 hex digits without prefix; throws Corrupt.
  static Polynomial parse(std::string_view hex);
  std::string format() const;

  int degree() const;  // -1 for zero
  bool is_irreducible() const;
  bool operator==(const Polynomial&) const = default;
};

// Immutable once made; any number of threads may use one (it is 4.5 KiB of tables).
class Chunker {
 public:
  // Throws Corrupt unless `polynomial` is irreducible and of degree 53. `wide`: in vectors; tests
  // say false to see what other processors do.
  explicit Chunker(Polynomial polynomial, bool wide = true);

  // `data` begins where a chunk begins. Returns that chunk's length; `at_end` says that the file
  // ends with `data`, and then all of it is a chunk where nothing cuts it earlier. Returns 0 where
  // more data is needed: never with at_end or kMaxChunk bytes, except for the empty end of a file.
  // After a 0, call again with the same data and more behind it; `searched_bytes` (the size at the
  // earlier call) spares a second look at the same bytes.
  size_t next_cut(base::ByteView data, bool at_end, size_t searched_bytes = 0) const;

  Polynomial polynomial() const { return polynomial_; }

 private:
  // The smallest cut in (from, to], or null. The 64 bytes before `from` are there.
  const uint8_t* find_cut(const uint8_t* from, const uint8_t* to) const;
  // The same, byte by byte.
  const uint8_t* find_in_turn(const uint8_t* from, const uint8_t* to) const;
  // In the kBlockSize bytes from `from`.
  const uint8_t* find_in_block(const uint8_t* from) const;
  uint64_t push(uint64_t hash, uint8_t byte) const;

  using Table = std::array<uint64_t, 256>;
  struct Tables {
    Table reduce;  // what pushing a byte out at the top adds at the bottom
    Table leave;   // what a byte contributes once it is the oldest of the window
  };
  static Tables tables_of(Polynomial polynomial);

  Polynomial polynomial_;
  Tables tables_;
  WideSearch wide_;
  bool is_wide_;
};

}  // namespace davit::repo
