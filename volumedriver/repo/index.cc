#include "repo/index.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "repo/index_state.h"

namespace davit::repo {

std::optional<PackRef> IndexContent::find_pack(const IndexedPack& pack) const {
  if (cache) {
    const auto all = cache->packs();
    const auto found = std::lower_bound(all.begin(), all.end(), pack);
    const size_t number = static_cast<size_t>(found - all.begin());
    if (found != all.end() && *found == pack && cache_uses[number] != 0)
      return PackRef{static_cast<uint32_t>(number), 0};
  }
  if (const auto number = packs.find(pack)) return PackRef{*number, 1};
  return std::nullopt;
}

void IndexContent::use(PackRef ref) {
  if ((ref.in_memory ? uses : cache_uses)[ref.number]++ == 0)
    for (size_t type = 0; type < 2; ++type) live[type] += pack(ref).blobs[type];
}

void IndexContent::release(PackRef ref) {
  if (--(ref.in_memory ? uses : cache_uses)[ref.number] == 0)
    for (size_t type = 0; type < 2; ++type) live[type] -= pack(ref).blobs[type];
}

void IndexContent::begin_with(std::shared_ptr<const IndexCache> from) {
  *this = {};
  cache = std::move(from);
  cache_uses.resize(cache->packs().size());
  for (const IndexCache::File& file : cache->files()) {
    auto& refs = files[file.id];
    refs.reserve(file.packs);
    for (const uint32_t pack : cache->packs_of(file)) {
      refs.push_back({pack, 0});
      use(refs.back());
    }
  }
}

// Live copies, until `each` returns true: (ID of the pack, record).
template <typename Each>
void Index::State::find(BlobType type, const base::Id& id, Each&& each) const {
  bool done = false;
  tables[static_cast<size_t>(type)].find(id, [&](const IndexRecord& record) {
    return done = is_live(record) && each(packs[record.pack].id, record);
  });
  if (done || !cache) return;
  cache->find(type, id, [&](const IndexRecord& record) {
    return cache_uses[record.pack] != 0 && each(cache->packs()[record.pack].id, record);
  });
}

PackRef Index::State::add_pack(const IndexedPack& pack, std::span<const PackBlob> blobs) {
  if (const auto known = find_pack(pack)) return *known;
  const uint32_t number = packs.add(pack);
  uses.push_back(0);
  for (size_t type = 0; type < 2; ++type) tables[type].reserve(pack.blobs[type]);
  for (const PackBlob& blob : blobs)
    tables[static_cast<size_t>(blob.type)].add(
        {blob.id, number, blob.offset_bytes, blob.length_bytes, blob.plain_length_bytes});
  return {number, 1};
}

void Index::State::rebuild(const std::vector<bool>& keep) {
  std::vector<uint32_t> renumbered(packs.size());
  PackTable kept;
  std::vector<uint32_t> kept_uses;
  for (size_t number = 0; number < packs.size(); ++number)
    if (keep[number]) {
      renumbered[number] = kept.add(packs[number]);
      kept_uses.push_back(uses[number]);
    }
  for (RecordTable& table : tables) {
    RecordTable smaller;
    for (size_t i = 0; i < table.size(); ++i) {
      IndexRecord record = table.at(i);
      if (!keep[record.pack]) continue;
      record.pack = renumbered[record.pack];
      smaller.reserve(1);
      smaller.add(record);
    }
    table = std::move(smaller);
  }
  for (auto& [file, refs] : files)
    for (PackRef& ref : refs)
      if (ref.in_memory) ref.number = renumbered[ref.number] & 0x7fffffff;
  packs = std::move(kept);
  uses = std::move(kept_uses);
}

// Gives back the memory of dead records once they are more than half.
void Index::State::compact() {
  if (in_memory() < 4096) return;
  size_t alive = 0;
  std::vector<bool> keep(packs.size());
  for (size_t number = 0; number < packs.size(); ++number)
    if (uses[number] != 0) {
      keep[number] = true;
      alive += packs[number].blobs[0] + packs[number].blobs[1];
    }
  if (alive * 2 <= in_memory()) rebuild(keep);
}

Index::Index() : state_(std::make_unique<State>()) {}
Index::~Index() = default;

// Looks something up. Where the cache turns out to be damaged, one thread has everything read
// again, and all look once more; nobody ever sees an index that lacks what was in it.
template <typename Look>
auto Index::look_up(Look&& look) const {
  for (;;) {
    std::shared_ptr<const IndexCache> used;
    try {
      const std::shared_lock lock(state_->mutex);
      used = state_->cache;
      return look();
    } catch (const IndexCache::Damaged&) {
      read_again(used);
    }
  }
}

void Index::read_again(const std::shared_ptr<const IndexCache>& damaged) const {
  const std::lock_guard one(state_->reading_again);
  {
    const std::shared_lock lock(state_->mutex);
    if (state_->cache != damaged) return;
  }
  spdlog::warn("the index cache is damaged: the index is read from the repository again");
  state_->read_again();
}

bool Index::contains(BlobType type, const base::Id& id) const {
  return look_up([&] {
    bool found = false;
    state_->find(type, id, [&](const base::Id&, const IndexRecord&) { return found = true; });
    return found;
  });
}

std::optional<BlobLocation> Index::find(BlobType type, const base::Id& id) const {
  return look_up([&] {
    std::optional<BlobLocation> found;
    state_->find(type, id, [&](const base::Id& pack, const IndexRecord& record) {
      found = state_->location(pack, record);
      return true;
    });
    return found;
  });
}

std::vector<BlobLocation> Index::find_all(BlobType type, const base::Id& id) const {
  return look_up([&] {
    std::vector<BlobLocation> found;
    state_->find(type, id, [&](const base::Id& pack, const IndexRecord& record) {
      found.push_back(state_->location(pack, record));
      return false;
    });
    return found;
  });
}

void Index::for_each(const std::function<void(const IndexEntry&)>& each) const {
  IndexContent content;
  std::array<RecordTable::Picture, 2> pictures;
  // Before the first is given, so that none is given twice.
  look_up([&] {
    if (state_->cache) state_->cache->verify_all();
    content = *state_;
    for (size_t type = 0; type < 2; ++type) pictures[type] = state_->tables[type].picture();
    return true;
  });
  for (const BlobType type : {BlobType::data, BlobType::tree}) {
    const auto give = [&](const base::Id& pack, const IndexRecord& record) {
      each({type, record.id, state_->location(pack, record)});
    };
    const RecordTable::Picture& picture = pictures[static_cast<size_t>(type)];
    for (size_t i = 0; i < picture.size; ++i) {
      const IndexRecord& record = picture.at(i);
      if (content.uses[record.pack] != 0) give(content.packs[record.pack].id, record);
    }
    if (content.cache)
      content.cache->for_range(type, 0, UINT64_MAX, [&](const IndexRecord& record) {
        if (content.cache_uses[record.pack] != 0)
          give(content.cache->packs()[record.pack].id, record);
      });
  }
}

size_t Index::blob_count() const {
  const std::shared_lock lock(state_->mutex);
  return state_->live[0] + state_->live[1];
}

std::vector<base::Id> Index::files() const {
  const std::shared_lock lock(state_->mutex);
  std::vector<base::Id> files;
  files.reserve(state_->files.size());
  for (const auto& [file, packs] : state_->files) files.push_back(file);
  return files;
}

bool Index::has_file(const base::Id& file) const {
  const std::shared_lock lock(state_->mutex);
  return state_->files.contains(file);
}

std::vector<base::Id> Index::packs_of(const base::Id& file) const {
  const std::shared_lock lock(state_->mutex);
  std::vector<base::Id> packs;
  if (const auto found = state_->files.find(file); found != state_->files.end())
    for (const PackRef pack : found->second) packs.push_back(state_->pack(pack).id);
  return packs;
}

void Index::add_file(const base::Id& file, const std::vector<IndexEntry>& entries) {
  IndexFileContent content;
  content.blobs.reserve(entries.size());
  for (const IndexEntry& entry : entries) {
    if (content.packs.empty() || content.packs.back().id != entry.location.pack)
      content.packs.push_back({entry.location.pack, content.blobs.size(), 0});
    ++content.packs.back().count;
    content.blobs.push_back({entry.type, entry.id, entry.location.offset, entry.location.length,
                             entry.location.plain_length});
  }
  content.gather_packs();
  add_file(file, content);
}

void Index::add_file(const base::Id& file, const IndexFileContent& content) {
  std::vector<IndexedPack> packs;
  packs.reserve(content.packs.size());
  for (const auto& described : content.packs) {
    packs.push_back({.id = described.id});
    for (const PackBlob& blob : content.blobs_of(described)) packs.back().count(blob);
  }
  const std::unique_lock lock(state_->mutex);
  const auto [place, is_new] = state_->files.try_emplace(file);
  if (!is_new) return;
  for (size_t i = 0; i < packs.size(); ++i) {
    if (content.packs[i].count == 0) continue;
    const PackRef ref = state_->add_pack(packs[i], content.blobs_of(content.packs[i]));
    state_->use(ref);
    place->second.push_back(ref);
  }
}

void Index::drop_file(const base::Id& file) {
  const std::unique_lock lock(state_->mutex);
  const auto found = state_->files.find(file);
  if (found == state_->files.end()) return;
  for (const PackRef pack : found->second) state_->release(pack);
  state_->files.erase(found);
  state_->compact();
}

}  // namespace davit::repo
