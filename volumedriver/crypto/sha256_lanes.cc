#include "crypto/sha256_lanes.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/errors.h"
#include "crypto/sha256.h"
#include "crypto/vector_state.h"

#ifdef __x86_64__
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace davit::crypto {
namespace {

void hash_one_by_one(std::span<const base::ByteView> messages, std::span<base::Id> ids) {
  DAVIT_CHECK(messages.size() == ids.size());
  for (size_t i = 0; i < messages.size(); ++i) ids[i] = sha256(messages[i]);
}

}  // namespace

struct Sha256Stream::Plain {
  Sha256 hash;
};

#ifdef __x86_64__

namespace {

constexpr size_t kBlock = 64;
constexpr size_t kLanes = 3;  // a fourth gains nothing

// FIPS 180-4, 4.2.2: four a row.
alignas(16) constexpr std::array<uint32_t, 64> kRounds{
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

// The eight words in the order in which the instructions want them.
struct State {
  __m128i abef = _mm_set_epi32(0x6a09e667, static_cast<int>(0xbb67ae85), 0x510e527f,
                               static_cast<int>(0x9b05688c));
  __m128i cdgh = _mm_set_epi32(0x3c6ef372, static_cast<int>(0xa54ff53a), 0x1f83d9ab, 0x5be0cd19);
};

// A message on its way: whole blocks where they lie, then its end with the padding.
struct Progress {
  State state;
  const uint8_t* at = nullptr;
  size_t blocks = 0;
  bool at_tail = false;
  size_t tail_blocks = 0;
  std::array<uint8_t, 2 * kBlock> tail;

  void begin(base::ByteView message) {
    state = State{};
    at = message.data();
    blocks = message.size() / kBlock;
    const size_t rest = message.size() % kBlock;
    if (rest > 0) std::memcpy(tail.data(), message.data() + message.size() - rest, rest);
    pad(rest, message.size());
    if (blocks == 0) next();
  }
  // After the first `rest` bytes of the tail, the last ones of a message of that size.
  void pad(size_t rest, uint64_t message_size) {
    at_tail = false;
    tail_blocks = rest < kBlock - 8 ? 1 : 2;
    std::fill(tail.begin() + rest, tail.end(), 0);
    tail[rest] = 0x80;
    for (size_t i = 0; i < 8; ++i)
      tail[tail_blocks * kBlock - 1 - i] = static_cast<uint8_t>(message_size * 8 >> 8 * i);
  }
  // Once the blocks are used up: false at the end.
  bool next() {
    if (at_tail) return false;
    at_tail = true;
    at = tail.data();
    blocks = tail_blocks;
    return true;
  }
  base::Id id() const {
    std::array<uint32_t, 4> abef, cdgh;
    std::memcpy(abef.data(), &state.abef, sizeof abef);
    std::memcpy(cdgh.data(), &state.cdgh, sizeof cdgh);
    base::Id id;
    size_t to = 0;
    for (const uint32_t word :
         {abef[3], abef[2], cdgh[3], cdgh[2], abef[1], abef[0], cdgh[1], cdgh[0]}) {
      const uint32_t big_endian = __builtin_bswap32(word);
      std::memcpy(&id.bytes[to], &big_endian, 4);
      to += 4;
    }
    return id;
  }
};

// The same number of blocks of each lane.
template <size_t kCount>
__attribute__((target("sha,sse4.1"))) void compress(Progress* const* lanes, size_t blocks) {
  const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  __m128i abef[kCount], cdgh[kCount];
  const uint8_t* at[kCount];
  for (size_t lane = 0; lane < kCount; ++lane) {
    abef[lane] = lanes[lane]->state.abef;
    cdgh[lane] = lanes[lane]->state.cdgh;
    at[lane] = lanes[lane]->at;
  }
  for (size_t block = 0; block < blocks; ++block) {
    __m128i words[kCount][4];
    __m128i abef_before[kCount], cdgh_before[kCount];
#pragma GCC unroll 3
    for (size_t lane = 0; lane < kCount; ++lane) {
      abef_before[lane] = abef[lane];
      cdgh_before[lane] = cdgh[lane];
#pragma GCC unroll 4
      for (size_t i = 0; i < 4; ++i)
        words[lane][i] = _mm_shuffle_epi8(
            _mm_loadu_si128(reinterpret_cast<const __m128i*>(at[lane] + 16 * i)), swap);
      at[lane] += kBlock;
    }
#pragma GCC unroll 16
    for (size_t round = 0; round < 16; ++round) {
      const __m128i constants =
          _mm_load_si128(reinterpret_cast<const __m128i*>(kRounds.data() + 4 * round));
#pragma GCC unroll 3
      for (size_t lane = 0; lane < kCount; ++lane) {
        __m128i* const word = words[lane];
        const __m128i sum = _mm_add_epi32(word[round % 4], constants);
        cdgh[lane] = _mm_sha256rnds2_epu32(cdgh[lane], abef[lane], sum);
        abef[lane] = _mm_sha256rnds2_epu32(abef[lane], cdgh[lane], _mm_shuffle_epi32(sum, 0x0e));
        if (round >= 12) continue;
        const __m128i middle = _mm_alignr_epi8(word[(round + 3) % 4], word[(round + 2) % 4], 4);
        word[round % 4] = _mm_sha256msg2_epu32(
            _mm_add_epi32(_mm_sha256msg1_epu32(word[round % 4], word[(round + 1) % 4]), middle),
            word[(round + 3) % 4]);
      }
    }
#pragma GCC unroll 3
    for (size_t lane = 0; lane < kCount; ++lane) {
      abef[lane] = _mm_add_epi32(abef[lane], abef_before[lane]);
      cdgh[lane] = _mm_add_epi32(cdgh[lane], cdgh_before[lane]);
    }
  }
  for (size_t lane = 0; lane < kCount; ++lane) {
    lanes[lane]->state = {abef[lane], cdgh[lane]};
    lanes[lane]->at = at[lane];
    lanes[lane]->blocks -= blocks;
  }
}

// As many blocks as the lane has that is used up first.
void step(std::span<Progress* const> lanes) {
  size_t blocks = lanes[0]->blocks;
  for (const Progress* lane : lanes) blocks = std::min(blocks, lane->blocks);
  switch (lanes.size()) {
    case 1:
      return compress<1>(lanes.data(), blocks);
    case 2:
      return compress<2>(lanes.data(), blocks);
    default:
      return compress<3>(lanes.data(), blocks);
  }
}

// `beside` may be null; it is done, where this comes to its end, but for next().
void hash_in_lanes(std::span<const base::ByteView> messages, std::span<base::Id> ids,
                   Progress* beside) {
  DAVIT_CHECK(messages.size() == ids.size());
  clear_upper_halves();
  uint64_t rest_bytes = 0;  // of the messages not begun
  for (const base::ByteView& message : messages) rest_bytes += message.size();

  std::array<Progress, kLanes> places;
  std::array<size_t, kLanes> numbers;  // of the messages there
  std::array<Progress*, kLanes> busy;
  size_t used = 0;  // places
  std::array<size_t, kLanes> free{0, 1, 2};
  size_t free_count = kLanes;
  std::array<size_t, kLanes> active;  // places in use
  for (size_t next = 0;;) {
    const bool with_beside = beside && beside->blocks > 0;
    // The long one shall come to its end with the others: it gets half of the time where it has as
    // much left as they all.
    const size_t most =
        !with_beside ? kLanes : (beside->blocks * kBlock >= rest_bytes ? kLanes - 2 : kLanes - 1);
    while (used < most && next < messages.size()) {
      const size_t place = free[--free_count];
      places[place].begin(messages[next]);
      rest_bytes -= messages[next].size();
      numbers[place] = next++;
      active[used++] = place;
    }
    if (used == 0) return;
    for (size_t i = 0; i < used; ++i) busy[i] = &places[active[i]];
    size_t count = used;
    if (with_beside && count < kLanes) busy[count++] = beside;
    step(std::span(busy).first(count));
    for (size_t i = 0; i < used;) {
      Progress& lane = places[active[i]];
      if (lane.blocks > 0 || lane.next()) {
        ++i;
        continue;
      }
      ids[numbers[active[i]]] = lane.id();
      free[free_count++] = active[i];
      active[i] = active[--used];
    }
  }
}

base::Id finish(Progress& lane) {
  clear_upper_halves();
  Progress* const only = &lane;
  do {
    if (lane.blocks > 0) step(std::span(&only, 1));
  } while (lane.next());
  return lane.id();
}

bool has_instructions() {
  unsigned a, b, c, d;
  constexpr unsigned kSsse3 = 1u << 9, kSse41 = 1u << 19, kSha = 1u << 29;
  if (!__get_cpuid(1, &a, &b, &c, &d) || (c & kSsse3) == 0 || (c & kSse41) == 0) return false;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & kSha) != 0;
}

// Believed once it has agreed with the other implementation.
bool is_usable() {
  static const bool usable = [] {
    if (!has_instructions()) return false;
    base::Bytes bytes(1000);
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * i >> 3);
    const base::ByteView all(bytes);
    const std::array<base::ByteView, 5> messages{all, all.first(119), all.first(0), all.first(640),
                                                 all.first(64)};
    std::array<base::Id, 5> ids, expected;
    hash_in_lanes(messages, ids, nullptr);
    hash_one_by_one(messages, expected);
    return ids == expected;
  }();
  return usable;
}

}  // namespace

struct Sha256Beside::Lane : Progress {};

// Between two calls the lane has no blocks left, and the tail holds less than a block.
struct Sha256Stream::Lane : Progress {
  uint64_t size = 0;

  size_t rest() const { return size % kBlock; }

  // Ready to be stepped through the whole blocks of `more`; what is left of it is in the tail after
  // them, where keep_rest() puts it.
  void take(base::ByteView& more) {
    if (more.empty()) return;
    if (rest() > 0) {
      const size_t missing = std::min(kBlock - rest(), more.size());
      std::memcpy(tail.data() + rest(), more.data(), missing);
      more = more.subspan(missing);
      size += missing;
      if (rest() > 0) return;
      at = tail.data();
      blocks = 1;
      Progress* const only = this;
      step(std::span(&only, 1));
    }
    at = more.data();
    blocks = more.size() / kBlock;
  }
  void keep_rest(base::ByteView more) {
    if (more.empty()) return;
    size += more.size();
    if (rest() > 0) std::memcpy(tail.data(), more.data() + more.size() - rest(), rest());
  }
};

void sha256_each(std::span<const base::ByteView> messages, std::span<base::Id> ids) {
  if (messages.size() < 2 || !is_usable()) return hash_one_by_one(messages, ids);
  hash_in_lanes(messages, ids, nullptr);
}

Sha256Beside::Sha256Beside(base::ByteView message) : message_(message) {
  if (!is_usable()) return;
  lane_ = std::make_unique<Lane>();
  lane_->begin(message);
}

Sha256Beside::~Sha256Beside() = default;

void Sha256Beside::hash_each(std::span<const base::ByteView> others, std::span<base::Id> ids) {
  if (!lane_) return hash_one_by_one(others, ids);
  hash_in_lanes(others, ids, lane_.get());
}

base::Id Sha256Beside::finish() {
  return lane_ ? crypto::finish(*lane_) : sha256(message_);
}

Sha256Stream::Sha256Stream() {
  if (is_usable())
    lane_ = std::make_unique<Lane>();
  else
    plain_ = std::make_unique<Plain>();
}

void Sha256Stream::update_each(std::span<Sha256Stream* const> streams,
                               std::span<const base::ByteView> parts) {
  DAVIT_CHECK(streams.size() == parts.size());
  if (!is_usable()) {
    for (size_t i = 0; i < streams.size(); ++i) streams[i]->plain_->hash.update(parts[i]);
    return;
  }
  clear_upper_halves();
  for (size_t first = 0; first < streams.size(); first += kLanes) {
    const size_t count = std::min(kLanes, streams.size() - first);
    std::array<base::ByteView, kLanes> rests;
    for (size_t i = 0; i < count; ++i) {
      rests[i] = parts[first + i];
      streams[first + i]->lane_->take(rests[i]);
    }
    for (;;) {
      std::array<Progress*, kLanes> busy;
      size_t used = 0;
      for (size_t i = 0; i < count; ++i)
        if (Lane& lane = *streams[first + i]->lane_; lane.blocks > 0) busy[used++] = &lane;
      if (used == 0) break;
      step(std::span(busy).first(used));
    }
    for (size_t i = 0; i < count; ++i) streams[first + i]->lane_->keep_rest(rests[i]);
  }
}

base::Id Sha256Stream::finish() {
  if (plain_) return plain_->hash.finish();
  lane_->pad(lane_->rest(), lane_->size);
  return crypto::finish(*lane_);
}

#else

struct Sha256Beside::Lane {};
struct Sha256Stream::Lane {};

void sha256_each(std::span<const base::ByteView> messages, std::span<base::Id> ids) {
  hash_one_by_one(messages, ids);
}
Sha256Beside::Sha256Beside(base::ByteView message) : message_(message) {}
Sha256Beside::~Sha256Beside() = default;
void Sha256Beside::hash_each(std::span<const base::ByteView> others, std::span<base::Id> ids) {
  hash_one_by_one(others, ids);
}
base::Id Sha256Beside::finish() {
  return sha256(message_);
}
Sha256Stream::Sha256Stream() : plain_(std::make_unique<Plain>()) {}
void Sha256Stream::update_each(std::span<Sha256Stream* const> streams,
                               std::span<const base::ByteView> parts) {
  DAVIT_CHECK(streams.size() == parts.size());
  for (size_t i = 0; i < streams.size(); ++i) streams[i]->plain_->hash.update(parts[i]);
}
base::Id Sha256Stream::finish() {
  return plain_->hash.finish();
}

#endif

Sha256Stream::~Sha256Stream() = default;

void Sha256Stream::update(base::ByteView more) {
  Sha256Stream* const only = this;
  update_each(std::span(&only, 1), std::span(&more, 1));
}

}  // namespace davit::crypto
