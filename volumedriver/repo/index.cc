#include "repo/index.h"

#include <pthread.h>

#include <algorithm>
#include <array>
#include <mutex>
#include <shared_mutex>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/errors.h"

namespace davit::repo {

namespace {

// One copy of a blob: 48 bytes.
struct Record {
  base::Id id;
  uint32_t pack = 0;  // its number in State::packs
  uint32_t offset = 0;
  uint32_t length = 0;
  uint32_t plain_length = 0;
};
static_assert(sizeof(Record) == 48);

// Records in the order in which they came, in blocks that never move, and an open-addressing table
// of their numbers. IDs are uniform, so their first bytes are the hash. A record never changes, so
// a copy of the blocks' pointers is a picture of the whole that needs no lock.
class Table {
 public:
  static constexpr size_t kBlock = 1 << 12;
  using Block = std::array<Record, kBlock>;
  struct Picture {
    std::vector<std::shared_ptr<const Block>> blocks;
    size_t size = 0;
  };
  Picture picture() const { return {{blocks_.begin(), blocks_.end()}, size_}; }

  size_t size() const { return size_; }
  const Record& at(size_t number) const { return (*blocks_[number / kBlock])[number % kBlock]; }

  void reserve(size_t more) {
    size_t slots = std::max<size_t>(slots_.size(), 1024);
    while ((size_ + more) * 4 > slots * 3) slots *= 2;
    if (slots != slots_.size()) rehash(slots);
  }

  // After reserve().
  void add(const Record& record) {
    DAVIT_CHECK(size_ < kFree);
    if (size_ % kBlock == 0) blocks_.push_back(std::make_shared<Block>());
    (*blocks_[size_ / kBlock])[size_ % kBlock] = record;
    place(static_cast<uint32_t>(size_));
    ++size_;
  }

  // Calls `each` for the records of this ID until it returns true.
  template <typename Each>
  void find(const base::Id& id, Each&& each) const {
    if (slots_.empty()) return;
    const size_t mask = slots_.size() - 1;
    for (size_t slot = hash(id) & mask; slots_[slot] != kFree; slot = (slot + 1) & mask) {
      const Record& record = at(slots_[slot]);
      if (record.id == id && each(record)) return;
    }
  }

 private:
  static constexpr uint32_t kFree = UINT32_MAX;

  static size_t hash(const base::Id& id) { return std::hash<base::Id>()(id); }

  void place(uint32_t number) {
    const size_t mask = slots_.size() - 1;
    size_t slot = hash(at(number).id) & mask;
    while (slots_[slot] != kFree) slot = (slot + 1) & mask;
    slots_[slot] = number;
  }

  void rehash(size_t slots) {
    // Not assign(): the old table is freed first.
    slots_ = {};
    slots_.resize(slots, kFree);
    for (size_t number = 0; number < size_; ++number) place(static_cast<uint32_t>(number));
  }

  std::vector<std::shared_ptr<Block>> blocks_;
  std::vector<uint32_t> slots_;
  size_t size_ = 0;
};

// std::shared_mutex lets readers that keep coming starve a writer; this one does not.
class WriterFirstMutex {
 public:
  WriterFirstMutex() {
    pthread_rwlockattr_t attributes;
    ::pthread_rwlockattr_init(&attributes);
    ::pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    DAVIT_CHECK(::pthread_rwlock_init(&lock_, &attributes) == 0);
    ::pthread_rwlockattr_destroy(&attributes);
  }
  ~WriterFirstMutex() { ::pthread_rwlock_destroy(&lock_); }
  WriterFirstMutex(const WriterFirstMutex&) = delete;
  WriterFirstMutex& operator=(const WriterFirstMutex&) = delete;

  void lock() { DAVIT_CHECK(::pthread_rwlock_wrlock(&lock_) == 0); }
  void unlock() { ::pthread_rwlock_unlock(&lock_); }
  void lock_shared() { DAVIT_CHECK(::pthread_rwlock_rdlock(&lock_) == 0); }
  void unlock_shared() { ::pthread_rwlock_unlock(&lock_); }

 private:
  pthread_rwlock_t lock_;
};

// What a file says of a pack. Several files that say the same share one.
struct Pack {
  base::Id id;
  uint64_t fingerprint = 0;  // of its entries, in whatever order
  uint32_t files = 0;        // that describe it so; 0: gone, and its records are dead
  std::array<uint32_t, 2> blobs{};
};

uint64_t mix(uint64_t value) {
  value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
  value = (value ^ value >> 27) * 0x94d049bb133111eb;
  return value ^ value >> 31;
}

uint64_t fingerprint(const IndexEntry& entry) {
  uint64_t value = base::load_le64(entry.id.bytes.data());
  value = mix(value + entry.location.offset);
  value = mix(value + entry.location.length);
  value = mix(value + entry.location.plain_length);
  return mix(value + static_cast<uint64_t>(entry.type));
}

// Index files name a pack once, with all its blobs; whoever made this one may not have.
void gather_packs(std::vector<IndexEntry>& entries) {
  std::unordered_set<base::Id> packs;
  for (size_t i = 0; i < entries.size(); ++i) {
    const base::Id& pack = entries[i].location.pack;
    if (i > 0 && entries[i - 1].location.pack == pack) continue;
    if (packs.insert(pack).second) continue;
    std::stable_sort(entries.begin(), entries.end(), [](const IndexEntry& a, const IndexEntry& b) {
      return a.location.pack < b.location.pack;
    });
    return;
  }
}

}  // namespace

struct Index::State {
  mutable WriterFirstMutex mutex;
  // All below: under the mutex.
  std::array<Table, 2> tables;  // by type
  std::vector<Pack> packs;
  std::unordered_multimap<base::Id, uint32_t> pack_numbers;
  std::unordered_map<base::Id, std::vector<uint32_t>> files;  // the packs of each
  std::array<size_t, 2> live{};                               // records of packs that are there

  const Table& table(BlobType type) const { return tables[static_cast<size_t>(type)]; }
  bool is_live(const Record& record) const { return packs[record.pack].files != 0; }
  BlobLocation location(const Record& record) const {
    return {packs[record.pack].id, record.offset, record.length, record.plain_length};
  }
  void add_pack(std::span<const IndexEntry> entries, std::vector<uint32_t>& numbers);
  void compact();
};

// `entries` are all of one pack.
void Index::State::add_pack(std::span<const IndexEntry> entries, std::vector<uint32_t>& numbers) {
  Pack pack{.id = entries.front().location.pack};
  for (const auto& entry : entries) {
    pack.fingerprint += fingerprint(entry);
    ++pack.blobs[static_cast<size_t>(entry.type)];
  }
  uint32_t number = static_cast<uint32_t>(packs.size());
  const auto [first, last] = pack_numbers.equal_range(pack.id);
  for (auto known = first; known != last; ++known) {
    const Pack& other = packs[known->second];
    if (other.fingerprint == pack.fingerprint && other.blobs == pack.blobs) number = known->second;
  }
  if (number == packs.size()) {
    packs.push_back(pack);
    pack_numbers.emplace(pack.id, number);
    for (const auto& entry : entries)
      tables[static_cast<size_t>(entry.type)].add({entry.id, number, entry.location.offset,
                                                   entry.location.length,
                                                   entry.location.plain_length});
  }
  // A pack that was gone and comes back still has its records.
  if (packs[number].files++ == 0)
    for (size_t type = 0; type < 2; ++type) live[type] += pack.blobs[type];
  numbers.push_back(number);
}

// Gives back the memory of dead records once they are more than half.
void Index::State::compact() {
  const size_t total = tables[0].size() + tables[1].size();
  if (total < 4096 || (live[0] + live[1]) * 2 > total) return;
  std::vector<uint32_t> renumbered(packs.size());
  std::vector<Pack> kept;
  for (size_t number = 0; number < packs.size(); ++number) {
    renumbered[number] = static_cast<uint32_t>(kept.size());
    if (packs[number].files != 0) kept.push_back(packs[number]);
  }
  for (size_t type = 0; type < 2; ++type) {
    Table table;
    table.reserve(live[type]);
    for (size_t i = 0; i < tables[type].size(); ++i) {
      Record record = tables[type].at(i);
      if (!is_live(record)) continue;
      record.pack = renumbered[record.pack];
      table.add(record);
    }
    tables[type] = std::move(table);
  }
  for (auto& [file, numbers] : files)
    for (auto& number : numbers) number = renumbered[number];
  packs = std::move(kept);
  pack_numbers.clear();
  for (size_t number = 0; number < packs.size(); ++number)
    pack_numbers.emplace(packs[number].id, static_cast<uint32_t>(number));
}

Index::Index() : state_(std::make_unique<State>()) {}
Index::~Index() = default;

bool Index::contains(BlobType type, const base::Id& id) const {
  const std::shared_lock lock(state_->mutex);
  bool found = false;
  state_->table(type).find(id,
                           [&](const Record& record) { return found = state_->is_live(record); });
  return found;
}

std::optional<BlobLocation> Index::find(BlobType type, const base::Id& id) const {
  const std::shared_lock lock(state_->mutex);
  std::optional<BlobLocation> found;
  state_->table(type).find(id, [&](const Record& record) {
    if (state_->is_live(record)) found = state_->location(record);
    return found.has_value();
  });
  return found;
}

std::vector<BlobLocation> Index::find_all(BlobType type, const base::Id& id) const {
  const std::shared_lock lock(state_->mutex);
  std::vector<BlobLocation> found;
  state_->table(type).find(id, [&](const Record& record) {
    if (state_->is_live(record)) found.push_back(state_->location(record));
    return false;
  });
  return found;
}

void Index::for_each(const std::function<void(const IndexEntry&)>& each) const {
  std::array<Table::Picture, 2> pictures;
  std::vector<Pack> packs;
  {
    const std::shared_lock lock(state_->mutex);
    for (size_t type = 0; type < 2; ++type) pictures[type] = state_->tables[type].picture();
    packs = state_->packs;
  }
  for (const BlobType type : {BlobType::data, BlobType::tree}) {
    const Table::Picture& picture = pictures[static_cast<size_t>(type)];
    for (size_t i = 0; i < picture.size; ++i) {
      const Record& record = (*picture.blocks[i / Table::kBlock])[i % Table::kBlock];
      const Pack& pack = packs[record.pack];
      if (pack.files == 0) continue;
      each({type, record.id, {pack.id, record.offset, record.length, record.plain_length}});
    }
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
    for (const uint32_t number : found->second) packs.push_back(state_->packs[number].id);
  return packs;
}

void Index::add_file(const base::Id& file, std::vector<IndexEntry> entries) {
  gather_packs(entries);
  const size_t trees = static_cast<size_t>(
      std::count_if(entries.begin(), entries.end(),
                    [](const IndexEntry& entry) { return entry.type == BlobType::tree; }));

  const std::unique_lock lock(state_->mutex);
  const auto [place, is_new] = state_->files.try_emplace(file);
  if (!is_new) return;
  state_->tables[0].reserve(entries.size() - trees);
  state_->tables[1].reserve(trees);
  for (size_t first = 0; first < entries.size();) {
    size_t last = first + 1;
    while (last < entries.size() && entries[last].location.pack == entries[first].location.pack)
      ++last;
    state_->add_pack(std::span(entries).subspan(first, last - first), place->second);
    first = last;
  }
}

void Index::drop_file(const base::Id& file) {
  const std::unique_lock lock(state_->mutex);
  const auto found = state_->files.find(file);
  if (found == state_->files.end()) return;
  for (const uint32_t number : found->second) {
    Pack& pack = state_->packs[number];
    if (--pack.files != 0) continue;
    for (size_t type = 0; type < 2; ++type) state_->live[type] -= pack.blobs[type];
  }
  state_->files.erase(found);
  state_->compact();
}

}  // namespace davit::repo
