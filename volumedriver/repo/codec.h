// Compression of blobs and of the "unpacked" files (index, snapshot, lock). Any thread; contexts
// are kept per thread.
#pragma once

#include <cstddef>
#include <span>

#include "base/bytes.h"

namespace davit::repo {

// Bounds on what may come out of a file of the repository.
inline constexpr size_t kMaxUnpackedSmall = 16 << 20;         // snapshots and locks
inline constexpr size_t kMaxUnpackedIndex = size_t{2} << 30;  // index files; restic aims at 8 MiB

// Levels of zstd: for "auto", within 3 % of the size that restic comes to, and for "max", which is
// some ten times slower.
inline constexpr int kDefaultLevel = 2;
inline constexpr int kMaxLevel = 12;

// Appends one zstd frame: window of at most 512 KiB, no checksum.
void compress(base::ByteView plain, base::Bytes& append_to, int level = kDefaultLevel);
// What compress() may append at most.
size_t compress_bound(size_t plain_size_bytes);

// Whether compressing would hardly make it smaller, by a look at some of it: bytes that are all as
// frequent, and nothing that repeats. False for what is small, where a look does not pay. What it
// misses is what repeats at a distance of more than a few KiB only.
bool is_incompressible(base::ByteView plain);

// Fills `out` exactly. Throws Corrupt for a damaged frame or another size; never writes beyond
// `out`.
void decompress(base::ByteView frame, std::span<uint8_t> out);
base::Bytes decompress(base::ByteView frame, size_t exact_size_bytes);
// Where the size is unknown (frames need not tell it): throws Corrupt when it would pass
// `max_size_bytes`.
base::Bytes decompress_bounded(base::ByteView frame, size_t max_size_bytes);

// The plaintext of an index, snapshot or lock file of a version 2 repository: a byte of value 2 and
// a frame.
base::Bytes encode_unpacked(base::ByteView json);
// Version 2's: a leading 2, or raw JSON. In version 1 there is only raw JSON, which reads the
// same. Throws Corrupt for any other encoding.
base::Bytes decode_unpacked(base::ByteView plain, size_t max_size_bytes);

}  // namespace davit::repo
