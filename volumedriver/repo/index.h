// Which pack holds which blob. Built from the repository's index files, plus what running sessions
// add. Any thread may call anything at the same time; look-ups do not block each other.
//
// Where a cache file is at hand (use_cache), what index files say lies in it, sorted and mapped
// (index_cache.h), and only what came since is in memory. Memory then, whatever the repository
// holds:
//   60 bytes * (blobs that came since: settle() keeps them below Limits::blobs_in_memory)
//   4 bytes * packs, and 100 bytes a pack while the file is written anew
// Else all is in memory: about 60 bytes a blob.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/id.h"
#include "repo/blob.h"
#include "repo/index_cache_writer.h"
#include "repo/index_file.h"

namespace davit::repo {

struct BlobLocation {
  base::Id pack;
  uint32_t offset = 0;
  uint32_t length = 0;  // sealed, in the pack
  // 0: not compressed; the plain length is then length - crypto::kSealOverhead.
  uint32_t plain_length = 0;

  bool operator==(const BlobLocation&) const = default;
};

struct IndexEntry {
  BlobType type = BlobType::data;
  base::Id id;
  BlobLocation location;
};

class Index {
 public:
  // Beyond these settle() moves what is in memory into the file.
  struct Limits {
    size_t blobs_in_memory = 1 << 19;
    size_t files_in_memory = 64;
  };

  Index();
  ~Index();

  // Keeps the index of this repository in the file `path`, and begins with what is there. Once,
  // before anything else. `read_again` is called by whoever finds that the file is damaged; it must
  // end in a write_cache() from scratch.
  void use_cache(std::string path, const base::Id& repository, Limits limits,
                 std::function<void()> read_again);
  bool has_cache() const;

  bool contains(BlobType type, const base::Id& id) const;
  // Any copy.
  std::optional<BlobLocation> find(BlobType type, const base::Id& id) const;
  std::vector<BlobLocation> find_all(BlobType type, const base::Id& id) const;

  // Every entry with all its copies; a pack that several index files describe alike comes once.
  // Index files are seen whole or not at all; what changes meanwhile is not seen.
  void for_each(const std::function<void(const IndexEntry&)>& each) const;
  size_t blob_count() const;  // copies count

  // The index files in it. Adding one that is there, or dropping one that is not, changes nothing.
  std::vector<base::Id> files() const;
  bool has_file(const base::Id& file) const;
  void add_file(const base::Id& file, const std::vector<IndexEntry>& entries);
  void add_file(const base::Id& file, const IndexFileContent& content);
  void drop_file(const base::Id& file);
  // The packs that a file describes (nothing for an unknown one).
  std::vector<base::Id> packs_of(const base::Id& file) const;

  // Makes the cache anew, of what is known and what `add_more` adds, which then is known too. Where
  // the file cannot be written, the log says so, and it lies in memory. `from_scratch`: of what
  // add_more adds and what others add meanwhile, only. What add_more throws passes through; it may
  // be called twice. Throws IndexCache::Damaged (not from scratch), with everything as it was.
  using AddMore = std::function<void(IndexCacheWriter&)>;
  void write_cache(uint64_t expected_more, const AddMore& add_more, bool from_scratch = false);
  // Writes it anew if more has come, or gone, than should be in memory. Does nothing while another
  // thread writes it.
  void settle();

 private:
  struct State;
  template <typename Look>
  auto look_up(Look&& look) const;
  void write_cache_locked(uint64_t expected_more, const AddMore& add_more, bool from_scratch);
  void read_again(const std::shared_ptr<const IndexCache>& damaged) const;

  std::unique_ptr<State> state_;
};

}  // namespace davit::repo
