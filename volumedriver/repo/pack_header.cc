#include "repo/pack_header.h"

#include <limits>

#include "base/errors.h"

namespace davit::repo {
namespace {

// What an entry's first byte says.
constexpr uint8_t kTree = 1;        // else data
constexpr uint8_t kCompressed = 2;  // else as it was
constexpr uint8_t kKinds = 4;

}  // namespace

size_t header_size(std::span<const PackBlob> blobs) {
  size_t size = crypto::kSealOverhead + kHeaderLengthSize;
  for (const PackBlob& blob : blobs) size += header_entry_size(blob.is_compressed());
  return size;
}

uint64_t pack_size(std::span<const PackBlob> blobs) {
  uint64_t size = header_size(blobs);
  for (const PackBlob& blob : blobs) size += blob.length_bytes;
  return size;
}

base::Bytes encode_pack_header(std::span<const PackBlob> blobs) {
  base::Bytes header(header_size(blobs) - crypto::kSealOverhead - kHeaderLengthSize);
  uint8_t* out = header.data();
  uint64_t offset = 0;
  for (const PackBlob& blob : blobs) {
    DAVIT_CHECK(blob.offset_bytes == offset && blob.length_bytes >= crypto::kSealOverhead);
    offset += blob.length_bytes;
    *out++ = (blob.type == BlobType::tree ? kTree : 0) | (blob.is_compressed() ? kCompressed : 0);
    base::store_le32(out, blob.length_bytes);
    out += 4;
    if (blob.is_compressed()) {
      base::store_le32(out, blob.plain_length_bytes);
      out += 4;
    }
    std::memcpy(out, blob.id.bytes.data(), blob.id.bytes.size());
    out += blob.id.bytes.size();
  }
  DAVIT_CHECK(!blobs.empty() && header.size() + crypto::kSealOverhead <= kMaxPackHeader);
  return header;
}

uint32_t parse_header_length(base::ByteView last_bytes, uint64_t pack_size_bytes) {
  if (pack_size_bytes < kMinPackSize || last_bytes.size() < kHeaderLengthSize) {
    throw base::Corrupt("the pack is too short to be one");
  }
  const uint32_t length =
      base::load_le32(last_bytes.data() + last_bytes.size() - kHeaderLengthSize);
  if (length < crypto::kSealOverhead + header_entry_size(false) || length > kMaxPackHeader ||
      length > pack_size_bytes - kHeaderLengthSize) {
    throw base::Corrupt("the pack's header cannot have " + std::to_string(length) + " bytes");
  }
  return length;
}

std::vector<PackBlob> parse_pack_header(base::ByteView plain, uint64_t pack_size_bytes) {
  std::vector<PackBlob> blobs;
  blobs.reserve(plain.size() / header_entry_size(false));
  uint64_t offset = 0;
  const uint64_t overhead = plain.size() + crypto::kSealOverhead + kHeaderLengthSize;
  while (!plain.empty()) {
    const uint8_t kind = plain[0];
    if (kind >= kKinds)
      throw base::Corrupt("the pack holds a blob of the unknown type " + std::to_string(kind));
    const bool compressed = kind & kCompressed;
    if (plain.size() < header_entry_size(compressed))
      throw base::Corrupt("the pack's header is cut short");
    PackBlob& blob = blobs.emplace_back();
    blob.type = kind & kTree ? BlobType::tree : BlobType::data;
    blob.offset_bytes = static_cast<uint32_t>(offset);
    blob.length_bytes = base::load_le32(plain.data() + 1);
    if (compressed) {
      blob.plain_length_bytes = base::load_le32(plain.data() + 5);
      if (blob.plain_length_bytes == 0)
        throw base::Corrupt("the pack holds a compressed blob of no size");
    }
    std::memcpy(blob.id.bytes.data(), plain.data() + (compressed ? 9 : 5), blob.id.bytes.size());
    if (blob.length_bytes < crypto::kSealOverhead)
      throw base::Corrupt("the pack holds a blob that is too short");
    offset += blob.length_bytes;
    if (offset > std::numeric_limits<uint32_t>::max())
      throw base::Corrupt("the pack is larger than 4 GiB");
    plain = plain.subspan(header_entry_size(compressed));
  }
  if (blobs.empty()) throw base::Corrupt("the pack's header is empty");
  if (offset + overhead != pack_size_bytes) {
    throw base::Corrupt("the pack's header does not fit its size: it tells of " +
                        std::to_string(offset + overhead) + " bytes, there are " +
                        std::to_string(pack_size_bytes));
  }
  return blobs;
}

}  // namespace davit::repo
