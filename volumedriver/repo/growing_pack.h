// A pack while blobs are added to it: in memory at first, then a draft of the store, hashed as it
// grows, together with others where several grow at once. Throws what the store throws; a pack that
// threw is of no more use. One thread at a time.
#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "crypto/sha256_lanes.h"
#include "repo/pack_header.h"
#include "store/store.h"

namespace davit::repo {

// Small packs are put as a whole; one that grows beyond this becomes a draft in the store.
inline constexpr size_t kHeadSize = 1 << 20;

// Blobs that go into a pack together, sealed, one behind the other.
struct SealedBlobs {
  base::ByteView bytes;
  std::span<const PackBlob> blobs;  // with their lengths; where they lie is not known yet
};

struct GrowingPack {
  base::Bytes head;                     // all of it, while there is no draft
  std::unique_ptr<store::Draft> draft;  // holds what `hash` has seen
  crypto::Sha256Stream hash;
  size_t size_bytes = 0;
  std::vector<PackBlob> blobs;

  void add(store::Store& store, size_t expected_bytes, const SealedBlobs& more) {
    GrowingPack* const only = this;
    add_each(store, expected_bytes, std::span(&only, 1), std::span(&more, 1));
  }

  static constexpr size_t kAtOnce = 3;

  // packs[i], of kAtOnce at most, takes more[i].
  static void add_each(store::Store& store, size_t expected_bytes,
                       std::span<GrowingPack* const> packs, std::span<const SealedBlobs> more) {
    std::array<crypto::Sha256Stream*, kAtOnce> hashes;
    std::array<base::ByteView, kAtOnce> bytes;
    size_t count = 0;
    for (size_t i = 0; i < packs.size(); ++i) {
      GrowingPack& pack = *packs[i];
      for (PackBlob blob : more[i].blobs) {
        blob.offset_bytes = static_cast<uint32_t>(pack.size_bytes);
        pack.size_bytes += blob.length_bytes;
        pack.blobs.push_back(blob);
      }
      if (!pack.outgrows(store, expected_bytes, more[i].bytes)) continue;
      hashes[count] = &pack.hash;
      bytes[count++] = more[i].bytes;
    }
    crypto::Sha256Stream::update_each(std::span(hashes).first(count),
                                      std::span(bytes).first(count));
    for (size_t i = 0; i < packs.size(); ++i)
      if (packs[i]->draft) packs[i]->draft->append(more[i].bytes);
  }

  // What is no blob: the header.
  void append(store::Store& store, size_t expected_bytes, base::ByteView bytes) {
    size_bytes += bytes.size();
    if (!outgrows(store, expected_bytes, bytes)) return;
    hash.update(bytes);
    draft->append(bytes);
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
    store::Name name{store::Kind::data, hash.finish()};
    name.trees = !blobs.empty() && blobs.front().type == BlobType::tree;
    name.is_hash = true;
    if (draft)
      draft->commit(name);
    else
      store.put(name, base::ByteView(head));
    return name.id;
  }

 private:
  // With `more`, which size_bytes has already: false where all of it is in `head` then, and else
  // the draft is there and waits for it.
  bool outgrows(store::Store& store, size_t expected_bytes, base::ByteView more) {
    if (draft) return true;
    if (size_bytes <= kHeadSize) {
      base::append(head, more);
      return false;
    }
    draft = store.begin_draft(store::Kind::data, expected_bytes);
    if (!head.empty()) {
      hash.update(head);
      draft->append(head);
      head = {};
    }
    return true;
  }
};

}  // namespace davit::repo
