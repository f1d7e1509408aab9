// Brings one mirror up to date with the primary, so that it is a whole repository at every instant:
//   config and keys where it is new; keys, packs, then indexes, then snapshots are copied;
//   then snapshots, indexes, packs and keys go that davit removed from the primary
// The primary is listed in the other order (snapshots first) and without a lock: where a file
// vanishes while it is copied, somebody prunes, and all is listed anew. The mirror has our shared
// lock meanwhile, and the exclusive one while something is removed; a lock of others that forbids
// that puts it off.
//
// What goes: what the mirror's journal names (jobs/mirror_journal.h) and the primary lacks. What
// others prune at the primary stays on the mirror. A snapshot that vanished
// from the primary otherwise stays until a prune of ours has freed what it used. From an
// append-only mirror nothing goes.
//
// Memory: 40 bytes a file of the primary and of the mirror, and connections() files.
#pragma once

#include <chrono>
#include <functional>
#include <stop_token>
#include <string>

#include "base/clock.h"
#include "base/progress.h"
#include "jobs/mirror_book.h"
#include "repo/lock.h"
#include "repo/repository.h"
#include "store/mirror_store.h"

namespace davit::jobs {

struct MirrorSyncOptions {
  repo::LockIdentity identity;
  repo::LockTiming timing;
  std::function<bool(const repo::LockInfo&)> is_ours;
  const base::Clock* clock = nullptr;
  base::Progress* progress = nullptr;  // may be null
  // When so many bytes may be written: base::Bandwidth::reserve. Empty: at once.
  std::function<std::chrono::steady_clock::time_point(uint64_t bytes)> reserve{};
  // The same for what is read from the primary.
  std::function<std::chrono::steady_clock::time_point(uint64_t bytes)> reserve_download{};
  // Locks on the mirror that are ours were left by another process.
  bool first = false;
  std::stop_token stop;
};

struct MirrorSyncResult {
  uint64_t copied = 0, copied_bytes = 0, removed = 0;
  std::string postponed;  // why nothing was removed yet; "": nothing is left to be removed
};

// `mirror`: its number in `stores`; `repository` is the one of `stores`. The book is told how it
// goes, but not of failures: those are thrown. Conflict: the mirror holds another repository, or
// was seen with ours and is empty. Locked: somebody prunes there. Corrupt: all was copied but for
// files that are damaged at the primary and have no whole copy.
MirrorSyncResult sync_mirror(const repo::Repository& repository, store::MirrorStore& stores,
                             size_t mirror, MirrorBook& book, const MirrorSyncOptions& options);

}  // namespace davit::jobs
