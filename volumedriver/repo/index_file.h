// Index files: which blob lies where. Repositories have millions of blobs, so both directions are
// our own and streaming.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/id.h"
#include "repo/blob.h"

namespace davit::repo {

// Called once a pack entry, with its blobs in the order of the file (not sorted). The span is valid
// during the call.
using OnIndexedPack = std::function<void(const base::Id& pack, std::span<const PackBlob> blobs)>;

// Unknown fields and "supersedes" are ignored; rustic's "packs_to_delete" too. Throws Corrupt for
// what is no index (bad JSON, IDs, types, numbers over 32 bits, a length shorter than any sealed
// blob, ranges over 4 GiB); the callback's exceptions pass through. Packs given before an error was
// met have been given.
void parse_index(base::ByteView json, const OnIndexedPack& on_pack);

// A whole index file, each pack once.
struct IndexFileContent {
  struct Pack {
    base::Id id;
    size_t first = 0, count = 0;  // of `blobs`
  };
  std::vector<Pack> packs;
  std::vector<PackBlob> blobs;

  std::span<const PackBlob> blobs_of(const Pack& pack) const {
    return std::span(blobs).subspan(pack.first, pack.count);
  }
  void clear();
  void add(const base::Id& pack, std::span<const PackBlob> blobs);
  // After the last add(): index files name a pack once, with all its blobs; whoever made this one
  // may not have.
  void gather_packs();
};
// As above, into `content`, whose memory is used again.
void parse_index(base::ByteView json, IndexFileContent& content);

// One thread. Every blob of a pack belongs into one add().
class IndexEncoder {
 public:
  IndexEncoder();

  void add(const base::Id& pack, std::span<const PackBlob> blobs);
  size_t blob_count() const { return blob_count_; }
  size_t size_bytes() const { return bytes_.size(); }
  // The JSON; the encoder is empty again.
  base::Bytes finish();

 private:
  base::Bytes bytes_;
  size_t blob_count_ = 0;
};

}  // namespace davit::repo
