// Reading many blobs of one pack with few requests.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "base/bytes.h"
#include "base/id.h"
#include "repo/repository.h"
#include "upkeep/blob_table.h"

namespace davit::upkeep {

struct OpenedBlob {
  base::ByteView plain;
  base::ByteView content;           // what is sealed in the pack: a zstd frame, or the plain bytes
  uint32_t plain_length_bytes = 0;  // 0: `content` is plain
};

// Decrypts `sealed` where it lies, decompresses into `buffer` where that is needed, and verifies
// it. The result lies in both. Throws Corrupt.
OpenedBlob open_blob(const crypto::Key& key, std::span<uint8_t> sealed, uint32_t plain_length_bytes,
                     const base::Id& id, base::Bytes& buffer);

// Gives these records, all of one pack and sorted by offset, to `each`. What lies close together is
// read at once. Where this copy of a blob is damaged, another is used; throws when none is good.
// One thread.
void read_blobs(const repo::Repository& repository, const BlobTable& table,
                std::span<const uint32_t> records,
                const std::function<void(uint32_t record, const OpenedBlob& blob)>& each);

// Numbers of the records that `wanted` chooses, grouped by pack and sorted by offset.
std::vector<uint32_t> records_by_pack(const BlobTable& table,
                                      const std::function<bool(uint32_t)>& wanted);

}  // namespace davit::upkeep
