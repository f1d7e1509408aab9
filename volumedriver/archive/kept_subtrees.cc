#include "archive/kept_subtrees.h"

#include <algorithm>
#include <utility>

#include "base/errors.h"

namespace davit::archive {

KeptSubtrees::KeptSubtrees(std::shared_ptr<const repo::KeptScan> scan,
                           const capture::ChangedSet& changed)
    : scan_(std::move(scan)), changed_(scan_->outline.directories.size()) {
  const auto& outline = scan_->outline;
  std::vector<size_t> above;
  for (size_t index = 0; index < changed_.size(); ++index) {
    const auto& one = outline.directories[index];
    while (!above.empty() && outline.directories[above.back()].next <= index) above.pop_back();
    above.push_back(index);
    bool is_changed = one.is_doubtful || changed.contains(one.handle);
    for (uint64_t at = one.own_begin; at < one.own_end && !is_changed; ++at)
      is_changed = changed.contains(outline.handles[at]);
    if (changed.contains_below(one.handle)) {
      is_changed = holds_overlays_ = true;
      std::fill(changed_.begin() + static_cast<long>(index), changed_.begin() + one.next, true);
      changed_[index] = false;  // so that those above are reached, too
    }
    if (!is_changed) continue;
    for (auto at = above.rbegin(); at != above.rend() && !changed_[*at]; ++at) changed_[*at] = true;
  }
}

KeptSubtrees::KeptSubtrees(std::shared_ptr<const repo::KeptScan> scan, std::vector<bool> changed)
    : scan_(std::move(scan)), changed_(std::move(changed)) {
  const auto& directories = scan_->outline.directories;
  DAVIT_CHECK(changed_.size() == directories.size());
  std::vector<size_t> above;
  for (size_t index = 0; index < directories.size(); ++index) {
    while (!above.empty() && directories[above.back()].next <= index) above.pop_back();
    // One that is changed has told those above it already.
    if (changed_[index])
      for (auto at = above.rbegin(); at != above.rend() && !changed_[*at]; ++at)
        changed_[*at] = true;
    above.push_back(index);
  }
}

std::optional<size_t> KeptSubtrees::find(uint64_t position) const {
  const auto& directories = scan_->outline.directories;
  const auto found = std::partition_point(directories.begin(), directories.end(),
                                          [&](const auto& one) { return one.begin < position; });
  const auto index = static_cast<size_t>(found - directories.begin());
  if (found == directories.end() || found->begin != position || changed_[index])
    return std::nullopt;
  return index;
}

}  // namespace davit::archive
