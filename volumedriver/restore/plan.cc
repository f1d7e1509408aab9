#include "restore/plan.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace davit::restore {

std::vector<PackRange> plan_ranges(std::vector<WantedBlob> wanted, const RangeLimits& limits) {
  // Packs by first use, so that files are finished about in the order in which they were met.
  std::unordered_map<base::Id, size_t> pack_order;
  for (const WantedBlob& blob : wanted)
    pack_order.try_emplace(blob.location.pack, pack_order.size());
  std::vector<std::pair<size_t, size_t>> order;  // pack, then index in `wanted`
  order.reserve(wanted.size());
  for (size_t i = 0; i < wanted.size(); ++i)
    order.emplace_back(pack_order.at(wanted[i].location.pack), i);
  std::stable_sort(order.begin(), order.end(), [&](const auto& a, const auto& b) {
    return std::pair(a.first, wanted[a.second].location.offset) <
           std::pair(b.first, wanted[b.second].location.offset);
  });

  std::vector<PackRange> ranges;
  for (const auto& [pack, index] : order) {
    WantedBlob& blob = wanted[index];
    const uint64_t begin = blob.location.offset, end = begin + blob.location.length;
    if (!ranges.empty() && ranges.back().pack == blob.location.pack) {
      PackRange& range = ranges.back();
      WantedBlob& last = range.blobs.back();
      if (last.id == blob.id && last.location.offset == begin) {
        last.targets.insert(last.targets.end(), blob.targets.begin(), blob.targets.end());
        continue;
      }
      const uint64_t range_end = range.offset + range.size_bytes;
      if (begin >= range_end && begin - range_end <= limits.max_gap_bytes &&
          end - range.offset <= limits.max_range_bytes) {
        range.size_bytes = end - range.offset;
        range.blobs.push_back(std::move(blob));
        continue;
      }
    }
    PackRange range;
    range.pack = blob.location.pack;
    range.offset = begin;
    range.size_bytes = end - begin;
    range.blobs.push_back(std::move(blob));
    ranges.push_back(std::move(range));
  }
  return ranges;
}

}  // namespace davit::restore
