#include "upkeep/blob_table.h"

#include <algorithm>
#include <mutex>
#include <tuple>
#include <unordered_map>

#include "base/crew.h"
#include "base/errors.h"
#include "repo/codec.h"
#include "repo/index_file.h"
#include "repo/pack_header.h"

namespace davit::upkeep {

namespace {

constexpr size_t kMaxRecords = UINT32_MAX;

bool precedes(const BlobTable::Record& a, const BlobTable::Record& b) {
  return std::tie(a.id, a.pack, a.offset_bytes) < std::tie(b.id, b.pack, b.offset_bytes);
}

// Sorts with all processors: halves are split off around their median until there is one part for
// each.
void sort_parallel(std::span<BlobTable::Record> records, unsigned threads) {
  if (threads <= 1 || records.size() < 100'000) {
    std::sort(records.begin(), records.end(), precedes);
    return;
  }
  const size_t middle = records.size() / 2;
  std::nth_element(records.begin(), records.begin() + middle, records.end(), precedes);
  base::Crew crew({});
  crew.start("sort", [=] { sort_parallel(records.first(middle), threads / 2); });
  sort_parallel(records.subspan(middle), threads - threads / 2);
  crew.join();
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
  explicit BlobTableBuilder(BlobTable& table) : table_(table) {}

  void read(const repo::Repository& repository, const base::Id& file) {
    struct Found {
      BlobTable::Pack pack;
      size_t first = 0;
    };
    std::vector<Found> packs;
    std::vector<std::pair<repo::BlobType, BlobTable::Record>> entries;
    const base::Bytes json = repository.load_unpacked(store::Kind::index, file);
    repo::parse_index(json, [&](const base::Id& id, std::span<const repo::PackBlob> blobs) {
      Found found{{.id = id,
                   .size_bytes = repo::pack_size(blobs),
                   .blobs = static_cast<uint32_t>(blobs.size())},
                  entries.size()};
      for (const repo::PackBlob& blob : blobs) {
        found.pack.digest += entry_digest(blob.type, blob.id, blob.offset_bytes, blob.length_bytes,
                                          blob.plain_length_bytes);
        const bool is_tree = blob.type == repo::BlobType::tree;
        (is_tree ? found.pack.has_tree : found.pack.has_data) = true;
        if (is_tree && !blob.is_compressed()) found.pack.has_plain_tree = true;
        entries.emplace_back(blob.type,
                             BlobTable::Record{blob.id, 0, blob.offset_bytes, blob.length_bytes,
                                               blob.plain_length_bytes});
      }
      packs.push_back(found);
    });

    std::lock_guard lock(mutex_);
    BlobTable::File listed{.id = file, .packs = {}, .blobs = entries.size()};
    Chunk chunk;
    std::string contradicted;
    for (const Found& found : packs) {
      const auto [place, is_new] =
          numbers_.try_emplace(found.pack.id, static_cast<uint32_t>(table_.packs_.size()));
      listed.packs.push_back(place->second);
      if (!is_new) {
        ++table_.repeated_packs_;
        const BlobTable::Pack& known = table_.packs_[place->second];
        if (known.digest != found.pack.digest || known.blobs != found.pack.blobs)
          contradicted = found.pack.id.hex();
        continue;
      }
      table_.packs_.push_back(found.pack);
      for (size_t i = found.first; i < found.first + found.pack.blobs; ++i) {
        auto& [type, record] = entries[i];
        record.pack = place->second;
        (type == repo::BlobType::tree ? chunk.trees : chunk.data).push_back(record);
      }
    }
    trees_ += chunk.trees.size();
    data_ += chunk.data.size();
    if (trees_ + data_ > kMaxRecords)
      throw base::Unsupported("the repository has more than four billion blobs");
    chunks_.push_back(std::move(chunk));
    table_.files_.push_back(std::move(listed));
    if (!contradicted.empty())
      throw base::Corrupt("it does not say the same of pack " + contradicted +
                          " as another index file");
  }

  void finish() {
    // Untouched pages cost nothing, and each chunk is freed once it is copied: no second table in
    // memory.
    table_.trees_ = trees_;
    table_.records_.reserve(trees_ + data_);
    for (Chunk& chunk : chunks_) {
      table_.records_.insert(table_.records_.end(), chunk.trees.begin(), chunk.trees.end());
      chunk.trees = {};
    }
    for (Chunk& chunk : chunks_) {
      table_.records_.insert(table_.records_.end(), chunk.data.begin(), chunk.data.end());
      chunk.data = {};
    }
    table_.sort_and_index();
  }

 private:
  struct Chunk {
    std::vector<BlobTable::Record> trees, data;
  };

  BlobTable& table_;
  std::mutex mutex_;  // of all below, and of table_ until finish()
  std::unordered_map<base::Id, uint32_t> numbers_;
  std::vector<Chunk> chunks_;
  size_t trees_ = 0, data_ = 0;
};

BlobTable BlobTable::load(const repo::Repository& repository, std::span<const base::Id> files,
                          const OnError& on_error, std::stop_token stop) {
  BlobTable table;
  BlobTableBuilder builder(table);
  std::mutex reporting;
  base::for_each_parallel("index", base::processor_count(), files.size(), [&](size_t i) {
    if (stop.stop_requested()) throw base::Cancelled();
    try {
      builder.read(repository, files[i]);
    } catch (const base::Error& error) {
      const auto* io = dynamic_cast<const base::IoError*>(&error);
      if (io && io->transient()) throw;
      if (!on_error) throw base::Corrupt("index " + files[i].hex() + ": " + error.what());
      std::lock_guard lock(reporting);
      on_error(files[i], error.what());
    }
  });
  builder.finish();
  return table;
}

void BlobTable::sort_and_index() {
  const std::span all(records_);
  sort_parallel(all.first(trees_), base::processor_count());
  sort_parallel(all.subspan(trees_), base::processor_count());
  bucket_bits_ = 8;
  while (bucket_bits_ < 24 && (size_t{8} << bucket_bits_) < records_.size()) ++bucket_bits_;
  tree_buckets_ = make_buckets(all.first(trees_), bucket_bits_);
  data_buckets_ = make_buckets(all.subspan(trees_), bucket_bits_);
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
