// What an earlier run knew of the tree: from the scan cache, else from the parent snapshot's trees.
// Asked in the order of the walk, by one thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "repo/repository.h"
#include "repo/scan_cache.h"

namespace davit::archive {

class Prior {
 public:
  virtual ~Prior() = default;
  // True when the current directory had such a directory, which becomes the current one until
  // leave().
  virtual bool enter(const std::string& name) = 0;
  // What the current directory was saved as; zero where that is unknown.
  virtual base::Id leave() = 0;
  virtual std::optional<repo::ScanRecord> find(const std::string& name) = 0;
  // The scan cache, where it tells of whole directories; null elsewhere.
  virtual repo::ScanCacheReader* cache() { return nullptr; }
};

// Positioned above the tree's root: enter("") goes into it.
// `context`: what else decides of the tree, as the scan cache has it (repo/scan_cache.h).
// `path`: the components under which the tree hangs in the snapshot. Whatever cannot be read is as
// unknown.
std::unique_ptr<Prior> open_prior(const repo::Repository& repository,
                                  const std::string& scan_cache_path, const base::Id& context,
                                  const std::optional<base::Id>& parent,
                                  const std::vector<std::string>& path);

}  // namespace davit::archive
