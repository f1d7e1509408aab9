// Gives an entry that was just made what its node says of it, in the one order that works: owner,
// extended attributes (a change of owner clears capabilities), mode, times. Any thread.
#pragma once

#include <sys/stat.h>

#include <string>
#include <vector>

#include "repo/tree.h"

namespace davit::restore {

// Through the descriptor alone, so that no name is looked up again. `fd` may be O_PATH: it must be
// for what cannot be opened (symlinks, fifos, devices). `status`: what fstat says of it now, so
// that an owner or a mode that is right already costs no call; null where that is not known.
// Appends to `problems` what the file system refused. Throws IoError where it is room that lacks.
void apply_metadata(int fd, const struct stat* status, const repo::Node& node,
                    std::vector<std::string>& problems);

// Takes from a directory what entries made in it would inherit, and what the node will not replace:
// ACLs, user.* and trusted.* attributes, the set-group-ID bit.
void clear_inheritance(int directory);

}  // namespace davit::restore
