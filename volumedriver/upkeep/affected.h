// Which snapshots and files need blobs that are lost or damaged.
#pragma once

#include <cstddef>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/id.h"
#include "repo/repository.h"
#include "upkeep/blob_table.h"

namespace davit::upkeep {

// A blob (of either type) and a file or directory that needs it.
struct Place {
  base::Id id;
  base::Id snapshot;
  std::string path;  // from the snapshot's root: "/", "/volumes/db/file"
};

struct Affected {
  std::vector<Place> places;        // some: for each blob and snapshot at most three
  std::vector<base::Id> snapshots;  // all that reach any of the blobs, in the order given
};

// Reads every tree once more, and those that lead to places again; trees that cannot be read are
// passed over. At most `max_places` places, shared out fairly among the blobs. Memory: 50 bytes a
// tree. One thread. Throws what the store throws where trying again may help; Cancelled.
Affected find_affected(const repo::Repository& repository, std::span<const BlobTable* const> tables,
                       std::span<const repo::Repository::SnapshotFile> snapshots,
                       std::span<const base::Id> ids, size_t max_places, std::stop_token stop = {});

}  // namespace davit::upkeep
