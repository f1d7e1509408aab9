// A pack while blobs are added to it: in memory at first, then a draft of the store, hashed as it
// grows. Throws what the store throws; a pack that threw is of no more use. One thread at a time.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "crypto/sha256.h"
#include "repo/pack_header.h"
#include "store/store.h"

namespace davit::repo {

// Small packs are put as a whole; one that grows beyond this becomes a draft in the store.
inline constexpr size_t kHeadSize = 1 << 20;

struct GrowingPack {
  base::Bytes head;                     // all of it, while there is no draft
  std::unique_ptr<store::Draft> draft;  // holds what `hash` has seen
  crypto::Sha256 hash;
  size_t size_bytes = 0;
  std::vector<PackBlob> blobs;

  void add(store::Store& store, size_t expected_bytes, PackBlob blob, base::ByteView sealed) {
    blob.offset_bytes = static_cast<uint32_t>(size_bytes);
    blob.length_bytes = static_cast<uint32_t>(sealed.size());
    append(store, expected_bytes, sealed);
    blobs.push_back(blob);
  }

  void append(store::Store& store, size_t expected_bytes, base::ByteView bytes) {
    size_bytes += bytes.size();
    if (!draft && size_bytes <= kHeadSize) return base::append(head, bytes);
    if (!draft) {
      draft = store.begin_draft(store::Kind::data, expected_bytes);
      flush(head);
      head = {};
    }
    flush(bytes);
  }

  // The bytes of one of its blobs.
  void read(const PackBlob& blob, base::Bytes& out) const {
    out.resize(blob.length_bytes);
    if (draft)
      draft->read(blob.offset_bytes, out);
    else
      std::copy_n(head.begin() + blob.offset_bytes, out.size(), out.begin());
  }

  // Its name and where it lies from here on, in the store.
  base::Id put(store::Store& store) {
    if (!draft) hash.update(head);
    const base::Id id = hash.finish();
    if (draft)
      draft->commit({store::Kind::data, id});
    else
      store.put({store::Kind::data, id}, base::ByteView(head));
    return id;
  }

 private:
  void flush(base::ByteView bytes) {
    hash.update(bytes);
    draft->append(bytes);
  }
};

}  // namespace davit::repo
