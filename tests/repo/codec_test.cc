#include "repo/codec.h"

#include <gtest/gtest.h>
#include <zstd.h>

#include <thread>

#include "base/errors.h"
#include "support/vectors.h"

namespace davit::repo {
namespace {

base::Bytes packed(base::ByteView plain) {
  base::Bytes frame;
  compress(plain, frame);
  return frame;
}

// A frame that does not say how much it holds, as restic's encoder writes for small inputs.
base::Bytes packed_without_size(base::ByteView plain) {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
  base::Bytes frame(ZSTD_compressBound(plain.size()));
  frame.resize(ZSTD_compress2(context, frame.data(), frame.size(), plain.data(), plain.size()));
  ZSTD_freeCCtx(context);
  return frame;
}

TEST(Codec, ReturnsWhatItWasGivenAtEverySize) {
  test::Stream random(1);
  for (size_t size : {0, 1, 100, 4096, 524'288, 524'289, 8 << 20}) {
    for (bool compressible : {false, true}) {
      base::Bytes plain = random.bytes(size);
      if (compressible)
        for (auto& byte : plain) byte &= 3;
      const base::Bytes frame = packed(plain);
      EXPECT_LE(frame.size(), compress_bound(size));
      if (compressible && size > 1000) {
        EXPECT_LT(frame.size(), size / 2);
      }
      EXPECT_EQ(decompress(frame, size), plain);
      EXPECT_EQ(decompress_bounded(frame, size), plain);
      EXPECT_EQ(decompress_bounded(packed_without_size(plain), size), plain);
      EXPECT_EQ(decompress(packed_without_size(plain), size), plain);
    }
  }
}

TEST(Codec, KnowsWhatWouldNotBecomeSmaller) {
  test::Stream random(7);
  for (size_t size : {64 << 10, 65'537, 300'001, 1 << 20, 8 << 20})
    for (int i = 0; i < 20; ++i) EXPECT_TRUE(is_incompressible(random.bytes(size))) << size;
  EXPECT_FALSE(is_incompressible(random.bytes((64 << 10) - 1)));  // a look does not pay
}

TEST(Codec, TakesNothingForIncompressibleThatIsNot) {
  test::Stream random(8);
  constexpr size_t kSize = 1 << 20;
  const auto gains = [](base::ByteView plain) {
    return static_cast<double>(packed(plain).size()) < 0.97 * static_cast<double>(plain.size());
  };
  const auto expect_compressed = [&](const base::Bytes& plain, const std::string& what) {
    ASSERT_TRUE(gains(plain)) << what;
    EXPECT_FALSE(is_incompressible(plain)) << what;
  };
  expect_compressed(base::Bytes(kSize), "zeros");
  // All bytes as frequent, and only the repetition tells.
  for (size_t period : {1, 7, 255, 256, 257, 1000, 2047}) {
    const base::Bytes unit = random.bytes(period);
    base::Bytes plain(kSize);
    for (size_t i = 0; i < kSize; ++i) plain[i] = period == 256 ? i & 255 : unit[i % period];
    expect_compressed(plain, "period " + std::to_string(period));
  }
  base::Bytes plain = random.bytes(kSize);
  for (auto& byte : plain) byte &= 0x7f;
  expect_compressed(plain, "seven bits");
  plain = random.bytes(kSize);
  for (size_t i = 0; i < kSize; i += 8) plain[i] = 0;
  expect_compressed(plain, "one byte in eight");
  // A part of it is enough, wherever it lies.
  for (size_t part = 0; part < 4; ++part) {
    plain = random.bytes(kSize);
    for (size_t i = part * kSize / 4; i < (part + 1) * kSize / 4; ++i) plain[i] &= 15;
    expect_compressed(plain, "a quarter");
  }
}

TEST(Codec, WritesNoLargerWindowAndNoChecksum) {
  const base::Bytes frame = packed(test::Stream(1).bytes(8 << 20));
  // RFC 8878, 3.1.1.1: magic, descriptor; without the single segment flag a window descriptor
  // follows.
  ASSERT_EQ(base::load_le32(frame.data()), 0xFD2FB528u);
  EXPECT_EQ(frame[4] & 0x04, 0);
  ASSERT_EQ(frame[4] & 0x20, 0);
  EXPECT_LE(10 + (frame[5] >> 3), 19);
}

TEST(Codec, AppendsToWhatIsThere) {
  base::Bytes bytes = test::bytes_of("before");
  compress(base::as_bytes("plain"), bytes);
  EXPECT_EQ(base::as_text(bytes).substr(0, 6), "before");
  EXPECT_EQ(test::text_of(decompress(base::ByteView(bytes).subspan(6), 5)), "plain");
}

TEST(Codec, RefusesAnotherSizeThanExpected) {
  const base::Bytes plain = test::Stream(1).bytes(10'000);
  for (const base::Bytes& frame : {packed(plain), packed_without_size(plain)}) {
    EXPECT_THROW(decompress(frame, 9'999), base::Corrupt);
    EXPECT_THROW(decompress(frame, 10'001), base::Corrupt);
    EXPECT_THROW(decompress_bounded(frame, 9'999), base::Corrupt);
    EXPECT_EQ(decompress_bounded(frame, 10'000).size(), 10'000u);
    EXPECT_THROW(decompress_bounded(base::ByteView(frame).first(frame.size() - 1), 20'000),
                 base::Corrupt);
    EXPECT_THROW(decompress(base::ByteView(frame).first(frame.size() - 1), 10'000), base::Corrupt);
  }
  EXPECT_THROW(decompress_bounded({}, 100), base::Corrupt);
  EXPECT_THROW(decompress_bounded(base::as_bytes("not zstd at all"), 100), base::Corrupt);
  EXPECT_EQ(decompress_bounded(packed({}), 0).size(), 0u);
}

TEST(Codec, ABombIsStoppedAtItsBound) {
  for (const base::Bytes& frame :
       {packed(base::Bytes(8 << 20, 0)), packed_without_size(base::Bytes(8 << 20, 0))}) {
    EXPECT_LT(frame.size(), 5'000u);
    EXPECT_THROW(decompress_bounded(frame, 1 << 20), base::Corrupt);
    EXPECT_EQ(decompress_bounded(frame, 8 << 20).size(), size_t{8} << 20);
  }
  // A header that promises 2^60 bytes and holds none is not believed.
  EXPECT_THROW(decompress_bounded(base::from_hex("28b52ffde0000000000000001001"), size_t{2} << 30),
               base::Corrupt);
}

TEST(Codec, ReadsSeveralFramesAsOne) {
  base::Bytes frames = packed(base::as_bytes("one"));
  compress(base::as_bytes("two"), frames);
  EXPECT_EQ(test::text_of(decompress_bounded(frames, 100)), "onetwo");
}

TEST(Codec, ADamagedFrameDoesNotSpoilTheNext) {
  const base::Bytes plain = test::Stream(1).bytes(100'000);
  const base::Bytes frame = packed(plain);
  test::Stream random(3);
  for (int round = 0; round < 200; ++round) {
    base::Bytes damaged = frame;
    damaged.resize(1 + random.below(damaged.size()));
    damaged[random.below(damaged.size())] ^= static_cast<uint8_t>(1 + random.below(255));
    try {
      EXPECT_LE(decompress_bounded(damaged, 200'000).size(), 200'000u);
    } catch (const base::Corrupt&) {
    }
    if (round % 50 == 0) {
      ASSERT_EQ(decompress_bounded(frame, 100'000), plain);
    }
    if (round % 50 == 1) {
      ASSERT_EQ(decompress(frame, 100'000), plain);
    }
  }
}

TEST(Codec, ThreadsDoNotDisturbEachOther) {
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    threads.emplace_back([&, seed] {
      base::Bytes plain = test::Stream(seed).bytes(50'000);
      for (int i = 0; i < 50; ++i) wrong += decompress(packed(plain), plain.size()) != plain;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(UnpackedFile, KnowsItsTwoEncodings) {
  const std::string json = "{\"packs\":[]}";
  const base::Bytes plain = encode_unpacked(base::as_bytes(json));
  EXPECT_EQ(plain[0], 2);
  EXPECT_EQ(test::text_of(decode_unpacked(plain, 1000)), json);
  EXPECT_EQ(test::text_of(decode_unpacked(base::as_bytes(json), 1000)), json);
  EXPECT_EQ(test::text_of(decode_unpacked(base::as_bytes("[]"), 1000)), "[]");
  EXPECT_THROW(decode_unpacked(plain, json.size() - 1), base::Corrupt);
  EXPECT_THROW(decode_unpacked(base::as_bytes(json), json.size() - 1), base::Corrupt);
  for (const char* bad : {"", "1{}", "2{}", "\2", "\2{}", " {}", "\3"})
    EXPECT_THROW(decode_unpacked(base::as_bytes(bad), 1000), base::Corrupt) << bad;
}

}  // namespace
}  // namespace davit::repo
