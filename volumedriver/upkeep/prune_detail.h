// What a prune plan knows beyond its figures. For prune's own files.
#pragma once

#include <memory>
#include <optional>
#include <unordered_set>
#include <vector>

#include "base/id.h"
#include "upkeep/blob_table.h"
#include "upkeep/prune.h"
#include "upkeep/used_blobs.h"

namespace davit::upkeep {

enum class Fate : uint8_t { keep, repack, remove };

struct PrunePlan::Detail {
  BlobTable table;                             // of the index files below; used and kept are marked
  std::vector<base::Id> index_files;           // that there were
  std::unordered_set<base::Id> snapshots;      // whose blobs are marked as used
  std::vector<Fate> fates;                     // by number of the pack in the table, as the next
  std::vector<std::optional<uint64_t>> sizes;  // in the store; nothing where the pack is missing
  std::vector<base::Id> unindexed_packs;       // that were there
  std::unordered_set<base::Id>
      small_files;  // index files to be merged although they name nothing that goes
};

// Decides the fate of every pack; fills in the figures. Pure: everything it needs is in the table
// and its marks. `sizes[i]` is the size of pack i in the store, nothing where it is missing. Throws
// Corrupt when a pack whose blobs are needed is missing or has a wrong size.
std::vector<Fate> decide_fates(const BlobTable& table,
                               const std::vector<std::optional<uint64_t>>& sizes,
                               double max_unused_ratio, PrunePlan& figures);

}  // namespace davit::upkeep
