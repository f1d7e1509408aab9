// Pack headers: the list at a pack's end of what is in it. A pack is  blob_1 || … || blob_n ||
// seal(header) || uint32 length of the sealed header.
#pragma once

#include <span>
#include <vector>

#include "base/bytes.h"
#include "crypto/seal.h"
#include "repo/blob.h"

namespace davit::repo {

// The header of a pack may take 16 MiB, sealed and with its length field.
inline constexpr size_t kMaxPackHeader = 16 << 20;
// Smallest pack: a sealed empty blob is not stored, so one uncompressed entry, its header and its
// length.
inline constexpr size_t kMinPackSize = 73;
// Every pack ends with this many bytes of header length.
inline constexpr size_t kHeaderLengthSize = 4;

constexpr size_t header_entry_size(bool compressed) {
  return compressed ? 41 : 37;
}
// What the header of `blobs` takes at the pack's end, sealed and with its length field.
size_t header_size(std::span<const PackBlob> blobs);
// The whole pack, as `check` computes it from the index.
uint64_t pack_size(std::span<const PackBlob> blobs);

// The header's plaintext, to be sealed. The blobs lie in order, the first at 0, without gaps: else
// CHECK.
base::Bytes encode_pack_header(std::span<const PackBlob> blobs);

// The length of the sealed header, from the last four bytes of a pack of this size. Throws Corrupt
// when it cannot be.
uint32_t parse_header_length(base::ByteView last_bytes, uint64_t pack_size_bytes);
// `plain` is the opened header. Throws Corrupt for unknown types, lengths that no sealed blob has,
// or when blobs and header do not add up to the pack's size.
std::vector<PackBlob> parse_pack_header(base::ByteView plain, uint64_t pack_size_bytes);

}  // namespace davit::repo
