// What can be had of one pack that may be damaged.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/id.h"
#include "repo/blob.h"
#include "repo/repository.h"
#include "upkeep/pack_reader.h"

namespace davit::upkeep {

struct PackVerdict {
  // Its name is its hash, its header can be read, and each blob is what its ID says.
  bool is_whole = false;
  bool has_header = false;            // that can be read
  std::vector<repo::PackBlob> blobs;  // of the header, else those that were expected
  std::vector<bool> is_good;          // by number in `blobs`
  uint64_t bytes_read = 0;
  bool has_gaps = false;  // a medium gave parts of it only
};

// One thread; memory: the pack and its largest blob, twice.
class PackExaminer {
 public:
  explicit PackExaminer(const repo::Repository& repository) : repository_(repository) {}

  // Reads it whole, or what a medium that fails still gives of it (EIO). `expected`: what the index
  // says is in it, for a header that cannot be read. Throws every other IoError: it says nothing
  // about the pack.
  PackVerdict examine(const base::Id& pack, uint64_t size_bytes,
                      std::span<const repo::PackBlob> expected);
  // The good blobs of the pack that was examined last; spoils what was read of it.
  void for_each_good(
      const PackVerdict& verdict,
      const std::function<void(const repo::PackBlob& blob, const OpenedBlob& opened)>& each);

 private:
  bool read(const base::Id& pack);

  bool has_gaps_ = false;
  const repo::Repository& repository_;
  base::Bytes bytes_, sealed_, plain_;
};

// The pack's own list of what is in it, without the rest of the pack. Throws Corrupt where it
// cannot be read, and what the store throws.
std::vector<repo::PackBlob> read_pack_header(const repo::Repository& repository,
                                             const base::Id& pack, uint64_t size_bytes);

}  // namespace davit::upkeep
