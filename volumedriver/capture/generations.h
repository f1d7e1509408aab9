// What changed in a btrfs subvolume, by the generations that btrfs keeps of each inode: the number
// of the transaction that changed it last. Nothing has to be watched, and no writer is unseen: what
// is dirty is written out first, so that all that was written before has its transaction, through
// mappings, loop devices, overlays and the kernel's own servers, too.
//
// Costs a sync of the file system, and then what the changed leaves of the tree cost. Other
// subvolumes inside are other trees: what is in them is not told. Needs CAP_SYS_ADMIN. Any thread.
#pragma once

#include <cstddef>
#include <cstdint>

#include "capture/changed_set.h"

namespace davit::capture {

bool is_btrfs(int directory);

// Writes out what is dirty; what changes from here on has a greater generation. Throws IoError.
uint64_t commit_generation(int directory);

// Adds the handles of all that has a greater generation than `since`, in the subvolume of
// `directory`. False where they are more than `most`. Throws IoError; Unsupported where the handles
// are not as they are thought to be.
bool find_changed_since(int directory, uint64_t since, size_t most, ChangedSet& to);

}  // namespace davit::capture
