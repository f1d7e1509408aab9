#include <algorithm>
#include <iterator>

#include "base/crew.h"
#include "base/errors.h"
#include "repo/index_file.h"
#include "repo/upload.h"
#include "upkeep/pack_reader.h"
#include "upkeep/prune.h"
#include "upkeep/prune_detail.h"

namespace davit::upkeep {

namespace {

constexpr size_t kMaxIndexBlobs = 50'000;
constexpr size_t kMaxIndexBytes = 8 << 20;

// Copies into new packs what snapshots need of the packs that are to go. Nothing is lost by
// stopping half-way.
void copy_what_stays(repo::Repository& repository, const PrunePlan::Detail& detail,
                     const PruneOptions& options) {
  const BlobTable& table = detail.table;
  const auto is_to_copy = [&](uint32_t number) {
    if (detail.fates[table.record(number).pack] != Fate::repack) return false;
    const size_t first = table.copies_of(number).first;
    if (!table.has(first, BlobTable::used) || table.has(first, BlobTable::kept)) return false;
    return table.set(first, BlobTable::copied);  // one of its copies is enough
  };
  const std::vector<uint32_t> wanted = records_by_pack(table, is_to_copy);
  if (wanted.empty()) return;
  std::vector<std::span<const uint32_t>> packs;
  for (size_t begin = 0, end; begin < wanted.size(); begin = end) {
    for (end = begin;
         end < wanted.size() && table.record(wanted[end]).pack == table.record(wanted[begin]).pack;)
      ++end;
    packs.push_back(std::span(wanted).subspan(begin, end - begin));
  }

  repository.refresh_index();
  repo::UploadOptions upload;
  upload.stop = options.stop;
  upload.reserve = options.reserve;
  repo::UploadSession session(repository, upload);
  base::for_each_parallel("copy packs", base::processor_count(), packs.size(), [&](size_t i) {
    if (options.stop.stop_requested()) throw base::Cancelled();
    read_blobs(repository, table, packs[i], [&](uint32_t number, const OpenedBlob& blob) {
      session.copy_blob(table.type(number), table.record(number).id, blob.content,
                        blob.plain_length_bytes);
      if (options.progress) options.progress->bytes_done += table.record(number).length_bytes;
    });
  });
  session.finish();
}

// Removes files with as many calls at once as the store likes. Stopping in between is as harmless as
// being killed there, and needed where the exclusive lock is lost.
void remove_all(store::Store& store, store::Kind kind, std::span<const base::Id> ids,
                const std::stop_token& stop) {
  base::for_each_parallel("remove", store.connections(), ids.size(), [&](size_t i) {
    if (stop.stop_requested()) throw base::Cancelled();
    store.remove({kind, ids[i]});
  });
}

// The second phase, while nobody else works on the repository. Up to the first removal it only
// looks and adds.
class SecondPhase {
 public:
  SecondPhase(repo::Repository& repository, const PrunePlan::Detail& detail,
              const PruneOptions& options)
      : repository_(repository),
        detail_(detail),
        table_(detail.table),
        options_(options),
        fates_(detail.fates) {}

  void run() {
    read_what_is_new();
    keep_what_is_used();
    if (options_.stop.stop_requested()) throw base::Cancelled();
    // From here on it is decided what goes, and nothing that a snapshot uses is in it.
    const std::vector<base::Id> old_files = replace_index();
    remove_all(repository_.store(), store::Kind::index, old_files, options_.stop);
    // From here on no index names the packs.
    remove_packs();
    repository_.refresh_index();
  }

 private:
  void read_what_is_new() {
    const std::vector<base::Id> files = list_ids(repository_.store(), store::Kind::index);
    // Whoever took one of our index files away may have taken its packs too: what we know is worth
    // nothing.
    if (!std::includes(files.begin(), files.end(), detail_.index_files.begin(),
                       detail_.index_files.end()))
      throw base::Conflict(
          "another prune or repair worked on the repository meanwhile; nothing was removed: prune "
          "again");
    std::vector<base::Id> new_files;
    std::set_difference(files.begin(), files.end(), detail_.index_files.begin(),
                        detail_.index_files.end(), std::back_inserter(new_files));
    fresh_ = BlobTable::load(repository_, new_files, {}, options_.stop);
    const auto snapshots = read_snapshots(repository_, detail_.snapshots);
    const BlobTable* const tables[] = {&table_, &fresh_};
    mark_used(repository_, tables, snapshots,
              {.on_problem = {}, .progress = options_.progress, .stop = options_.stop});
  }

  // Every used blob must have a copy that stays; where the plan has none (a backup that ran between
  // the phases found the blob in a pack that was to go), that pack stays.
  void keep_what_is_used() {
    for (const auto& pack : fresh_.packs())
      if (const auto number = table_.find_pack(pack.id)) fates_[*number] = Fate::keep;
    for (size_t first = 0, count; first < table_.size(); first += count) {
      const auto copies = table_.copies_of(first);
      count = copies.count;
      if (!table_.has(first, BlobTable::used)) continue;
      size_t best = first;
      bool is_kept = false;
      for (size_t i = first; i < first + count && !is_kept; ++i) {
        is_kept = fates_[table_.record(i).pack] == Fate::keep;
        if (is_intact(table_.record(i).pack) && !is_intact(table_.record(best).pack)) best = i;
      }
      if (!is_kept && fresh_.find(table_.type(first), table_.record(first).id).empty())
        fates_[table_.record(best).pack] = Fate::keep;
    }
  }

  bool is_intact(uint32_t pack) const {
    return detail_.sizes[pack] == table_.packs()[pack].size_bytes;
  }

  // Writes index files for what stays of those that name what goes, or are small; returns the names
  // of the old ones.
  std::vector<base::Id> replace_index() {
    std::vector<base::Id> old_files;
    std::vector<bool> is_to_write(table_.packs().size());
    for (const auto& file : table_.files()) {
      const bool is_small = detail_.small_files.contains(file.id);
      if (!is_small && std::none_of(file.packs.begin(), file.packs.end(),
                                    [&](uint32_t pack) { return fates_[pack] != Fate::keep; }))
        continue;
      old_files.push_back(file.id);
      for (const uint32_t pack : file.packs)
        if (fates_[pack] == Fate::keep) is_to_write[pack] = true;
    }
    const std::vector<uint32_t> records = records_by_pack(
        table_, [&](uint32_t number) { return is_to_write[table_.record(number).pack]; });
    repo::IndexEncoder encoder;
    std::vector<repo::PackBlob> blobs;
    for (size_t i = 0; i < records.size(); ++i) {
      const auto& record = table_.record(records[i]);
      blobs.push_back({table_.type(records[i]), record.id, record.offset_bytes, record.length_bytes,
                       record.plain_length_bytes});
      if (i + 1 < records.size() && table_.record(records[i + 1]).pack == record.pack) continue;
      encoder.add(table_.packs()[record.pack].id, blobs);
      blobs.clear();
      if (encoder.blob_count() >= kMaxIndexBlobs || encoder.size_bytes() >= kMaxIndexBytes)
        save(encoder);
    }
    if (encoder.blob_count() > 0) save(encoder);
    return old_files;
  }

  void save(repo::IndexEncoder& encoder) {
    repository_.save_unpacked(store::Kind::index, encoder.finish());
  }

  void remove_packs() {
    std::vector<base::Id> packs;
    for (uint32_t i = 0; i < fates_.size(); ++i)
      if (fates_[i] != Fate::keep && detail_.sizes[i]) packs.push_back(table_.packs()[i].id);
    // A backup that was at work when the plan was made had packs in the store and no index yet.
    for (const base::Id& id : detail_.unindexed_packs)
      if (!fresh_.find_pack(id)) packs.push_back(id);
    remove_all(repository_.store(), store::Kind::data, packs, options_.stop);
  }

  repo::Repository& repository_;
  const PrunePlan::Detail& detail_;
  const BlobTable& table_;
  const PruneOptions& options_;
  std::vector<Fate> fates_;
  BlobTable fresh_;  // what index files say that came after the plan, our own among them
};

}  // namespace

void execute_prune(repo::Repository& repository, PrunePlan plan, const PruneOptions& options,
                   const std::function<void(const std::function<void()>&)>& with_exclusive_lock) {
  const auto detail = std::move(plan.detail);
  DAVIT_CHECK(detail != nullptr);
  if (options.progress) options.progress->bytes_total = plan.bytes_repacked;
  copy_what_stays(repository, *detail, options);
  if (options.stop.stop_requested()) throw base::Cancelled();
  with_exclusive_lock([&] { SecondPhase(repository, *detail, options).run(); });
}

}  // namespace davit::upkeep
