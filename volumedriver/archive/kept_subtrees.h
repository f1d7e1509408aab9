// The directories of the last run in which nothing changed since, at any depth: what tells of
// changes (capture/change_tracker.h) had none of their handles, and nothing in them had to be
// looked at anew in any case. Constant.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "capture/changed_set.h"
#include "repo/scan_outline.h"

namespace davit::archive {

class KeptSubtrees {
 public:
  KeptSubtrees(std::shared_ptr<const repo::KeptScan> scan, const capture::ChangedSet& changed);
  // `changed`, by index, is of each directory itself (archive/look_ahead.h).
  KeptSubtrees(std::shared_ptr<const repo::KeptScan> scan, std::vector<bool> changed);

  // The index of the directory whose record stands at that position, if it is one of them.
  std::optional<size_t> find(uint64_t position) const;
  const repo::ScanOutline::Directory& directory(size_t index) const {
    return scan_->outline.directories[index];
  }
  const std::shared_ptr<const repo::KeptScan>& scan() const { return scan_; }
  bool holds_overlays() const { return holds_overlays_; }

 private:
  std::shared_ptr<const repo::KeptScan> scan_;
  std::vector<bool> changed_;  // by index
  bool holds_overlays_ = false;
};

}  // namespace davit::archive
