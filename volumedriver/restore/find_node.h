// Ways through a snapshot's trees.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/id.h"
#include "repo/repository.h"
#include "repo/tree.h"

namespace davit::restore {

// Sorted by name. Throws Corrupt where a name is there twice.
std::vector<repo::Node> load_tree(const repo::Repository& repository, const base::Id& id);
// What `path` ("/volumes/NAME") names in the tree `root`; nothing where there is no such node.
std::optional<repo::Node> find_node(const repo::Repository& repository, const base::Id& root,
                                    const std::string& path);

}  // namespace davit::restore
