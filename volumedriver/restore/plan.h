// What has to be read for a number of files: which parts of which packs, and where their blobs go.
// Pure: no file is touched here.
#pragma once

#include <cstdint>
#include <vector>

#include "base/id.h"
#include "repo/index.h"

namespace davit::restore {

struct PendingFile;

// A piece of a file.
struct Target {
  PendingFile* file = nullptr;
  uint64_t offset = 0;
};

struct WantedBlob {
  base::Id id;
  repo::BlobLocation location;
  std::vector<Target> targets;
};

// One read from a pack: from the first blob's beginning to the last one's end.
struct PackRange {
  base::Id pack;
  uint64_t offset = 0;
  uint64_t size_bytes = 0;
  std::vector<WantedBlob> blobs;  // by offset, each once
};

struct RangeLimits {
  uint64_t max_gap_bytes = 256 << 10;  // reading on is cheaper than another read
  uint64_t max_range_bytes = 4 << 20;  // unless a single blob is larger
};

// Ranges in the order in which the first of their blobs was wanted. A blob that is wanted several
// times is read once.
std::vector<PackRange> plan_ranges(std::vector<WantedBlob> wanted, const RangeLimits& limits = {});

}  // namespace davit::restore
