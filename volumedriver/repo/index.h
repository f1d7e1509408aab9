// Which pack holds which blob. Built from the repository's index files, plus what running sessions
// add. Any thread may call anything at the same time; look-ups do not block each other. About 55
// bytes a blob.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/id.h"
#include "repo/blob.h"

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
  Index();
  ~Index();

  bool contains(BlobType type, const base::Id& id) const;
  // Any copy.
  std::optional<BlobLocation> find(BlobType type, const base::Id& id) const;
  std::vector<BlobLocation> find_all(BlobType type, const base::Id& id) const;

  // Every entry with all its copies, for check and prune; a pack that several index files describe
  // alike comes once. Index files are seen whole or not at all; what changes meanwhile is not seen.
  void for_each(const std::function<void(const IndexEntry&)>& each) const;
  size_t blob_count() const;  // copies count

  // The index files in it. Adding one that is there, or dropping one that is not, changes nothing.
  std::vector<base::Id> files() const;
  bool has_file(const base::Id& file) const;
  void add_file(const base::Id& file, std::vector<IndexEntry> entries);
  void drop_file(const base::Id& file);
  // The packs that a file describes (nothing for an unknown one).
  std::vector<base::Id> packs_of(const base::Id& file) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace davit::repo
