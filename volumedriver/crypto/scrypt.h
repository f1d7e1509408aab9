// scrypt (RFC 7914), which turns a password into the key that opens a key file. Slow and hungry for
// memory by design: 128 * N * r bytes, and a third of a second with the parameters that restic
// chooses. Any thread.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/bytes.h"

namespace davit::crypto {

using DerivedBytes = std::array<uint8_t, 64>;

// The parameters of new key files.
inline constexpr uint64_t kScryptN = 32768;
inline constexpr uint32_t kScryptR = 8;
inline constexpr uint32_t kScryptP = 5;

// The parameters come from a file that anybody may have written. Throws Corrupt when they are no
// valid scrypt parameters, or would cost more than 1 GiB of memory or about a minute.
DerivedBytes derive(std::string_view password, base::ByteView salt, uint64_t N, uint32_t r,
                    uint32_t p);

}  // namespace davit::crypto
