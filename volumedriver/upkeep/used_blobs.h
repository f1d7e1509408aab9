// Which blobs the snapshots reach. Walks all trees on all processors, each once; memory is one
// number for each tree that waits, and one tree for each thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <stop_token>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/id.h"
#include "base/progress.h"
#include "repo/repository.h"
#include "upkeep/blob_table.h"

namespace davit::upkeep {

// What a walk found wrong.
struct Problem {
  enum class Kind : uint8_t {
    unreadable_tree,  // `id` is a tree that no copy yields, or that no index names
    lost_data,        // `id` is a data blob that no index names, or all copies of which are marked
                      // damaged
    bad_node,         // the tree `id` can be read, but its node `name` cannot be restored as it was
    odd_tree,         // the tree `id` is usable, but no restic would write it so
  };
  Kind kind = Kind::unreadable_tree;
  base::Id id;
  std::string name;
  std::string reason;
};

struct WalkOptions {
  // One call at a time. Without it lost blobs and unreadable trees throw Corrupt naming snapshot
  // and path, and the other kinds are passed over.
  std::function<void(const Problem&)> on_problem;
  base::Progress* progress = nullptr;  // files: trees walked
  std::stop_token stop;
};

struct WalkCounts {
  uint64_t trees = 0;  // read by this walk
};

// Marks as used, in the first of `tables` that names it, every blob that these snapshots reach.
// Trees that are marked already are not read again: what they reach was marked with them. Throws
// what the store throws; Cancelled.
WalkCounts mark_used(const repo::Repository& repository, std::span<const BlobTable* const> tables,
                     std::span<const repo::Repository::SnapshotFile> snapshots,
                     const WalkOptions& options);

// Reads a blob from whichever copy yields it. Throws NotFound when no table names it, or what the
// last copy threw.
void load_from_any(const repo::Repository& repository, const BlobTable& table,
                   const BlobTable::Copies& copies, base::Bytes& out);

// All snapshot files but those in `known`, read from the store and not from memory, oldest first.
// Throws Corrupt for one that cannot be read, or gives it to `on_error`.
std::vector<repo::Repository::SnapshotFile> read_snapshots(
    const repo::Repository& repository, const std::unordered_set<base::Id>& known = {},
    const std::function<void(const base::Id&, const std::string&)>& on_error = {});

}  // namespace davit::upkeep
