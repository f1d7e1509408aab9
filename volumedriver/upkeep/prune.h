// Prune: plan (a value with figures), then execute, in an order that leaves a whole repository at
// any instant. Two phases, so that backups wait for seconds, not hours:
//   plan + copy what is kept out of half-empty packs       under a shared lock
//   read the snapshots again; drop from the index; delete  under the exclusive lock
// Order of execution (restic format facts §12/§13): write replacement packs and their index; then,
// exclusively: verify that everything that snapshots use now is kept; save the new index, delete
// old index files, delete packs.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>

#include "base/progress.h"
#include "repo/repository.h"

namespace davit::upkeep {

struct PruneOptions {
  double max_unused_ratio = 0.05;  // of the repository, may stay
  base::Progress* progress = nullptr;
  std::stop_token stop;
  // When so many bytes may be written: base::Bandwidth::reserve. Empty: at once.
  std::function<std::chrono::steady_clock::time_point(uint64_t bytes)> reserve{};
};

struct PrunePlan {
  // Figures for people and for --json.
  uint64_t blobs_used = 0, blobs_unused = 0, blobs_duplicate = 0;
  uint64_t bytes_used = 0, bytes_unused = 0;  // sealed sizes
  uint64_t packs_total = 0, packs_kept = 0, packs_repacked = 0, packs_deleted = 0,
           packs_unindexed = 0;
  uint64_t bytes_repacked = 0, bytes_freed = 0;
  uint64_t index_files_merged = 0;
  bool empty() const {
    return packs_repacked + packs_deleted + packs_unindexed + index_files_merged == 0;
  }

  struct Detail;
  std::shared_ptr<const Detail> detail;
};

// Reads all snapshots and trees; wants a shared lock. Throws Corrupt (and nothing may be pruned)
// when a used blob is in no index or a needed pack is missing or has a wrong size. A snapshot that
// cannot be read stops it too.
PrunePlan plan_prune(repo::Repository& repository, const PruneOptions& options);
// First phase, under a shared lock; may be cancelled at any point, leaving duplicates only.
// Second phase: `with_exclusive_lock` is called once and must call its argument while it holds the
// lock; a request to stop (the lock is lost) ends it between two removals. A plan can be executed
// once.
void execute_prune(repo::Repository& repository, PrunePlan plan, const PruneOptions& options,
                   const std::function<void(const std::function<void()>&)>& with_exclusive_lock);

}  // namespace davit::upkeep
