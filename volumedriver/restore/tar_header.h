// What stands before a member in a tar stream.
#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.h"

namespace davit::restore {

inline constexpr size_t kTarBlock = 512;
// Two blocks of zeros.
inline constexpr size_t kTarEnd = 2 * kTarBlock;

enum class TarType : char { file = '0', hard_link = '1', symlink = '2', directory = '5' };

// Whole blocks: a ustar header, before it a pax header where name, target or size do not fit in.
// Owner 0:0, mode 0755 of directories, 0777 of symbolic links and else 0644, time 0. `name` and
// `link_target` as paths without a slash at either end.
base::Bytes tar_header(TarType type, const std::string& name, const std::string& link_target,
                       uint64_t size_bytes);
// How much of zeros follows content of that size.
constexpr size_t tar_padding(uint64_t size_bytes) {
  return static_cast<size_t>((kTarBlock - size_bytes % kTarBlock) % kTarBlock);
}

}  // namespace davit::restore
