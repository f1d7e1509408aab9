#include <algorithm>
#include <array>
#include <numeric>

#include "base/errors.h"
#include "crypto/seal.h"
#include "repo/pack_header.h"
#include "upkeep/prune.h"
#include "upkeep/prune_detail.h"

namespace davit::upkeep {

namespace {

constexpr uint64_t kSmallestTarget = 4 << 20;
constexpr size_t kFewSmallPacks = 10;
// An index file below this many blobs is small; that many small ones are merged.
constexpr size_t kSmallIndexBlobs = 10'000;
constexpr size_t kFewSmallFiles = 10;

struct PackUse {
  uint64_t used_bytes = 0,
           unused_bytes = 0;  // sealed; copies that are not needed here count as unused
  uint32_t used = 0, unused = 0;
  bool is_needed() const { return used > 0; }
};

uint64_t entry_bytes(const BlobTable::Record& record) {
  return record.length_bytes + repo::header_entry_size(record.plain_length_bytes != 0);
}

// Chooses for each used blob the one copy that counts, and adds up what that means for the packs.
std::vector<PackUse> count_uses(const BlobTable& table,
                                const std::vector<std::optional<uint64_t>>& sizes,
                                PrunePlan& figures) {
  std::vector<PackUse> uses(table.packs().size());
  const auto count = [&](size_t number, bool is_used) {
    const auto& record = table.record(number);
    PackUse& use = uses[record.pack];
    (is_used ? use.used_bytes : use.unused_bytes) += entry_bytes(record);
    ++(is_used ? use.used : use.unused);
  };
  std::vector<BlobTable::Copies> several;
  for (size_t first = 0; first < table.size();) {
    const auto copies = table.copies_of(first);
    const bool is_used = table.has(first, BlobTable::used);
    if (is_used && copies.count > 1) {
      several.push_back(copies);
    } else {
      for (size_t i = 0; i < copies.count; ++i) count(first + i, is_used);
    }
    (is_used ? figures.blobs_used : figures.blobs_unused) += is_used ? 1 : copies.count;
    if (is_used) figures.blobs_duplicate += copies.count - 1;
    first += copies.count;
  }
  // The rest after the single ones, so that a duplicate stays where most of its neighbours stay
  // anyway.
  const auto intact = [&](uint32_t pack) { return sizes[pack] == table.packs()[pack].size_bytes; };
  const auto better = [&](size_t a, size_t b) {
    const uint32_t first = table.record(a).pack, second = table.record(b).pack;
    if (intact(first) != intact(second)) return intact(first);
    if (uses[first].is_needed() != uses[second].is_needed()) return uses[first].is_needed();
    return uses[first].unused_bytes < uses[second].unused_bytes;
  };
  for (const auto& copies : several) {
    size_t best = copies.first;
    for (size_t i = copies.first + 1; i < copies.first + copies.count; ++i)
      if (better(i, best)) best = i;
    for (size_t i = copies.first; i < copies.first + copies.count; ++i) count(i, i == best);
  }
  return uses;
}

// A pack below this is small: 80 % of what nearly all packs reach.
uint64_t small_pack_bytes(const BlobTable& table) {
  std::vector<uint64_t> sizes;
  for (const auto& pack : table.packs()) sizes.push_back(pack.size_bytes);
  if (sizes.empty()) return 0;
  const auto place = sizes.begin() + static_cast<ptrdiff_t>(sizes.size() * 3 / 100);
  std::nth_element(sizes.begin(), place, sizes.end());
  return std::max(kSmallestTarget, *place) * 8 / 10;
}

}  // namespace

std::vector<Fate> decide_fates(const BlobTable& table,
                               const std::vector<std::optional<uint64_t>>& sizes,
                               double max_unused_ratio, PrunePlan& figures) {
  const auto& packs = table.packs();
  const std::vector<PackUse> uses = count_uses(table, sizes, figures);
  const uint64_t small_bytes = small_pack_bytes(table);
  std::vector<Fate> fates(packs.size(), Fate::keep);
  std::vector<uint32_t> candidates;
  std::array<std::vector<uint32_t>, 2> small;  // full, but small: of data, of trees
  uint64_t used_bytes = 0, unused_bytes = 0;   // of what is not removed
  for (uint32_t i = 0; i < packs.size(); ++i) {
    const PackUse& use = uses[i];
    figures.bytes_used += use.used_bytes;
    figures.bytes_unused += use.unused_bytes;
    if (!use.is_needed()) {
      fates[i] = Fate::remove;
      continue;
    }
    if (sizes[i] != packs[i].size_bytes)
      throw base::Corrupt("pack " + packs[i].id.hex() +
                          (sizes[i] ? " has " + std::to_string(*sizes[i]) + " bytes instead of " +
                                          std::to_string(packs[i].size_bytes)
                                    : " is missing") +
                          ", and snapshots need it: nothing is pruned; run a check");
    used_bytes += use.used_bytes;
    unused_bytes += use.unused_bytes;
    const bool is_mixed = packs[i].has_data && packs[i].has_tree;
    if (use.unused > 0 || is_mixed || packs[i].has_plain_tree)
      candidates.push_back(i);
    else if (packs[i].size_bytes < small_bytes)
      small[packs[i].has_tree].push_back(i);
  }
  // First what costs least for what it frees: trees, then small packs, then the emptiest.
  const auto rank = [&](uint32_t i) {
    return std::tuple(
        !packs[i].has_tree, packs[i].size_bytes >= small_bytes,
        -static_cast<double>(uses[i].unused_bytes) / static_cast<double>(uses[i].used_bytes));
  };
  std::sort(candidates.begin(), candidates.end(),
            [&](uint32_t a, uint32_t b) { return rank(a) < rank(b); });
  const double ratio = std::clamp(max_unused_ratio, 0.0, 0.99);
  const double may_stay_bytes = ratio / (1 - ratio) * static_cast<double>(used_bytes);
  std::array<bool, 2> writes{};  // new packs of data, of trees
  for (const uint32_t i : candidates) {
    const bool is_enough = static_cast<double>(unused_bytes) <= may_stay_bytes;
    if (is_enough && !packs[i].has_tree && packs[i].size_bytes >= small_bytes) continue;
    fates[i] = Fate::repack;
    unused_bytes -= uses[i].unused_bytes;
    if (packs[i].has_data) writes[0] = true;
    if (packs[i].has_tree) writes[1] = true;
  }
  // Copying leaves up to two packs that are not full, which would count the next time.
  for (const bool has_tree : {false, true})
    if (small[has_tree].size() + (writes[has_tree] ? 2 : 0) >= kFewSmallPacks)
      for (const uint32_t i : small[has_tree]) fates[i] = Fate::repack;
  for (uint32_t i = 0; i < packs.size(); ++i) {
    ++figures.packs_total;
    if (fates[i] == Fate::keep) ++figures.packs_kept;
    if (fates[i] == Fate::repack) {
      ++figures.packs_repacked;
      figures.bytes_repacked += uses[i].used_bytes;
      figures.bytes_freed += uses[i].unused_bytes;
    }
    if (fates[i] == Fate::remove) {
      ++figures.packs_deleted;
      figures.bytes_freed += sizes[i].value_or(0);
    }
  }
  return fates;
}

PrunePlan plan_prune(repo::Repository& repository, const PruneOptions& options) {
  auto detail = std::make_shared<PrunePlan::Detail>();
  PrunePlan plan;
  // Snapshots before indexes, and those before packs: what a backup that runs meanwhile adds is
  // then missing from the earlier list, not from the later one.
  const auto snapshots = read_snapshots(repository);
  for (const auto& file : snapshots) detail->snapshots.insert(file.id);
  detail->index_files = list_ids(repository.store(), store::Kind::index);
  detail->table = BlobTable::load(repository, detail->index_files, {}, options.stop);
  const BlobTable& table = detail->table;

  const BlobTable* const tables[] = {&table};
  mark_used(repository, tables, snapshots,
            {.on_problem = {}, .progress = options.progress, .stop = options.stop});

  auto& sizes = detail->sizes;
  sizes.resize(table.packs().size());
  repository.store().list(store::Kind::data, [&](const store::FileInfo& file) {
    if (const auto number = table.find_pack(file.id)) {
      sizes[*number] = file.size_bytes;
    } else {
      detail->unindexed_packs.push_back(file.id);
      plan.bytes_freed += file.size_bytes;
      ++plan.packs_total;
    }
  });
  plan.packs_unindexed = detail->unindexed_packs.size();
  detail->fates = decide_fates(table, sizes, options.max_unused_ratio, plan);

  // From here on a used blob is either marked as kept or is to be copied.
  for (size_t i = 0; i < table.size(); ++i) {
    if (detail->fates[table.record(i).pack] != Fate::keep) continue;
    table.set(table.copies_of(i).first, BlobTable::kept);
  }

  std::vector<base::Id> small;
  for (const auto& file : table.files())
    if (file.blobs < kSmallIndexBlobs) small.push_back(file.id);
  if (small.size() >= kFewSmallFiles) {
    plan.index_files_merged = small.size();
    detail->small_files.insert(small.begin(), small.end());
  }
  plan.detail = std::move(detail);
  return plan;
}

}  // namespace davit::upkeep
