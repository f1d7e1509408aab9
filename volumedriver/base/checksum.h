// Checksums against damage by chance, not by people: for caches of our own.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace davit::base {

// XXH64 with seed 0, as its specification defines it: some ten bytes a nanosecond.
uint64_t xxh64(ByteView bytes);

}  // namespace davit::base
