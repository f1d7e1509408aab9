// The repository's one way to encrypt: IV (16) || AES-256-CTR ciphertext || Poly1305-AES tag (16)
// over the ciphertext. The tag proves that whoever holds the key wrote these bytes; it does not say
// what they are, so check the SHA-256 of what comes out. Any thread; contexts are kept per thread.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "base/bytes.h"

namespace davit::crypto {

inline constexpr size_t kIvSize = 16;
inline constexpr size_t kTagSize = 16;
inline constexpr size_t kSealOverhead = kIvSize + kTagSize;

struct Key {
  std::array<uint8_t, 32> encrypt{};
  std::array<uint8_t, 16> mac_k{};
  std::array<uint8_t, 16> mac_r{};

  static Key random();
  // encrypt || mac_k || mac_r, as scrypt yields a password's key.
  static Key from_bytes(std::span<const uint8_t, 64> bytes);
  // False where a part is all zero: such a key is never made and never accepted.
  bool is_valid() const;
  bool operator==(const Key&) const = default;
};

// Appends plain.size() + kSealOverhead bytes. `plain` must not lie in `append_to`.
void seal(const Key& key, base::ByteView plain, base::Bytes& append_to);
// `box` holds the plaintext between kIvSize bytes before and kTagSize bytes after it, both of which
// are filled in.
void seal_in_place(const Key& key, std::span<uint8_t> box);

// All throw Corrupt when the bytes are too short, were not sealed with this key or were changed
// since; no plaintext is produced then.
base::Bytes open(const Key& key, base::ByteView sealed);
// `out` has exactly sealed.size() - kSealOverhead bytes, and is either apart from `sealed` or its
// ciphertext itself.
void open(const Key& key, base::ByteView sealed, std::span<uint8_t> out);
// Decrypts where the bytes lie and returns the part that holds the plaintext.
std::span<uint8_t> open_in_place(const Key& key, std::span<uint8_t> sealed);

// Fast random bytes of cryptographic quality (the kernel's, fetched in batches per thread; never
// repeated after a fork).
void random_bytes(std::span<uint8_t> out);

}  // namespace davit::crypto
