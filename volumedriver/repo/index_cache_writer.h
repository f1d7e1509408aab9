// Makes an index cache (index_cache.h) of index files, and of what a former cache has, in bounded
// memory (record_sorter.h, and 100 bytes a pack). What is at the path stays until finish().
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "base/errors.h"
#include "repo/index_cache.h"
#include "repo/index_file.h"
#include "repo/record_sorter.h"

namespace davit::repo {

class IndexCacheWriter {
 public:
  // What every call throws when the cache's own files cannot be written. Not an Error, so that
  // nobody takes it for the repository's failure.
  class Unusable : public std::exception {
   public:
    explicit Unusable(std::string why) : why_(std::move(why)) {}
    const char* what() const noexcept override { return why_.c_str(); }

   private:
    std::string why_;
  };

  // `expected_blobs`: about how many there will be. Makes the directory. Without a path all is in
  // a file in memory.
  IndexCacheWriter(std::string path, const base::Id& repository, uint64_t expected_blobs);

  // A pack as a number for add_file(); whether it is new, so that its records are wanted, too.
  // Any thread.
  std::pair<uint32_t, bool> add_pack(const IndexedPack& pack);
  void add_records(uint32_t pack, std::span<const PackBlob> blobs);
  void add_file(const base::Id& file, std::vector<uint32_t> packs);
  // All three, for a whole index file; one that is there already changes nothing.
  void add_file(const base::Id& file, const IndexFileContent& content);

  // With the records of `former`, whose packs' new numbers are `former_packs` (kGone: left out).
  // Durable when it returns. Throws IndexCache::Damaged, too.
  static constexpr uint32_t kGone = UINT32_MAX;
  std::shared_ptr<const IndexCache> finish(const IndexCache* former,
                                           std::span<const uint32_t> former_packs);

 private:
  class Output;

  const std::string path_;
  const base::Id repository_;
  std::unique_ptr<RecordSorter> sorter_;
  std::mutex mutex_;  // of the rest
  PackTable packs_;
  struct File {
    base::Id id;
    std::vector<uint32_t> packs;
  };
  std::vector<File> files_;
};

}  // namespace davit::repo
