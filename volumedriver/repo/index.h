// Which pack holds which blob. Built from the repository's index files, plus what running sessions add.
// Any thread may call anything at the same time; look-ups do not block each other.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/id.h"

namespace davit::repo {

enum class BlobType : uint8_t { data = 0, tree = 1 };

struct BlobLocation {
  base::Id pack;
  uint32_t offset = 0;
  uint32_t length = 0;        // sealed, in the pack
  uint32_t plain_length = 0;  // 0: not compressed, then the plain length is length - crypto::kSealOverhead
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

  // Every entry (with all its copies), for check and prune. Entries of one index file are taken whole.
  void for_each(const std::function<void(const IndexEntry&)>& each) const;
  size_t blob_count() const;

  // The index files in it.
  std::vector<base::Id> files() const;
  bool has_file(const base::Id& file) const;
  void add_file(const base::Id& file, std::vector<IndexEntry> entries);
  void drop_file(const base::Id& file);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace davit::repo
