// Looks at all that the scan cache of the last run lists, on all processors, before the walk goes
// through it: the walk then passes over the directories in which nothing changed, at any depth, as
// it does where the kernel told of it (archive/kept_subtrees.h).
//
// The cache's blocks are the shares. Within one, entries of a directory are looked at in the order
// of their inodes, which is that of the disk more or less. A directory that goes on in another
// block is opened by whoever has that one, too. Memory: a block of records (some 256 KiB) for each
// thread, and a byte a directory.
#pragma once

#include <cstdint>
#include <stop_token>
#include <vector>

#include "base/descent.h"
#include "repo/repository.h"
#include "repo/scan_outline.h"

namespace davit::archive {

struct LookedAhead {
  // By index in the outline: whether something in the directory itself, not in those below it, is
  // not what it was, or could not be looked at.
  std::vector<bool> changed;
  uint64_t looked_at = 0;  // entries
};

// `root` is what the scan lists. Throws Cancelled once stopped, IoError, and Corrupt where the
// scan is damaged.
LookedAhead look_ahead(const repo::Repository& repository, const repo::KeptScan& scan,
                       const base::Descent::Handle& root, std::stop_token stop);

}  // namespace davit::archive
