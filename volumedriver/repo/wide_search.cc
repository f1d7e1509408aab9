#include "repo/wide_search.h"

#include <algorithm>

#include "base/errors.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

namespace davit::repo {
namespace {

constexpr size_t kWindow = 64;
constexpr int kDegree = 53;
// The planes hold the fingerprint's 53 bits three places up, so that the bits that a step pushes
// out are a plane.
constexpr int kShift = 3;
// Of a long block. With an odd number of lines in each, lanes do not compete for one set of a
// cache.
constexpr size_t kMaxLane = 33 * kWindow;

}  // namespace

WideSearch::Tables WideSearch::tables_of(std::span<const uint64_t, 256> values) {
  Tables tables;
  for (size_t plane = 0; plane < kPlanes; ++plane) {
    for (size_t half = 0; half < 16; ++half) {
      tables.low[plane][half] = static_cast<uint8_t>(values[half] << kShift >> 8 * plane);
      tables.high[plane][half] = static_cast<uint8_t>(values[half << 4] << kShift >> 8 * plane);
    }
  }
  return tables;
}

WideSearch::WideSearch(std::span<const uint64_t, 256> reduce, std::span<const uint64_t, 256> leave)
    : reduce_(tables_of(reduce)) {
  std::array<uint64_t, 256> left;  // after the step that it leaves in
  for (size_t byte = 0; byte < left.size(); ++byte)
    left[byte] = leave[byte] << 8 ^ reduce[leave[byte] >> (kDegree - 8)];
  leave_ = tables_of(left);
}

size_t WideSearch::lane_bytes(size_t bytes) {
  const size_t lines = std::min(bytes / kLanes, kMaxLane) / kWindow;
  return lines == 0 ? 0 : (lines - (lines % 2 == 0)) * kWindow;
}

#ifdef __x86_64__

bool WideSearch::works_here() {
  static const bool has_avx2 = __builtin_cpu_supports("avx2") != 0;
  return has_avx2;
}

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif

namespace {

// One byte of each lane, in halves.
struct Halves {
  __m256i low, high;
};

inline Halves halves_of(__m256i bytes) {
  const __m256i low = _mm256_set1_epi8(0x0F);
  return {_mm256_and_si256(bytes, low), _mm256_and_si256(_mm256_srli_epi16(bytes, 4), low)};
}

inline __m256i look_up(const std::array<uint8_t, 16>& table, __m256i halves) {
  const __m128i once = _mm_load_si128(reinterpret_cast<const __m128i*>(table.data()));
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(once), halves);
}

// What the high half of a byte, kShift places up, is in the first and in the second plane.
constexpr std::array<uint8_t, 16> table_of_high(int shift) {
  std::array<uint8_t, 16> table{};
  for (size_t half = 0; half < table.size(); ++half)
    table[half] = static_cast<uint8_t>(half << 4 << kShift >> shift);
  return table;
}
alignas(16) constexpr std::array kFirst = table_of_high(0);
alignas(16) constexpr std::array kSecond = table_of_high(8);

// The next kStep bytes of each lane, turned: column[i] has the i-th of each.
void turn(const uint8_t* at, size_t lane_bytes, Halves* columns) {
  constexpr size_t kRows = WideSearch::kStep;
  const auto row = [&](size_t lane) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at + lane * lane_bytes));
  };
  __m256i rows[kRows], turned[kRows];
#pragma GCC unroll 16
  for (size_t i = 0; i < kRows; ++i)
    rows[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(row(i)), row(i + kRows), 1);
    // Each round turns the eight bits of a byte's place, row and column, by one.
#pragma GCC unroll 4
  for (int round = 0; round < 4; ++round) {
#pragma GCC unroll 8
    for (size_t i = 0; i < kRows / 2; ++i) {
      turned[2 * i] = _mm256_unpacklo_epi8(rows[i], rows[i + kRows / 2]);
      turned[2 * i + 1] = _mm256_unpackhi_epi8(rows[i], rows[i + kRows / 2]);
    }
    std::copy(turned, turned + kRows, rows);
  }
#pragma GCC unroll 16
  for (size_t i = 0; i < kRows; ++i) columns[i] = halves_of(rows[i]);
}

// The lines at `at` of each lane into the cache: these are more lanes than the processor reads
// ahead of by itself.
inline void fetch(const uint8_t* at, size_t lane_bytes) {
  for (size_t lane = 0; lane < WideSearch::kLanes; ++lane)
    _mm_prefetch(reinterpret_cast<const char*>(at + lane * lane_bytes), _MM_HINT_T0);
}

}  // namespace

// The fingerprints of all lanes.
class WideSearch::Block {
 public:
  explicit Block(const WideSearch& tables) : tables_(tables) {}

  // While the window fills.
  void push(const Halves& in) { push<false>(in, in); }
  void push(const Halves& in, const Halves& out) { push<true>(in, out); }

  // A zero for each lane whose fingerprint ends with 20 of them.
  __m256i ends() const {
    static_assert(20 + kShift == 2 * 8 + 7);
    const __m256i third = _mm256_add_epi8(planes_[2], planes_[2]);
    return _mm256_or_si256(_mm256_or_si256(planes_[0], planes_[1]), third);
  }

 private:
  template <bool leaves>
  void push(const Halves& in, const Halves& out) {
    const Halves top = halves_of(planes_[kPlanes - 1]);
    // The new byte, kShift places up: of its high half a part is in the second plane.
    __m256i below = _mm256_xor_si256(_mm256_slli_epi16(in.low, kShift), look_up(kFirst, in.high));
    const __m256i second = _mm256_xor_si256(planes_[0], look_up(kSecond, in.high));
#pragma GCC unroll 7
    for (size_t i = 0; i < kPlanes; ++i) {
      const __m256i next = i == 0 ? second : planes_[i];
      __m256i plane = _mm256_xor_si256(below, look_up(tables_.reduce_.low[i], top.low));
      plane = _mm256_xor_si256(plane, look_up(tables_.reduce_.high[i], top.high));
      if constexpr (leaves) {
        plane = _mm256_xor_si256(plane, look_up(tables_.leave_.low[i], out.low));
        plane = _mm256_xor_si256(plane, look_up(tables_.leave_.high[i], out.high));
      }
      planes_[i] = plane;
      below = next;
    }
  }

  const WideSearch& tables_;
  __m256i planes_[kPlanes] = {};
};

const uint8_t* WideSearch::find(const uint8_t* from, size_t lane_bytes) const {
  DAVIT_CHECK(lane_bytes > 0 && lane_bytes % kWindow == 0);
  // A ring: the window, and what comes next.
  constexpr size_t kSteps = kWindow / kStep + 1;
  Halves ring[kSteps][kStep];
  Block block(*this);
  for (size_t i = 0; i < kSteps - 1; ++i) {
    turn(from - kWindow + i * kStep, lane_bytes, ring[i]);
    for (const Halves& in : ring[i]) block.push(in);
  }
  const uint8_t* found = nullptr;
  uint32_t before = ~uint32_t{0};  // the lanes before the one where `found` is, or all
  size_t at = kSteps - 1;          // of the ring
  for (size_t i = 0; i < lane_bytes; i += kStep) {
    if (i % kWindow == 0 && i + kWindow < lane_bytes) fetch(from + i + kWindow, lane_bytes);
    const Halves* in = ring[at];
    turn(from + i, lane_bytes, ring[at]);
    at = at == kSteps - 1 ? 0 : at + 1;
    const Halves* out = ring[at];
    __m256i least = _mm256_set1_epi8(-1);
    for (size_t k = 0; k < kStep; ++k) {
      block.push(in[k], out[k]);
      least = _mm256_min_epu8(least, block.ends());
    }
    const __m256i zero = _mm256_setzero_si256();
    const auto hits = static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(least, zero)));
    if ((hits & before) != 0) [[unlikely]] {
      const auto lane = static_cast<unsigned>(__builtin_ctz(hits & before));
      found = from + lane * lane_bytes + i;
      if (lane == 0) break;
      before = (uint32_t{1} << lane) - 1;
    }
  }
  return found;
}

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#else

bool WideSearch::works_here() {
  return false;
}

const uint8_t* WideSearch::find(const uint8_t*, size_t) const {
  throw base::Error("this processor has no wide search");
}

#endif

}  // namespace davit::repo
