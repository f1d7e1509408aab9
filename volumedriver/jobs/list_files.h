// The content of a snapshot, for `davit ls`.
#pragma once

#include "jobs/operations.h"
#include "repo/repository.h"

namespace davit::jobs {

// Entries of the directory `below` ("" or "/": the volume's root) of the volume that the snapshot holds, in the order
// of their names; a file names itself. `recursive`: and all beneath, depth first. Throws NotFound.
void list_files(const repo::Repository& repository, const repo::Snapshot& snapshot, const std::string& below,
                bool recursive, const std::function<void(const ListedNode&)>& each);

}  // namespace davit::jobs
