// Which packs a check reads whole. Pure; any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/id.h"

namespace davit::upkeep {

// A pack that is in the index and in the store.
struct PackSize {
  base::Id id;
  uint64_t size_bytes = 0;
};
// Says of each of them whether it is read. Called once a check.
using ChoosePacks = std::function<std::vector<bool>(std::span<const PackSize>)>;

// A part of a repository's packs, in restic's words:
//   n/t         the nth of t parts (t at most 256), chosen by the packs' IDs: all t together are
//               everything
//   x%, x.y%    so many packs of a hundred, by chance; at least one
//   500M        packs by chance, until they have so many bytes (K, M, G, T: powers of 1024)
class DataSubset {
 public:
  // Throws UsageError that says what a subset looks like.
  static DataSubset parse(std::string_view text);

  // Equal seeds choose equally. n/t needs none.
  std::vector<bool> choose(std::span<const PackSize> packs, uint64_t seed) const;
  // As choose(), each call by other chances.
  ChoosePacks by_chance() const;

 private:
  enum class Kind : uint8_t { part, percent, bytes };
  Kind kind_ = Kind::part;
  uint64_t part_ = 1, parts_ = 1;
  double percent_ = 100;
  uint64_t bytes_ = 0;
};

// All of them.
std::vector<bool> choose_all(std::span<const PackSize> packs);

}  // namespace davit::upkeep
