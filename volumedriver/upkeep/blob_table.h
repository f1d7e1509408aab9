// Every blob that a set of index files names, sorted, with a few marks each: what prune and check
// reason about. Read from the index files themselves as they are in the store now, not from what a
// running daemon remembers of them. The records are in a mapped file without a name, in the
// directory of the index cache; only where that cannot be written are they in memory. Else 1 byte a
// blob and 80 a pack are, and up to 2 for each blob in the table that finds them.
//
// Building is parallel; afterwards the table does not change, except for its marks, which any
// thread may set.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/id.h"
#include "base/mapped_file.h"
#include "repo/index.h"
#include "repo/index_record.h"
#include "repo/repository.h"

namespace davit::upkeep {

class BlobTable {
 public:
  using Record = repo::IndexRecord;  // one copy of a blob
  struct Pack {
    base::Id id;
    uint64_t size_bytes = 0;  // what blobs, header and header length add up to
    uint64_t digest = 0;      // of all its entries, whatever their order
    uint32_t blobs = 0;
    bool has_data = false, has_tree = false;
    bool has_plain_tree = false;  // a tree that is not compressed
  };
  struct File {
    base::Id id;
    std::vector<uint32_t> packs;
    size_t blobs = 0;
  };
  // All copies of one blob: the records [first, first + count).
  struct Copies {
    size_t first = 0, count = 0;
    bool empty() const { return count == 0; }
  };
  enum Mark : uint8_t {
    used = 1,     // on the first copy: a snapshot reaches the blob
    damaged = 2,  // on each copy that cannot be read
    kept = 4,     // on the first copy: some copy stays where it is
    copied = 8,   // on the first copy: it was written to a new pack
  };

  BlobTable() = default;
  // Reads these index files. What is wrong with one (unreadable, or it contradicts another about a
  // pack) is given to `on_error` (one call at a time), and the rest is used; without `on_error` it
  // throws Corrupt. Throws Cancelled when `stop` was requested.
  using OnError = std::function<void(const base::Id& file, const std::string& reason)>;
  static BlobTable load(const repo::Repository& repository, std::span<const base::Id> files,
                        const OnError& on_error = {}, std::stop_token stop = {});

  Copies find(repo::BlobType type, const base::Id& id) const;
  // The copies of the blob that record `number` is a copy of.
  Copies copies_of(size_t number) const;
  const Record& record(size_t number) const { return records_[number]; }
  size_t size() const { return records_.size(); }
  repo::BlobType type(size_t number) const {
    return number < trees_ ? repo::BlobType::tree : repo::BlobType::data;
  }
  repo::BlobLocation location(size_t number) const;

  const std::vector<Pack>& packs() const { return packs_; }
  std::optional<uint32_t> find_pack(const base::Id& id) const;
  const std::vector<File>& files() const { return files_; }
  // Packs that more than one index file names.
  uint64_t repeated_packs() const { return repeated_packs_; }
  // Those of them of which not all say the same; the table has what one of them says.
  const std::vector<uint32_t>& contradicted_packs() const { return contradicted_packs_; }

  bool has(size_t number, Mark mark) const {
    return marks_[number].load(std::memory_order_relaxed) & mark;
  }
  // True when this call set it.
  bool set(size_t number, Mark mark) const {
    return !(marks_[number].fetch_or(mark, std::memory_order_relaxed) & mark);
  }
  void clear(size_t number, Mark mark) const {
    marks_[number].fetch_and(static_cast<uint8_t>(~mark), std::memory_order_relaxed);
  }
  // No copy of it can be read.
  bool is_lost(const Copies& copies) const;

 private:
  friend class BlobTableBuilder;

  void adopt(base::MappedFile records);

  base::MappedFile file_;
  std::span<const Record> records_;  // trees, then data; each sorted by ID, pack, offset
  size_t trees_ = 0;
  std::vector<Pack> packs_;
  std::vector<uint32_t> packs_by_id_;
  std::vector<File> files_;
  uint64_t repeated_packs_ = 0;
  std::vector<uint32_t> contradicted_packs_;
  // Where the records with a given beginning of the ID start: for trees, then for data.
  unsigned bucket_bits_ = 0;
  std::vector<uint32_t> tree_buckets_, data_buckets_;
  std::unique_ptr<std::atomic<uint8_t>[]> marks_;
};

// What an entry adds to its pack's digest.
uint64_t entry_digest(repo::BlobType type, const base::Id& id, uint32_t offset_bytes,
                      uint32_t length_bytes, uint32_t plain_length_bytes);

// The names of all files of a kind, sorted.
std::vector<base::Id> list_ids(store::Store& store, store::Kind kind);

}  // namespace davit::upkeep
