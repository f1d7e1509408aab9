// The blobs that an upload session has taken and no index file names yet. Sharded, so that threads
// which save at the same time seldom meet. Any thread may call anything.
#pragma once

#include <array>
#include <mutex>
#include <span>
#include <unordered_set>

#include "base/id.h"
#include "repo/blob.h"
#include "repo/index.h"

namespace davit::repo {

class PendingBlobs {
 public:
  // True for the one caller who is to store it.
  bool claim(BlobType type, const base::Id& id) {
    Shard& shard = shard_of(type, id);
    const std::lock_guard lock(shard.mutex);
    return shard.ids.insert(id).second;
  }

  void forget(BlobType type, const base::Id& id) {
    Shard& shard = shard_of(type, id);
    const std::lock_guard lock(shard.mutex);
    shard.ids.erase(id);
  }

 private:
  static constexpr size_t kShards = 64;
  struct alignas(64) Shard {
    std::mutex mutex;
    std::unordered_set<base::Id> ids;
  };
  Shard& shard_of(BlobType type, const base::Id& id) {
    // The last byte: the first ones choose the bucket within the shard.
    return shards_[static_cast<size_t>(type)][id.bytes[31] % kShards];
  }

  std::array<std::array<Shard, kShards>, 2> shards_;
};

}  // namespace davit::repo
