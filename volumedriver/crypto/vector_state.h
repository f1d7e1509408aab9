// What code for wide vectors (OpenSSL's Poly1305) leaves behind: the upper halves of the registers
// stay in use, and the processor's SHA instructions, which know nothing of them, then drag them
// along. On AMD's Zen that costs one message a sixth of its speed and three in turn more than half.
#pragma once

#ifdef __x86_64__
#include <immintrin.h>
#endif

namespace davit::crypto {

#ifdef __x86_64__

__attribute__((target("avx"))) inline void clear_upper_halves_avx() {
  _mm256_zeroupper();
}

// Before hashing. Costs a few cycles.
inline void clear_upper_halves() {
  static const bool has_avx = __builtin_cpu_supports("avx") != 0;
  if (has_avx) clear_upper_halves_avx();
}

#else

inline void clear_upper_halves() {}

#endif

}  // namespace davit::crypto
