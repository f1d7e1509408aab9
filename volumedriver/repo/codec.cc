#include "repo/codec.h"

#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <new>

#include "base/errors.h"

namespace davit::repo {
namespace {

constexpr int kWindowLog = 19;  // 512 KiB

// The first byte of a compressed "unpacked" file: the number 2, not the digit.
constexpr uint8_t kZstd = 2;

struct FreeContext {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

ZSTD_CCtx* compressor(int level) {
  thread_local const std::unique_ptr<ZSTD_CCtx, FreeContext> context = [] {
    std::unique_ptr<ZSTD_CCtx, FreeContext> made(ZSTD_createCCtx());
    if (!made) throw std::bad_alloc();
    ZSTD_CCtx_setParameter(made.get(), ZSTD_c_windowLog, kWindowLog);
    ZSTD_CCtx_setParameter(made.get(), ZSTD_c_checksumFlag, 0);
    return made;
  }();
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_compressionLevel, level);
  return context.get();
}

ZSTD_DCtx* decompressor() {
  thread_local const std::unique_ptr<ZSTD_DCtx, FreeContext> context(ZSTD_createDCtx());
  if (!context) throw std::bad_alloc();
  // An earlier frame may have ended in an error.
  ZSTD_DCtx_reset(context.get(), ZSTD_reset_session_only);
  return context.get();
}

[[noreturn]] void throw_damaged() {
  throw base::Corrupt("compressed data is damaged");
}

}  // namespace

size_t compress_bound(size_t plain_size_bytes) {
  return ZSTD_compressBound(plain_size_bytes);
}

bool is_incompressible(base::ByteView plain) {
  constexpr size_t kSmallest = 64 << 10, kSample = 4 << 10, kDistance = 128 << 10;
  if (plain.size() < kSmallest) return false;
  const size_t samples = std::max<size_t>(4, plain.size() / kDistance);
  const size_t step = (plain.size() - kSample) / (samples - 1);
  std::array<std::array<uint32_t, 256>, 4> counts{};  // four, so that no count waits for another
  std::array<uint64_t, 1024> seen{};
  for (size_t i = 0; i < samples; ++i) {
    const uint8_t* const sample = plain.data() + i * step;
    for (size_t at = 0; at < kSample; at += 4) {
      uint64_t word = 0;  // eight bytes, the last of which belong to the next word, too
      std::memcpy(&word, sample + std::min(at, kSample - sizeof word), sizeof word);
      for (size_t j = 0; j < 4; ++j) ++counts[j][sample[at + j]];
      uint64_t& slot = seen[(word * 0x9e3779b97f4a7c15) >> 54];
      if (slot == word && at + sizeof word <= kSample) return false;
      slot = word;
    }
  }
  // How far the frequencies are from all being the same: 0 where they are, and a Huffman code saves
  // about an eleventh of it.
  constexpr double kNothingToGain = 0.03;
  const double total = static_cast<double>(samples * kSample);
  double squares = 0;
  for (size_t byte = 0; byte < 256; ++byte) {
    double count = 0;
    for (const auto& some : counts) count += some[byte];
    squares += count * count;
  }
  const double chance = 256 / total;  // what randomness alone makes of it
  return 256 * squares / (total * total) - 1 - chance < kNothingToGain;
}

void compress(base::ByteView plain, base::Bytes& append_to, int level) {
  const size_t start = append_to.size();
  append_to.resize(start + ZSTD_compressBound(plain.size()));
  const size_t written = ZSTD_compress2(compressor(level), append_to.data() + start,
                                        append_to.size() - start, plain.data(), plain.size());
  // The only way to fail with room enough is memory.
  if (ZSTD_isError(written)) throw std::bad_alloc();
  append_to.resize(start + written);
}

void decompress(base::ByteView frame, std::span<uint8_t> out) {
  const size_t written =
      ZSTD_decompressDCtx(decompressor(), out.data(), out.size(), frame.data(), frame.size());
  if (ZSTD_isError(written) || written != out.size()) throw_damaged();
}

base::Bytes decompress(base::ByteView frame, size_t exact_size_bytes) {
  base::Bytes plain(exact_size_bytes);
  decompress(frame, plain);
  return plain;
}

base::Bytes decompress_bounded(base::ByteView frame, size_t max_size_bytes) {
  ZSTD_DCtx* const context = decompressor();
  // What the frame says of its size is a hint; a small frame is not believed to be large before it
  // has shown it.
  const size_t likely = std::max<size_t>(64 << 10, 16 * frame.size());
  const unsigned long long told = ZSTD_getFrameContentSize(frame.data(), frame.size());
  base::Bytes plain(std::min<unsigned long long>({told, likely, max_size_bytes}));
  ZSTD_inBuffer in{frame.data(), frame.size(), 0};
  ZSTD_outBuffer out{plain.data(), plain.size(), 0};
  for (;;) {
    const size_t wanted = ZSTD_decompressStream(context, &out, &in);
    if (ZSTD_isError(wanted)) throw_damaged();
    if (wanted == 0 && in.pos == in.size) break;  // not before the last frame has ended
    if (out.pos > max_size_bytes) throw base::Corrupt("compressed data expands beyond its bound");
    if (out.pos == out.size) {
      // One byte beyond the bound is room enough to see that it is passed.
      plain.resize(std::min(max_size_bytes + 1, 2 * plain.size() + (64 << 10)));
      out.dst = plain.data();
      out.size = plain.size();
    } else if (in.pos == in.size) {
      throw_damaged();
    }
  }
  if (out.pos > max_size_bytes) throw base::Corrupt("compressed data expands beyond its bound");
  plain.resize(out.pos);
  return plain;
}

base::Bytes encode_unpacked(base::ByteView json) {
  base::Bytes plain;
  plain.push_back(kZstd);
  compress(json, plain);
  return plain;
}

base::Bytes decode_unpacked(base::ByteView plain, size_t max_size_bytes) {
  if (plain.empty()) throw base::Corrupt("a repository file is empty");
  if (plain[0] == kZstd) return decompress_bounded(plain.subspan(1), max_size_bytes);
  if (plain[0] != '{' && plain[0] != '[')
    throw base::Corrupt("a repository file has an unknown encoding");
  if (plain.size() > max_size_bytes)
    throw base::Corrupt("a repository file is larger than it can be");
  return base::to_bytes(plain);
}

}  // namespace davit::repo
