// Handles (capture/file_handle.h) of what may have changed. Asked for every entry of a volume, most
// of which are not in it: a bit tells that without a search. One thread fills it, any reads it
// then.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_set>
#include <vector>

namespace davit::capture {

class ChangedSet {
 public:
  void add(uint64_t handle) {
    bits_[(handle >> 6) & kMask] |= uint64_t{1} << (handle & 63);
    handles_.insert(handle);
  }
  // A directory in which nobody tells of changes, at any depth.
  void add_below(uint64_t directory) { below_.insert(directory); }

  bool contains(uint64_t handle) const {
    return (bits_[(handle >> 6) & kMask] >> (handle & 63) & 1) && handles_.contains(handle);
  }
  bool contains_below(uint64_t directory) const { return below_.contains(directory); }

 private:
  static constexpr size_t kMask = (1 << 14) - 1;
  std::vector<uint64_t> bits_ = std::vector<uint64_t>(kMask + 1);
  std::unordered_set<uint64_t> handles_, below_;
};

}  // namespace davit::capture
