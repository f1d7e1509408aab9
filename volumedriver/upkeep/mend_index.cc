#include "upkeep/mend_index.h"

#include <algorithm>
#include <atomic>
#include <mutex>

#include "base/crew.h"
#include "base/errors.h"
#include "base/unreadable.h"
#include "crypto/sha256.h"
#include "repo/upload.h"
#include "upkeep/examine_pack.h"
#include "upkeep/pack_reader.h"

namespace davit::upkeep {

namespace {

constexpr size_t kMaxIndexBlobs = 50'000;
constexpr size_t kMaxIndexBytes = 8 << 20;
// Each examiner holds a pack and a blob, twice.
constexpr unsigned kMostExaminers = 8;
constexpr uint64_t kLargestPack = uint64_t{1} << 30;

}  // namespace

bool IndexMender::run(const std::vector<base::Id>& suspects, bool all) {
  load();
  heal_sizes();
  choose(suspects, all);
  examine_all();
  const bool any = !damaged_files_.empty() ||
                   std::any_of(packs_.begin(), packs_.end(),
                               [](const Pack& pack) { return pack.fate != Fate::keep; });
  if (!any) return false;
  if (options_.stop.stop_requested()) throw base::Cancelled();
  // Whatever could be read of damaged packs is in new ones, and indexed.
  write_index();
  // From here on the index is whole without the old files, and from the next line on without them.
  remove_old();
  return true;
}

void IndexMender::load() {
  packs_.clear();
  doubtful_.clear();
  damaged_files_.clear();
  old_files_.clear();
  const auto files = list_ids(repository_.store(), store::Kind::index);
  std::map<base::Id, std::string> failures;
  table_ = BlobTable::load(
      repository_, files,
      [&](const base::Id& file, const std::string& reason) { failures[file] = reason; },
      options_.stop);
  // A file that only contradicts another one was read.
  for (const auto& file : table_.files()) failures.erase(file.id);
  for (const auto& [file, reason] : failures)
    if (is_given_after_all(file)) return load();
  damaged_files_ = std::move(failures);

  for (uint32_t i = 0; i < table_.packs().size(); ++i)
    packs_.push_back({.id = table_.packs()[i].id, .size_bytes = {}, .number = i, .blobs = {}});
  repository_.store().list(store::Kind::data, [&](const store::FileInfo& file) {
    if (const auto number = table_.find_pack(file.id))
      packs_[*number].size_bytes = file.size_bytes;
    else
      packs_.push_back({.id = file.id, .size_bytes = file.size_bytes, .number = {}, .blobs = {}});
  });
}

// A store that does not give a file now says nothing about it: that is thrown.
bool IndexMender::is_given_after_all(const base::Id& file) const {
  try {
    repository_.load_unpacked(store::Kind::index, file);
    return false;  // what is in it is wrong
  } catch (const base::Error& error) {
    if (base::is_place_failing(error)) throw;
    return repository_.heal_surely({store::Kind::index, file});
  }
}

void IndexMender::heal_sizes() {
  std::vector<size_t> wrong;
  for (size_t i = 0; i < table_.packs().size(); ++i)
    if (packs_[i].size_bytes != table_.packs()[i].size_bytes) wrong.push_back(i);
  base::for_each_parallel(
      "heal packs", repository_.store().connections(), wrong.size(), [&](size_t i) {
        if (options_.stop.stop_requested()) throw base::Cancelled();
        Pack& pack = packs_[wrong[i]];
        if (repository_.heal_surely({store::Kind::data, pack.id}))
          pack.size_bytes = repository_.store().find_size({store::Kind::data, pack.id});
      });
}

void IndexMender::choose(const std::vector<base::Id>& suspects, bool all) {
  const std::set<base::Id> named(suspects.begin(), suspects.end());
  const auto& contradicted = table_.contradicted_packs();
  for (size_t i = 0; i < packs_.size(); ++i) {
    Pack& pack = packs_[i];
    if (!pack.size_bytes) {
      pack.fate = Fate::drop;
      ++report_.packs_missing;
      act("missing packs", "pack " + pack.id.hex() + ": is missing, and leaves the index");
      continue;
    }
    const bool is_odd =
        pack.number && (pack.size_bytes != table_.packs()[*pack.number].size_bytes ||
                        std::count(contradicted.begin(), contradicted.end(), *pack.number) > 0);
    // A former repair may have been about to remove it.
    const bool is_stray = !pack.number && damaged_files_.empty() && table_.size() > 0;
    pack.is_read_whole = all || is_odd || is_stray || named.contains(pack.id);
    if ((pack.is_read_whole || !pack.number) && !hopeless_.contains(pack.id))
      doubtful_.push_back(i);
  }
}

// What can be had of damaged packs goes into new ones at once.
void IndexMender::examine_all() {
  if (doubtful_.empty()) return;
  repo::UploadOptions upload;
  upload.stop = options_.stop;
  upload.reserve = options_.reserve;
  repo::UploadSession session(repository_, upload);
  std::mutex reporting;
  if (options_.progress) {
    uint64_t bytes = 0;
    for (const size_t i : doubtful_)
      if (packs_[i].is_read_whole) bytes += *packs_[i].size_bytes;
    options_.progress->bytes_total += bytes;
  }
  find_indexed_blobs();
  const auto salvage = [&](Pack& pack, PackExaminer& examiner) {
    std::vector<repo::PackBlob> expected;
    if (pack.number) expected = indexed_blobs(*pack.number);
    PackVerdict verdict = examiner.examine(pack.id, *pack.size_bytes, expected);
    if (!verdict.is_whole) {
      // Once more: the store may have put it right, or have given something else this time.
      repository_.heal_surely({store::Kind::data, pack.id});
      pack.size_bytes = repository_.store().find_size({store::Kind::data, pack.id});
      if (pack.size_bytes)
        verdict = examiner.examine(pack.id, *pack.size_bytes, expected);
      else
        verdict = {};  // it is gone
    }
    uint64_t good = 0;
    if (!verdict.is_whole)
      examiner.for_each_good(verdict, [&](const repo::PackBlob& blob, const OpenedBlob& opened) {
        session.copy_blob(blob.type, blob.id, opened.content, opened.plain_length_bytes);
        ++good;
      });
    std::lock_guard lock(reporting);
    ++report_.packs_read;
    report_.bytes_read += verdict.bytes_read;
    if (options_.progress) options_.progress->bytes_done += verdict.bytes_read;
    examined_.insert(pack.id);
    if (verdict.is_whole) {
      const auto& contradicted = table_.contradicted_packs();
      // Both are in the order of the pack.
      if (pack.number && expected == verdict.blobs &&
          std::count(contradicted.begin(), contradicted.end(), *pack.number) == 0)
        return;
      pack.fate = Fate::index;
      pack.blobs = std::move(verdict.blobs);
    } else if (!pack.number && !verdict.has_header) {
      hopeless_.insert(pack.id);
      act("unreadable packs",
          "pack " + pack.id.hex() + ": is in no index and cannot be read; prune removes it");
    } else {
      pack.fate = Fate::destroy;
      pack.has_gaps = verdict.has_gaps;
      ++report_.packs_salvaged;
      report_.blobs_salvaged += good;
      act("damaged packs", "pack " + pack.id.hex() + ": is damaged; " + std::to_string(good) +
                               " of its " + std::to_string(verdict.blobs.size()) +
                               " blobs are stored again, and it is removed");
    }
  };
  const auto look_at_header = [&](Pack& pack) {
    try {
      pack.blobs = read_pack_header(repository_, pack.id, *pack.size_bytes);
      pack.fate = Fate::index;
    } catch (const base::IoError&) {
      throw;
    } catch (const base::Error& error) {
      std::lock_guard lock(reporting);
      hopeless_.insert(pack.id);
      act("unreadable packs", "pack " + pack.id.hex() + ": is in no index and cannot be read (" +
                                  error.what() + "); prune removes it");
    }
  };
  std::atomic<size_t> next{0};
  std::atomic<bool> failed{false};
  base::Crew crew([&] { failed = true; });
  const auto work = [&] {
    PackExaminer examiner(repository_);
    for (size_t i; !failed && (i = next++) < doubtful_.size();) {
      if (options_.stop.stop_requested()) throw base::Cancelled();
      Pack& pack = packs_[doubtful_[i]];
      pack.is_read_whole ? salvage(pack, examiner) : look_at_header(pack);
    }
  };
  const auto threads =
      std::min<size_t>({base::processor_count(), kMostExaminers, doubtful_.size()});
  for (size_t i = 0; i < threads; ++i) crew.start("examine packs", work);
  crew.join();
  session.finish();
  tell();
}

void IndexMender::tell() {
  for (const Pack& pack : packs_) {
    if (pack.fate != Fate::index) continue;
    ++report_.packs_indexed;
    act("packs to index", "pack " + pack.id.hex() +
                              (pack.number ? ": the index was wrong about it, and says now what is "
                                             "in it"
                                           : ": was in no index, and is indexed"));
  }
}

bool IndexMender::is_old(const BlobTable::File& file) const {
  return std::any_of(file.packs.begin(), file.packs.end(),
                     [&](uint32_t pack) { return packs_[pack].fate != Fate::keep; });
}

void IndexMender::write_index() {
  std::vector<bool> is_to_write(table_.packs().size());
  for (const auto& file : table_.files()) {
    if (!is_old(file)) continue;
    old_files_.push_back(file.id);
    for (const uint32_t pack : file.packs)
      if (packs_[pack].fate == Fate::keep) is_to_write[pack] = true;
  }
  for (const auto& [file, why] : damaged_files_) {
    old_files_.push_back(file);
    act("index files", "index " + file.hex() + ": cannot be read (" + why +
                           "), and is removed; the packs tell what was in it");
  }
  repo::IndexEncoder encoder;
  const auto save = [&] {
    repository_.save_unpacked(store::Kind::index, encoder.finish());
    ++report_.index_files_written;
  };
  const auto add = [&](const base::Id& pack, std::span<const repo::PackBlob> blobs) {
    encoder.add(pack, blobs);
    if (encoder.blob_count() >= kMaxIndexBlobs || encoder.size_bytes() >= kMaxIndexBytes) save();
  };
  const auto records = records_by_pack(
      table_, [&](uint32_t number) { return is_to_write[table_.record(number).pack]; });
  std::vector<repo::PackBlob> blobs;
  for (size_t i = 0; i < records.size(); ++i) {
    const auto& record = table_.record(records[i]);
    blobs.push_back({table_.type(records[i]), record.id, record.offset_bytes, record.length_bytes,
                     record.plain_length_bytes});
    if (i + 1 < records.size() && table_.record(records[i + 1]).pack == record.pack) continue;
    add(table_.packs()[record.pack].id, blobs);
    blobs.clear();
  }
  for (const Pack& pack : packs_)
    if (pack.fate == Fate::index) add(pack.id, pack.blobs);
  if (encoder.blob_count() > 0) save();
}

void IndexMender::remove_old() {
  const auto remove_all = [&](store::Kind kind, const std::vector<base::Id>& ids) {
    base::for_each_parallel("remove", repository_.store().connections(), ids.size(), [&](size_t i) {
      if (options_.stop.stop_requested()) throw base::Cancelled();
      repository_.store().remove({kind, ids[i]});
    });
  };
  remove_all(store::Kind::index, old_files_);
  report_.index_files_removed += old_files_.size();
  // From here on no index names the packs.
  std::vector<base::Id> packs;
  for (const Pack& pack : packs_) {
    if (pack.fate != Fate::destroy) continue;
    if (pack.has_gaps && can_be_read_after_all(pack.id))
      act("damaged packs", "pack " + pack.id.hex() +
                               ": can be read after all, and stays: repair again to have it indexed");
    else
      packs.push_back(pack.id);
  }
  remove_all(store::Kind::data, packs);
}

// A medium that failed for a while must not cost a pack that is whole.
bool IndexMender::can_be_read_after_all(const base::Id& pack) const {
  try {
    return crypto::sha256(repository_.store().get({store::Kind::data, pack}, kLargestPack)) == pack;
  } catch (const base::Error&) {
    return false;
  }
}

void IndexMender::find_indexed_blobs() {
  records_ = records_by_pack(
      table_, [&](uint32_t number) { return packs_[table_.record(number).pack].is_read_whole; });
  records_of_.assign(table_.packs().size(), {});
  for (size_t begin = 0, end; begin < records_.size(); begin = end) {
    const uint32_t pack = table_.record(records_[begin]).pack;
    for (end = begin; end < records_.size() && table_.record(records_[end]).pack == pack;) ++end;
    records_of_[pack] = std::span(records_).subspan(begin, end - begin);
  }
}

std::vector<repo::PackBlob> IndexMender::indexed_blobs(uint32_t number) const {
  std::vector<repo::PackBlob> blobs;
  for (const uint32_t i : records_of_[number]) {
    const auto& record = table_.record(i);
    blobs.push_back({table_.type(i), record.id, record.offset_bytes, record.length_bytes,
                     record.plain_length_bytes});
  }
  return blobs;
}

void IndexMender::act(const std::string& sort, const std::string& what) {
  constexpr size_t kMaxLines = 100;
  const size_t told = ++told_[sort];
  if (told <= kMaxLines) report_.actions.push_back(what);
  if (told == kMaxLines + 1) report_.actions.push_back("and more of this kind: " + sort);
}

}  // namespace davit::upkeep
