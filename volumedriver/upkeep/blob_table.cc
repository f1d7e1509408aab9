#include "upkeep/blob_table.h"

#include <algorithm>
#include <mutex>
#include <unordered_map>

#include "base/crew.h"
#include "base/errors.h"
#include "base/files.h"
#include "base/log.h"
#include "repo/index_file.h"
#include "repo/pack_header.h"
#include "repo/record_sorter.h"

namespace davit::upkeep {

namespace {

constexpr size_t kMaxRecords = UINT32_MAX;
// What index files are full with.
constexpr uint64_t kBlobsPerFile = 50'000;

// Each thread has an index file's JSON in memory, mostly 8 MiB.
constexpr unsigned kMostThreads = 8;

// The table's own files cannot be written. Not an Error, so that nobody takes it for the
// repository's failure.
struct NoRoom : std::exception {
  explicit NoRoom(std::string why) : why(std::move(why)) {}
  const char* what() const noexcept override { return why.c_str(); }
  std::string why;
};

template <typename Do>
auto own_files(Do&& act) {
  try {
    return act();
  } catch (const base::IoError& error) {
    throw NoRoom(error.what());
  }
}

uint32_t beginning(const base::Id& id, unsigned bits) {
  const uint32_t head = uint32_t{id.bytes[0]} << 24 | uint32_t{id.bytes[1]} << 16 |
                        uint32_t{id.bytes[2]} << 8 | uint32_t{id.bytes[3]};
  return head >> (32 - bits);
}

std::vector<uint32_t> make_buckets(std::span<const BlobTable::Record> records, unsigned bits) {
  std::vector<uint32_t> starts((size_t{1} << bits) + 1);
  for (const auto& record : records) ++starts[beginning(record.id, bits) + 1];
  for (size_t i = 1; i < starts.size(); ++i) starts[i] += starts[i - 1];
  return starts;
}

}  // namespace

uint64_t entry_digest(repo::BlobType type, const base::Id& id, uint32_t offset_bytes,
                      uint32_t length_bytes, uint32_t plain_length_bytes) {
  // splitmix64's finisher over the fields in turn; entries are summed, so that their order does not
  // count.
  uint64_t value = 0x9e3779b97f4a7c15 + static_cast<uint64_t>(type);
  const auto stir = [&](uint64_t more) {
    value += more;
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
    value = (value ^ value >> 27) * 0x94d049bb133111eb;
    value ^= value >> 31;
  };
  for (size_t i = 0; i < 32; i += 8) stir(base::load_le64(id.bytes.data() + i));
  stir(uint64_t{offset_bytes} << 32 | length_bytes);
  stir(plain_length_bytes);
  return value;
}

std::vector<base::Id> list_ids(store::Store& store, store::Kind kind) {
  std::vector<base::Id> ids;
  store.list(kind, [&](const store::FileInfo& file) { ids.push_back(file.id); });
  std::sort(ids.begin(), ids.end());
  return ids;
}

// Collects what the threads read, one file at a time.
class BlobTableBuilder {
 public:
  // In files of `directory`; "": in memory.
  BlobTableBuilder(BlobTable& table, const std::string& directory, uint64_t expected_blobs)
      : table_(table), directory_(directory), sorter_(make_file(directory), expected_blobs) {}

  void read(const repo::Repository& repository, const base::Id& file) {
    repo::IndexFileContent content;
    {
      const base::Bytes json = repository.load_unpacked(store::Kind::index, file);
      repo::parse_index(json, content);
    }
    std::vector<Found> packs;
    packs.reserve(content.packs.size());
    for (const auto& described : content.packs) {
      const auto blobs = content.blobs_of(described);
      BlobTable::Pack& pack = packs.emplace_back().pack;
      pack.id = described.id;
      pack.size_bytes = repo::pack_size(blobs);
      pack.blobs = static_cast<uint32_t>(blobs.size());
      for (const repo::PackBlob& blob : blobs) {
        pack.digest += entry_digest(blob.type, blob.id, blob.offset_bytes, blob.length_bytes,
                                    blob.plain_length_bytes);
        const bool is_tree = blob.type == repo::BlobType::tree;
        (is_tree ? pack.has_tree : pack.has_data) = true;
        if (is_tree && !blob.is_compressed()) pack.has_plain_tree = true;
      }
    }
    const auto contradicted = take_numbers(file, content, packs);
    own_files([&] {
      for (size_t i = 0; i < packs.size(); ++i)
        if (packs[i].is_new) sorter_.add(packs[i].number, content.blobs_of(content.packs[i]));
    });
    if (contradicted)
      throw base::Corrupt("it does not say the same of pack " + contradicted->hex() +
                          " as another index file");
  }

  void finish() {
    own_files([&] {
      const base::Fd file = make_file(directory_);
      uint64_t count = 0;
      for (const auto type : {repo::BlobType::tree, repo::BlobType::data}) {
        const uint64_t start = count;
        count += sorter_.finish(
            type, {}, {}, [&](uint64_t first, std::span<const BlobTable::Record> records) {
              base::pwrite_all(
                  file.get(),
                  {reinterpret_cast<const uint8_t*>(records.data()), records.size_bytes()},
                  (start + first) * sizeof(BlobTable::Record));
            });
        if (type == repo::BlobType::tree) table_.trees_ = count;
      }
      if (count > kMaxRecords)
        throw base::Unsupported("the repository has more than four billion blobs");
      table_.adopt(base::MappedFile(file.get(), count * sizeof(BlobTable::Record)));
    });
  }

 private:
  struct Found {
    BlobTable::Pack pack;
    uint32_t number = 0;
    bool is_new = false;
  };

  static base::Fd make_file(const std::string& directory) {
    return own_files([&] {
      if (directory.empty()) return base::make_memory_file();
      base::make_directories(directory);
      return base::make_unnamed_file(directory);
    });
  }

  // Gives the packs of a file their numbers; returns one of which another file says something else.
  std::optional<base::Id> take_numbers(const base::Id& file, const repo::IndexFileContent& content,
                                       std::vector<Found>& packs) {
    const std::lock_guard lock(mutex_);
    std::optional<base::Id> contradicted;
    BlobTable::File listed{.id = file, .packs = {}, .blobs = content.blobs.size()};
    for (Found& found : packs) {
      const auto [place, is_new] =
          numbers_.try_emplace(found.pack.id, static_cast<uint32_t>(table_.packs_.size()));
      found.number = place->second;
      found.is_new = is_new;
      listed.packs.push_back(found.number);
      if (is_new) {
        table_.packs_.push_back(found.pack);
        continue;
      }
      ++table_.repeated_packs_;
      const BlobTable::Pack& known = table_.packs_[found.number];
      if (known.digest == found.pack.digest && known.blobs == found.pack.blobs) continue;
      contradicted = found.pack.id;
      table_.contradicted_packs_.push_back(found.number);
    }
    table_.files_.push_back(std::move(listed));
    return contradicted;
  }

  BlobTable& table_;
  const std::string directory_;
  repo::RecordSorter sorter_;
  std::mutex mutex_;  // of all below, and of table_ until finish()
  std::unordered_map<base::Id, uint32_t> numbers_;
};

BlobTable BlobTable::load(const repo::Repository& repository, std::span<const base::Id> files,
                          const OnError& on_error, std::stop_token stop) {
  struct Failure {
    base::Id file;
    std::string reason;
  };
  std::vector<Failure> failures;
  const auto read = [&](const std::string& directory) {
    BlobTable table;
    BlobTableBuilder builder(table, directory, files.size() * kBlobsPerFile);
    std::mutex reporting;
    failures.clear();
    base::for_each_parallel(
        "index", std::min(base::processor_count(), kMostThreads), files.size(), [&](size_t i) {
          if (stop.stop_requested()) throw base::Cancelled();
          try {
            builder.read(repository, files[i]);
          } catch (const base::Error& error) {
            const auto* io = dynamic_cast<const base::IoError*>(&error);
            if (io && io->transient()) throw;
            if (!on_error) throw base::Corrupt("index " + files[i].hex() + ": " + error.what());
            const std::lock_guard lock(reporting);
            failures.push_back({files[i], error.what()});
          }
        });
    builder.finish();
    return table;
  };
  const auto read_somewhere = [&] {
    try {
      return read(repository.index_cache_directory());
    } catch (const NoRoom& error) {
      spdlog::warn("the table of all blobs is kept in memory: {}", error.what());
      return read("");
    }
  };
  BlobTable table = read_somewhere();
  for (const Failure& failure : failures) on_error(failure.file, failure.reason);
  return table;
}

void BlobTable::adopt(base::MappedFile records) {
  file_ = std::move(records);
  records_ = {reinterpret_cast<const Record*>(file_.bytes().data()),
              file_.bytes().size() / sizeof(Record)};
  bucket_bits_ = 8;
  while (bucket_bits_ < 24 && (size_t{8} << bucket_bits_) < records_.size()) ++bucket_bits_;
  tree_buckets_ = make_buckets(records_.first(trees_), bucket_bits_);
  data_buckets_ = make_buckets(records_.subspan(trees_), bucket_bits_);
  marks_ = std::make_unique<std::atomic<uint8_t>[]>(records_.size());
  packs_by_id_.resize(packs_.size());
  for (uint32_t i = 0; i < packs_.size(); ++i) packs_by_id_[i] = i;
  std::sort(packs_by_id_.begin(), packs_by_id_.end(),
            [&](uint32_t a, uint32_t b) { return packs_[a].id < packs_[b].id; });
}

BlobTable::Copies BlobTable::find(repo::BlobType type, const base::Id& id) const {
  if (records_.empty()) return {};
  const bool is_tree = type == repo::BlobType::tree;
  const std::vector<uint32_t>& buckets = is_tree ? tree_buckets_ : data_buckets_;
  const auto base = records_.begin() + (is_tree ? 0 : static_cast<ptrdiff_t>(trees_));
  const uint32_t bucket = beginning(id, bucket_bits_);
  const auto end = base + buckets[bucket + 1];
  const auto found = std::lower_bound(
      base + buckets[bucket], end, id,
      [](const Record& record, const base::Id& wanted) { return record.id < wanted; });
  auto last = found;
  while (last != end && last->id == id) ++last;
  return {static_cast<size_t>(found - records_.begin()), static_cast<size_t>(last - found)};
}

BlobTable::Copies BlobTable::copies_of(size_t number) const {
  const size_t begin = number < trees_ ? 0 : trees_;
  const size_t end = number < trees_ ? trees_ : records_.size();
  size_t first = number, last = number + 1;
  while (first > begin && records_[first - 1].id == records_[number].id) --first;
  while (last < end && records_[last].id == records_[number].id) ++last;
  return {first, last - first};
}

repo::BlobLocation BlobTable::location(size_t number) const {
  const Record& from = records_[number];
  repo::BlobLocation location;
  location.pack = packs_[from.pack].id;
  location.offset = from.offset_bytes;
  location.length = from.length_bytes;
  location.plain_length = from.plain_length_bytes;
  return location;
}

std::optional<uint32_t> BlobTable::find_pack(const base::Id& id) const {
  const auto found = std::lower_bound(
      packs_by_id_.begin(), packs_by_id_.end(), id,
      [&](uint32_t number, const base::Id& wanted) { return packs_[number].id < wanted; });
  if (found == packs_by_id_.end() || packs_[*found].id != id) return std::nullopt;
  return *found;
}

bool BlobTable::is_lost(const Copies& copies) const {
  for (size_t i = copies.first; i < copies.first + copies.count; ++i)
    if (!has(i, damaged)) return false;
  return true;
}

}  // namespace davit::upkeep
