// How what is in memory gets into the cache.
#include <algorithm>
#include <unordered_set>
#include <utility>

#include "base/log.h"
#include "repo/index.h"
#include "repo/index_state.h"

namespace davit::repo {

void Index::use_cache(std::string path, const base::Id& repository, Limits limits,
                      std::function<void()> read_again) {
  auto cache = IndexCache::open(path, repository, [&](const char* why) {
    spdlog::warn("the index cache {} is made anew: {}", path, why);
  });
  const std::unique_lock lock(state_->mutex);
  DAVIT_CHECK(state_->files.empty() && state_->path.empty());
  state_->path = std::move(path);
  state_->repository = repository;
  state_->limits = limits;
  state_->read_again = std::move(read_again);
  if (cache) state_->begin_with(std::move(cache));
}

bool Index::has_cache() const {
  return !state_->path.empty();
}

void Index::write_cache(uint64_t expected_more, const AddMore& add_more, bool from_scratch) {
  DAVIT_CHECK(has_cache());
  const std::lock_guard one(state_->writing);
  write_cache_locked(expected_more, add_more, from_scratch);
}

void Index::settle() {
  std::unique_lock one(state_->writing, std::try_to_lock);
  if (!one || !has_cache()) return;
  std::shared_ptr<const IndexCache> former;
  {
    const std::shared_lock lock(state_->mutex);
    former = state_->cache;
    size_t dead = 0;
    size_t files = state_->files.size();
    if (former) {
      const auto packs = former->packs();
      for (size_t i = 0; i < packs.size(); ++i)
        if (state_->cache_uses[i] == 0) dead += packs[i].blobs[0] + packs[i].blobs[1];
      files -= std::min(files, former->files().size());
    }
    if (state_->in_memory() <= state_->limits.blobs_in_memory &&
        files <= state_->limits.files_in_memory &&
        dead <= state_->limits.blobs_in_memory + state_->live[0] + state_->live[1])
      return;
  }
  try {
    write_cache_locked(0, {}, false);
  } catch (const IndexCache::Damaged&) {
    one.unlock();
    read_again(former);
  }
}

namespace {

// What a cache is made of, and the packs' numbers in it.
struct Source {
  IndexContent content;
  std::array<RecordTable::Picture, 2> records;

  void give(IndexCacheWriter& writer, std::vector<uint32_t>& former_packs) const {
    std::vector<uint32_t> new_packs(content.packs.size(), IndexCacheWriter::kGone);
    former_packs.clear();
    for (size_t i = 0; i < content.cache_uses.size(); ++i)
      former_packs.push_back(content.cache_uses[i] == 0
                                 ? IndexCacheWriter::kGone
                                 : writer.add_pack(content.cache->packs()[i]).first);
    for (size_t i = 0; i < content.packs.size(); ++i)
      if (content.uses[i] != 0) new_packs[i] = writer.add_pack(content.packs[i]).first;
    for (const BlobType type : {BlobType::data, BlobType::tree}) {
      const auto& picture = records[static_cast<size_t>(type)];
      for (size_t i = 0; i < picture.size; ++i) {
        const IndexRecord& record = picture.at(i);
        const PackBlob blob{type, record.id, record.offset_bytes, record.length_bytes,
                            record.plain_length_bytes};
        if (new_packs[record.pack] != IndexCacheWriter::kGone)
          writer.add_records(new_packs[record.pack], {&blob, 1});
      }
    }
    for (const auto& [file, refs] : content.files) {
      std::vector<uint32_t> packs;
      for (const PackRef ref : refs)
        packs.push_back((ref.in_memory ? new_packs : former_packs)[ref.number]);
      writer.add_file(file, std::move(packs));
    }
  }
};

}  // namespace

void Index::write_cache_locked(uint64_t expected_more, const AddMore& add_more, bool from_scratch) {
  Source source;
  std::vector<base::Id> before;
  {
    const std::shared_lock lock(state_->mutex);
    for (const auto& [file, refs] : state_->files) before.push_back(file);
    expected_more += state_->live[0] + state_->live[1];
    if (!from_scratch) {
      source.content = *state_;
      for (size_t type = 0; type < 2; ++type) source.records[type] = state_->tables[type].picture();
    }
  }
  const auto make = [&](const std::string& path) {
    IndexCacheWriter writer(path, state_->repository, expected_more);
    std::vector<uint32_t> former_packs;
    source.give(writer, former_packs);
    if (add_more) add_more(writer);
    return writer.finish(source.content.cache.get(), former_packs);
  };
  std::shared_ptr<const IndexCache> made;
  try {
    made = make(state_->path);
    state_->is_file_usable = true;
  } catch (const IndexCacheWriter::Unusable& error) {
    if (std::exchange(state_->is_file_usable, false))
      spdlog::warn("the index is kept in memory, since its cache cannot be written: {}",
                   error.what());
    made = make("");
  }
  const std::unique_lock lock(state_->mutex);
  state_->adopt(std::move(made), before);
}

void Index::State::adopt(std::shared_ptr<const IndexCache> made,
                         const std::vector<base::Id>& before) {
  IndexContent next;
  next.begin_with(std::move(made));
  for (const base::Id& file : before) {
    const auto went = files.contains(file) ? next.files.end() : next.files.find(file);
    if (went == next.files.end()) continue;
    for (const PackRef pack : went->second) next.release(pack);
    next.files.erase(went);
  }
  // Of what came, the records that are not in the cache stay in memory.
  std::vector<bool> keep(packs.size());
  for (auto file = files.begin(); file != files.end();) {
    bool is_whole = !next.files.contains(file->first);
    for (PackRef& ref : file->second) {
      if (!is_whole) break;
      if (const auto found = next.find_pack(pack(ref)))
        ref = *found;
      else if (ref.in_memory)
        keep[ref.number] = true;
      else
        is_whole = false;  // of a former cache, and not in the repository any more
    }
    file = is_whole ? std::next(file) : files.erase(file);
  }
  rebuild(keep);
  next.packs = std::move(packs);
  next.uses.assign(next.packs.size(), 0);
  for (auto& [file, refs] : files) {
    for (const PackRef ref : refs) next.use(ref);
    next.files.emplace(file, std::move(refs));
  }
  static_cast<IndexContent&>(*this) = std::move(next);
}

}  // namespace davit::repo
