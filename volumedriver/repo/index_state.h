// What an index knows. For the index's own files.
#pragma once

#include <pthread.h>

#include <array>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/errors.h"
#include "repo/index.h"
#include "repo/pack_table.h"
#include "repo/record_table.h"

namespace davit::repo {

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

// A pack by where its records are: its number in the cache file, or in memory.
struct PackRef {
  uint32_t number : 31;
  uint32_t in_memory : 1;
};

// Copied, it is a picture that shares the records.
struct IndexContent {
  std::shared_ptr<const IndexCache> cache;  // or nothing
  std::vector<uint32_t> cache_uses;  // by pack of the cache: how many files describe it; 0: gone,
                                     // its records are dead, and it never comes back
  PackTable packs;                   // whose records are in memory
  std::vector<uint32_t> uses;        // of those; one that comes back still has its records
  std::unordered_map<base::Id, std::vector<PackRef>> files;  // all
  std::array<size_t, 2> live{};                              // records of packs that are there

  const IndexedPack& pack(PackRef ref) const {
    return ref.in_memory ? packs[ref.number] : cache->packs()[ref.number];
  }
  std::optional<PackRef> find_pack(const IndexedPack& pack) const;
  // Counts one more file, or one less, that describes the pack.
  void use(PackRef ref);
  void release(PackRef ref);
  // Takes over a cache file as all that there is.
  void begin_with(std::shared_ptr<const IndexCache> cache);
};

struct Index::State : IndexContent {
  mutable WriterFirstMutex mutex;
  // Under the mutex: all of IndexContent, and
  std::array<RecordTable, 2> tables;  // by type

  // Locked in this order, before the mutex.
  std::mutex reading_again;
  std::mutex writing;          // protects the next
  bool is_file_usable = true;  // as far as was tried
  // Constant once use_cache() returned.
  std::string path;  // "": no cache
  base::Id repository;
  Limits limits;
  std::function<void()> read_again;

  bool is_live(const IndexRecord& record) const { return uses[record.pack] != 0; }
  size_t in_memory() const { return tables[0].size() + tables[1].size(); }
  BlobLocation location(const base::Id& pack, const IndexRecord& record) const {
    return {pack, record.offset_bytes, record.length_bytes, record.plain_length_bytes};
  }
  template <typename Each>
  void find(BlobType type, const base::Id& id, Each&& each) const;
  PackRef add_pack(const IndexedPack& pack, std::span<const PackBlob> blobs);
  void compact();
  // Keeps of what is in memory the packs that `keep` chooses; the others must not be used.
  void rebuild(const std::vector<bool>& keep);
  // Puts a new cache in the place of the former. What came or went since `before`, the files that
  // there were when it was begun, stays so.
  void adopt(std::shared_ptr<const IndexCache> made, const std::vector<base::Id>& before);
};

}  // namespace davit::repo
