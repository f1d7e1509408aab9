// The index as a file of the daemon's own, mapped into memory: a sorted table of 48-byte records,
// so that opening a repository of millions of blobs costs next to nothing, and holding its index
// none of our memory. Written by IndexCacheWriter (index_cache_writer.h); never changed, only
// replaced.
//
//   header    magic, repository ID, numbers of all below, checksums; 4 KiB
//   records   of trees, then of data, each sorted and filled up to whole blocks of 256 (12 KiB)
//   tables    packs, sorted · index files and which packs each describes · of each block: the
//             beginning of its first ID, and its checksum
//
// It is a cache: what is cut short, damaged, or of another repository or format is as if it were
// not there. Header and tables are verified when it is opened, a block of records before its first
// use; then Damaged is thrown, and whoever holds the index has to read it from the repository
// again. The directory must be ours alone: a file that is cut short while it is mapped kills the
// process. Any thread may call anything.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/id.h"
#include "base/mapped_file.h"
#include "repo/blob.h"
#include "repo/index_record.h"
#include "repo/pack_table.h"

namespace davit::repo {

class IndexCache {
 public:
  // Not an Error: nobody but the index may handle it.
  class Damaged : public std::exception {
   public:
    const char* what() const noexcept override { return "the index cache is damaged"; }
  };
  // How many records have one checksum.
  static constexpr size_t kBlock = 256;

  struct File {
    base::Id id;
    uint64_t first_pack = 0, packs = 0;  // in the list of the files' packs
  };
  static_assert(sizeof(File) == 48);

  // Nothing where there is no usable one for this repository. `why` is told the reason unless there
  // is none at all.
  static std::shared_ptr<const IndexCache> open(const std::string& path, const base::Id& repository,
                                                const std::function<void(const char* why)>& why);
  static std::shared_ptr<const IndexCache> open(int file, const base::Id& repository,
                                                const std::function<void(const char* why)>& why);

  size_t size(BlobType type) const { return types_[static_cast<size_t>(type)].size; }
  std::span<const IndexedPack> packs() const { return packs_; }
  std::span<const File> files() const { return files_; }
  std::span<const uint32_t> packs_of(const File& file) const {
    return file_packs_.subspan(file.first_pack, file.packs);
  }

  // Calls `each` for all copies until it returns true. Throws Damaged.
  template <typename Each>
  void find(BlobType type, const base::Id& id, Each&& each) const {
    const Type& all = types_[static_cast<size_t>(type)];
    for (size_t i = first_not_below(all, id); i < all.size; ++i) {
      if (i % kBlock == 0) verify(all.first_block + i / kBlock);
      if (all.records[i].id != id || each(all.records[i])) return;
    }
  }
  // All records with low <= key() <= high, in order. Throws Damaged.
  void for_range(BlobType type, uint64_t low, uint64_t high,
                 const std::function<void(const IndexRecord&)>& each) const;
  // Throws Damaged unless every block is as it was written.
  void verify_all() const;

  struct Header;

 private:
  struct Type {
    const IndexRecord* records = nullptr;
    size_t size = 0, first_block = 0, blocks = 0;
  };

  IndexCache() = default;
  // Says what is wrong, or nothing.
  const char* load(int file, const base::Id& repository);
  size_t first_not_below(const Type& all, const base::Id& id) const;
  void verify(size_t block) const {
    if (!(verified_[block / 64].load(std::memory_order_relaxed) >> block % 64 & 1))
      verify_first(block);
  }
  void verify_first(size_t block) const;

  base::MappedFile file_;
  const IndexRecord* records_ = nullptr;
  Type types_[2];
  std::span<const IndexedPack> packs_;
  std::span<const File> files_;
  std::span<const uint32_t> file_packs_;
  std::span<const uint64_t> keys_, checksums_;  // of the blocks
  mutable std::vector<std::atomic<uint64_t>> verified_;
};

// The beginning of the file. `checksum` is of all before it, `tables_checksum` of the tables.
struct IndexCache::Header {
  char magic[32];
  base::Id repository;
  uint64_t records[2];
  uint64_t packs, files, file_packs;
  uint64_t tables_checksum;
  uint64_t checksum;

  static constexpr size_t kSize = 4096;
  static constexpr char kMagic[32] = "davit index cache, format 1\n";
  uint64_t blocks(BlobType type) const {
    return (records[static_cast<size_t>(type)] + kBlock - 1) / kBlock;
  }
  uint64_t blocks() const { return blocks(BlobType::data) + blocks(BlobType::tree); }
  uint64_t tables_offset() const { return kSize + blocks() * kBlock * sizeof(IndexRecord); }
  uint64_t tables_size() const {
    return packs * sizeof(IndexedPack) + files * sizeof(File) + blocks() * 16 + file_packs * 4;
  }
};

}  // namespace davit::repo
