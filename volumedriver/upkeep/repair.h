// Repair: makes a damaged repository whole again, without another copy of what is lost.
//
//   config, keys   written anew from what the open repository knows
//   index          files that cannot be read, packs that none names or of which two contradict each
//                  other: from the packs' own headers; packs that are gone leave it
//   packs          every blob of a damaged pack that still verifies is stored again; then the pack
//                  leaves the index, and then the store
//   snapshots      those that need what is lost get a sibling without it: cut out of files, an
//                  unreadable directory empty. It names the old one as its original and carries
//                  tags. The old one goes only where that is asked for.
//
// What the store can put right (store::Store::heal) is put right first. Nothing is ever passed over
// in silence: every file that lost something is told by snapshot and path.
//
// Under the exclusive lock; a dry run under a shared one. At every instant what can be read before
// can be read after: new files come first, what they replace goes last. A repair that was killed is
// simply run again.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "repo/repository.h"

namespace davit::upkeep {

struct RepairReport;

struct RepairOptions {
  // Every pack is read whole; else those in which damage shows without, and these.
  bool read_data = false;
  std::vector<base::Id> suspects{};
  // Remove the snapshots that got a sibling, and those of which nothing can be had.
  bool forget = false;
  // Changes nothing, and tells what would be done.
  bool dry_run = false;
  // Makes a key file for the open repository, where none is left that can be used; its ID. Empty:
  // that is not done.
  std::function<base::Id(repo::Repository&)> add_key{};
  std::vector<std::string> tags{"repaired", "partial"};
  // Called before the first snapshot is removed, with all that is known by then: it may be the only
  // one to hear of what was lost, should the rest fail.
  std::function<void(const RepairReport&)> before_forget{};
  base::Progress* progress = nullptr;
  std::stop_token stop{};
  // When so many bytes may be written: base::Bandwidth::reserve. Empty: at once.
  std::function<std::chrono::steady_clock::time_point(uint64_t bytes)> reserve{};
};

struct RepairReport {
  struct Lost {
    base::Id snapshot;
    std::string path;  // from the snapshot's root; raw bytes
    std::string what;  // "lost 4096 of 8192 bytes"
  };
  struct Mended {
    base::Id snapshot;
    std::optional<base::Id> sibling;  // nothing: nothing of it can be had
    bool forgotten = false;
    std::string why{};  // no sibling: why not
  };
  std::vector<std::string> actions;  // what was done, or would be
  std::vector<Lost> lost;            // complete
  std::vector<Mended> snapshots;
  uint64_t packs_read = 0, bytes_read = 0;
  uint64_t packs_salvaged = 0, packs_indexed = 0, packs_missing = 0, blobs_salvaged = 0,
           blobs_lost = 0;
  uint64_t index_files_removed = 0, index_files_written = 0;
  uint64_t errors_left = 0;  // that a check finds afterwards; for who makes one
  bool empty() const { return actions.empty() && snapshots.empty(); }
};

RepairReport repair(repo::Repository& repository, const RepairOptions& options);

}  // namespace davit::upkeep
