// The walk through a live tree: depth first, names sorted by their raw bytes, one statx an entry.
// What needs no reading goes straight into the assembly; files that changed go to the readers.
//
// Changes while it walks are expected: what vanished is no error. Descriptors are bounded at any
// depth. What is mounted inside the tree is not entered: the mount point is saved as an empty
// directory (or file). A btrfs subvolume inside is no mount and is entered.
#pragma once

#include <string>
#include <vector>

#include "archive/file_reader.h"
#include "archive/kept_subtrees.h"
#include "archive/prior.h"

namespace davit::archive {

// Runs on the calling thread. `prior` stands above the root. `kept`: what need not be looked at, of
// prior's scan cache; may be null. Throws when the root cannot be read.
void walk_tree(Stages& stages, const Source& source, const Options& options, Prior& prior,
               const KeptSubtrees* kept);

}  // namespace davit::archive
