#include "repo/chunker.h"

#include <gtest/gtest.h>

#include "base/errors.h"
#include "crypto/sha256.h"
#include "support/vectors.h"

namespace davit::repo {
namespace {

constexpr Polynomial kPolynomial{0x3da3358b4dc173};

base::Bytes stream(const std::string& name) {
  if (name == "s64.bin") return test::Stream(1).bytes(64 << 20);
  if (name == "exactmin.bin") return test::Stream(2).bytes(kMinChunk);
  if (name == "minm1.bin") return test::Stream(3).bytes(kMinChunk - 1);
  if (name == "ones.bin") return base::Bytes(9'000'000, 1);
  if (name == "zeros.bin") return base::Bytes(2'097'152, 0);
  throw base::Error("no such stream: " + name);
}

std::vector<size_t> cut(const Chunker& chunker, base::ByteView data) {
  std::vector<size_t> lengths;
  while (!data.empty()) {
    const base::ByteView ahead = data.first(std::min(data.size(), kMaxChunk));
    lengths.push_back(chunker.next_cut(ahead, ahead.size() == data.size()));
    data = data.subspan(lengths.back());
  }
  return lengths;
}

// The definition, byte by byte, with none of the chunker's tables: the fingerprint is the window
// read as a polynomial, modulo P.
uint64_t fingerprint(base::ByteView window, uint64_t p) {
  uint64_t value = 0;
  for (uint8_t byte : window) {
    for (int bit = 7; bit >= 0; --bit) {
      value = value << 1 | (byte >> bit & 1);
      if (value >> 53 & 1) value ^= p;
    }
  }
  return value;
}

// In vectors, where the processor can, and without.
class Chunkers : public ::testing::TestWithParam<bool> {
 protected:
  static Chunker chunker_of(Polynomial polynomial) { return Chunker(polynomial, GetParam()); }
};
INSTANTIATE_TEST_SUITE_P(With, Chunkers,
                         ::testing::ValuesIn(WideSearch::works_here() ? std::vector{false, true}
                                                                      : std::vector{false}),
                         [](const auto& info) { return info.param ? "vectors" : "words"; });

TEST_P(Chunkers, CutsWhereResticDoes) {
  const auto vectors = test::read_vectors("chunker-vectors.json");
  ASSERT_EQ(vectors["cuts"].size(), 3u);
  for (const auto& [name, about] : vectors["streams"].items()) {
    const base::Bytes data = stream(name);
    ASSERT_EQ(crypto::sha256(data).hex(), about["sha256"].get<std::string>()) << name;
    for (const auto& [polynomial, streams] : vectors["cuts"].items()) {
      const Chunker chunker = chunker_of(Polynomial::parse(polynomial));
      std::vector<size_t> expected;
      for (const auto& chunk : streams[name]) expected.push_back(chunk["length"].get<size_t>());
      EXPECT_EQ(cut(chunker, data), expected) << name << " under " << polynomial;
      size_t offset = 0;
      for (const auto& chunk : streams[name]) {
        const size_t length = chunk["length"].get<size_t>();
        EXPECT_EQ(crypto::sha256(base::ByteView(data).subspan(offset, length)).hex(),
                  chunk["sha256"].get<std::string>());
        offset += length;
      }
    }
  }
}

TEST_P(Chunkers, EveryCutAndNoEarlierPlaceSatisfiesTheDefinition) {
  const Polynomial polynomial = Polynomial::random_irreducible();
  const Chunker chunker = chunker_of(polynomial);
  const base::Bytes data = test::Stream(4).bytes(3 << 20);
  const size_t length = chunker.next_cut(data, true);
  const auto hit = [&](size_t at) {
    return (fingerprint(base::ByteView(data).subspan(at - 64, 64), polynomial.bits) & 0xFFFFF) == 0;
  };
  if (length < data.size()) {
    EXPECT_TRUE(hit(length));
  }
  for (size_t at = kMinChunk; at < length; ++at) ASSERT_FALSE(hit(at)) << at;
}

TEST_P(Chunkers, FindsACutInEveryLaneAndAtEveryEdge) {
  // 64 bytes that cut, moved over data that never does.
  const Chunker chunker = chunker_of(kPolynomial);
  const base::Bytes random = test::Stream(1).bytes(686'181);  // its first chunk, by the vectors
  const base::ByteView window = base::ByteView(random).last(64);
  test::Stream places(7);
  const auto put = [&](base::Bytes& data, size_t at) {
    std::copy(window.begin(), window.end(), data.begin() + static_cast<ptrdiff_t>(at) - 64);
  };
  // Around where lanes and blocks of either kind end.
  std::vector<size_t> edges{0, 16, 64};
  for (size_t lane : {1, 2, 7, 8, 9, 31, 32, 33, 63, 64})
    for (size_t bytes : {2112, 4160}) edges.push_back(lane * bytes);
  std::vector<size_t> offsets;
  for (size_t edge : edges)
    for (int near = -3; near <= 3; ++near)
      if (edge > 0 || near >= 0) offsets.push_back(edge + static_cast<size_t>(near + 3) - 3);
  for (int round = 0; round < 300; ++round) offsets.push_back(places.below(300'000));
  for (const size_t offset : offsets) {
    base::Bytes data(kMinChunk + 300'000, 1);
    const size_t at = kMinChunk + offset;
    put(data, at);
    // Another one behind it, most often in the same block, and then sooner in its lane.
    const size_t second = at + 64 + places.below(20'000);
    if (second <= data.size()) put(data, second);
    ASSERT_EQ(chunker.next_cut(data, true), at);
    data.resize(at);
    ASSERT_EQ(chunker.next_cut(data, false), at);
    data.resize(at - 1);
    ASSERT_EQ(chunker.next_cut(data, false), 0u);
  }
}

TEST(Chunker, VectorsAndWordsCutAlike) {
  test::Stream sizes(11);
  for (uint64_t seed = 0; seed < 24; ++seed) {
    const Polynomial polynomial = Polynomial::random_irreducible();
    const base::Bytes data = test::Stream(100 + seed).bytes(kMinChunk + 1 + sizes.below(6 << 20));
    EXPECT_EQ(cut(Chunker(polynomial), data), cut(Chunker(polynomial, false), data))
        << polynomial.format();
  }
}

TEST_P(Chunkers, GrowingBuffersGiveTheSameCuts) {
  const Chunker chunker = chunker_of(kPolynomial);
  const base::Bytes data = test::Stream(1).bytes(5 << 20);
  test::Stream steps(9);
  const size_t expected = chunker.next_cut(data, true);
  for (int round = 0; round < 20; ++round) {
    size_t have = 0, found = 0, searched = 0;
    while (found == 0) {
      have = std::min(data.size(), have + 1 + steps.below(300'000));
      found = chunker.next_cut(base::ByteView(data).first(have), false, searched);
      searched = have;
    }
    EXPECT_EQ(found, expected);
  }
}

TEST_P(Chunkers, SmallFilesAreOneChunkAndEmptyOnesNone) {
  const Chunker chunker = chunker_of(kPolynomial);
  const base::Bytes data = test::Stream(5).bytes(kMinChunk);
  EXPECT_EQ(chunker.next_cut({}, true), 0u);
  EXPECT_EQ(chunker.next_cut({}, false), 0u);
  for (size_t size : {size_t{1}, size_t{63}, size_t{64}, kMinChunk - 1, kMinChunk}) {
    EXPECT_EQ(chunker.next_cut(base::ByteView(data).first(size), true), size);
  }
  EXPECT_EQ(chunker.next_cut(base::ByteView(data).first(kMinChunk - 1), false), 0u);
}

TEST_P(Chunkers, NoChunkIsLongerThanTheLimit) {
  const Chunker chunker = chunker_of(kPolynomial);
  const base::Bytes data(kMaxChunk + 1000, 1);  // a constant 1 never cuts under this polynomial
  EXPECT_EQ(chunker.next_cut(data, true), kMaxChunk);
  EXPECT_EQ(chunker.next_cut(base::ByteView(data).first(kMaxChunk), false), kMaxChunk);
}

TEST(Polynomial, RandomOnesAreIrreducibleOfDegree53AndDiffer) {
  const Polynomial one = Polynomial::random_irreducible();
  EXPECT_EQ(one.degree(), 53);
  EXPECT_TRUE(one.is_irreducible());
  EXPECT_NE(one, Polynomial::random_irreducible());
  EXPECT_NO_THROW(Chunker{one});
}

TEST(Polynomial, KnowsProductsFromPrimes) {
  EXPECT_TRUE(kPolynomial.is_irreducible());
  const auto vectors = test::read_vectors("chunker-vectors.json");
  for (const auto& [hex, cuts] : vectors["cuts"].items())
    EXPECT_TRUE(Polynomial::parse(hex).is_irreducible()) << hex;
  EXPECT_TRUE(Polynomial{2}.is_irreducible());   // x
  EXPECT_TRUE(Polynomial{7}.is_irreducible());   // x^2 + x + 1
  EXPECT_FALSE(Polynomial{5}.is_irreducible());  // (x + 1)^2
  EXPECT_FALSE(Polynomial{0}.is_irreducible());
  EXPECT_FALSE(Polynomial{1}.is_irreducible());
  EXPECT_TRUE(Polynomial{0x11b}.is_irreducible());  // that of AES
  // All of degree 8: there are 30.
  int count = 0;
  for (uint64_t bits = 256; bits < 512; ++bits) count += Polynomial{bits}.is_irreducible();
  EXPECT_EQ(count, 30);
  // Products: of x + 1 with one of degree 52, and of two of degree 26 and 27.
  EXPECT_FALSE((Polynomial{kPolynomial.bits ^ 2}).is_irreducible() &&
               (Polynomial{kPolynomial.bits ^ 4}).is_irreducible() &&
               (Polynomial{kPolynomial.bits ^ 8}).is_irreducible());
}

TEST(Polynomial, ReadsWhatItWrites) {
  EXPECT_EQ(kPolynomial.format(), "3da3358b4dc173");
  EXPECT_EQ(Polynomial::parse("3da3358b4dc173"), kPolynomial);
  EXPECT_EQ(Polynomial::parse("3DA3358B4DC173"), kPolynomial);
  for (const char* bad : {"", "0x3da3358b4dc173", "3da3358b4dc17g", " 3da3358b4dc173", "-1",
                          "13da3358b4dc17313", "3da 3"}) {
    EXPECT_THROW(Polynomial::parse(bad), base::Corrupt) << bad;
  }
}

TEST(Polynomial, OthersMakeNoChunker) {
  EXPECT_THROW(Chunker(Polynomial{0}), base::Corrupt);
  EXPECT_THROW(Chunker(Polynomial{0x11b}), base::Corrupt);
  EXPECT_THROW(Chunker(Polynomial{~uint64_t{0}}), base::Corrupt);
  EXPECT_THROW(Chunker(Polynomial{uint64_t{1} << 53}), base::Corrupt);
}

}  // namespace
}  // namespace davit::repo
