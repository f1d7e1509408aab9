#include "crypto/seal.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <set>
#include <thread>

#include "base/errors.h"
#include "crypto/sha256.h"
#include "support/vectors.h"

namespace davit::crypto {
namespace {

using test::tiny_repository;

// The vectors' master key, by their recipe.
Key vector_key() {
  Key key;
  key.encrypt = sha256(base::as_bytes("vector-enc")).bytes;
  const base::Id k = sha256(base::as_bytes("vector-k"));
  const base::Id r = sha256(base::as_bytes("vector-r"));
  std::copy_n(k.bytes.begin(), 16, key.mac_k.begin());
  std::copy_n(r.bytes.begin(), 16, key.mac_r.begin());
  return key;
}

TEST(Seal, OpensWhatAnIndependentWriterSealed) {
  const base::Bytes file = base::from_hex(tiny_repository()["config_file_hex"].get<std::string>());
  EXPECT_EQ(test::text_of(open(vector_key(), file)),
            tiny_repository()["config_plain"].get<std::string>());
}

TEST(Seal, OpensTheMasterKeyWithThePasswordsKey) {
  const auto file = nlohmann::json::parse(tiny_repository()["keyfile_json"].get<std::string>());
  const base::Bytes derived =
      base::from_hex(tiny_repository()["scrypt_out_hex"].get<std::string>());
  const Key user = Key::from_bytes(std::span<const uint8_t, 64>(derived.data(), 64));
  EXPECT_EQ(test::text_of(open(user, base::from_base64(file["data"].get<std::string>()))),
            tiny_repository()["master_json"].get<std::string>());
}

TEST(Seal, ReturnsWhatItWasGivenAtEverySize) {
  test::Stream random(2);
  const Key key = Key::random();
  for (size_t size : {0, 1, 15, 16, 17, 63, 64, 65, 4095, 4096, 100'000, 1 << 20}) {
    const base::Bytes plain = random.bytes(size);
    base::Bytes sealed = test::bytes_of("before");
    seal(key, plain, sealed);
    ASSERT_EQ(sealed.size(), 6 + size + kSealOverhead);
    EXPECT_EQ(base::as_text(sealed).substr(0, 6), "before");
    sealed.erase(sealed.begin(), sealed.begin() + 6);
    EXPECT_EQ(open(key, sealed), plain);
    base::Bytes elsewhere(size);
    open(key, sealed, elsewhere);
    EXPECT_EQ(elsewhere, plain);
    const auto inside = open_in_place(key, sealed);
    EXPECT_EQ(base::Bytes(inside.begin(), inside.end()), plain);
    seal_in_place(key, sealed);  // the plaintext lies where it must
    EXPECT_EQ(open(key, sealed), plain);
  }
}

TEST(Seal, RefusesEveryChangedBit) {
  const Key key = vector_key();
  base::Bytes sealed;
  seal(key, base::as_bytes("a small blob"), sealed);
  for (size_t bit = 0; bit < 8 * sealed.size(); ++bit) {
    base::Bytes changed = sealed;
    changed[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    EXPECT_THROW(open(key, changed), base::Corrupt) << bit;
  }
  for (size_t size = 0; size < sealed.size(); ++size) {
    EXPECT_THROW(open(key, base::ByteView(sealed).first(size)), base::Corrupt) << size;
  }
  EXPECT_EQ(test::text_of(open(key, sealed)), "a small blob");
}

TEST(Seal, ChangedBytesLeaveNoPlaintextBehind) {
  const Key key = vector_key();
  base::Bytes sealed;
  seal(key, base::as_bytes("a small blob"), sealed);
  sealed.back() ^= 1;
  const base::Bytes before = sealed;
  EXPECT_THROW(open_in_place(key, sealed), base::Corrupt);
  EXPECT_EQ(sealed, before);
}

TEST(Seal, RefusesAnIvOfZeros) {
  // Correctly sealed but for the IV: the tag would be right.
  EXPECT_THROW(open(vector_key(), base::Bytes(kSealOverhead, 0)), base::Corrupt);
}

TEST(Seal, RefusesKeysWithAPartOfZeros) {
  base::Bytes sealed;
  for (int part = 0; part < 3; ++part) {
    Key key = vector_key();
    if (part == 0) key.encrypt = {};
    if (part == 1) key.mac_k = {};
    if (part == 2) key.mac_r = {};
    EXPECT_FALSE(key.is_valid());
    EXPECT_THROW(seal(key, base::as_bytes("x"), sealed), base::Corrupt);
  }
}

TEST(Seal, KeysMayChangeFromBlobToBlob) {
  const Key first = Key::random(), second = Key::random();
  base::Bytes one, two;
  seal(first, base::as_bytes("one"), one);
  seal(second, base::as_bytes("two"), two);
  EXPECT_EQ(test::text_of(open(first, one)), "one");
  EXPECT_EQ(test::text_of(open(second, two)), "two");
  EXPECT_THROW(open(first, two), base::Corrupt);
  Key same_cipher = first;  // the tag depends on each part of the key
  same_cipher.mac_r[5] ^= 1;
  EXPECT_THROW(open(same_cipher, one), base::Corrupt);
}

TEST(Seal, NoTwoInitialisationVectorsAreEqualAlsoAcrossThreads) {
  std::vector<std::set<std::array<uint8_t, 16>>> drawn(4);
  std::vector<std::thread> threads;
  for (auto& mine : drawn) {
    threads.emplace_back([&mine] {
      for (int i = 0; i < 5000; ++i) {
        std::array<uint8_t, 16> iv;
        random_bytes(iv);
        mine.insert(iv);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  std::set<std::array<uint8_t, 16>> all;
  for (auto& mine : drawn) all.merge(mine);
  EXPECT_EQ(all.size(), 20'000u);
}

TEST(Random, AForkedChildDrawsOtherBytesThanItsParent) {
  std::array<uint8_t, 32> before;
  random_bytes(before);  // the pool is filled
  int channel[2];
  ASSERT_EQ(::pipe(channel), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  std::array<uint8_t, 64> drawn;
  random_bytes(drawn);
  if (child == 0) {
    ::_exit(::write(channel[1], drawn.data(), drawn.size()) == static_cast<ssize_t>(drawn.size())
                ? 0
                : 1);
  }
  std::array<uint8_t, 64> childs{};
  EXPECT_EQ(::read(channel[0], childs.data(), childs.size()), static_cast<ssize_t>(childs.size()));
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_NE(drawn, childs);
  ::close(channel[0]);
  ::close(channel[1]);
}

TEST(Random, LargeAndOddDrawsAreFilledToTheEnd) {
  for (size_t size : {1, 7, 1000, 1023, 5000, 70'000}) {
    base::Bytes bytes(size + 1, 0);
    // Three draws: that a byte is zero in all of them happens once in 16 million.
    for (int round = 0; round < 3; ++round) {
      base::Bytes more(size, 0);
      random_bytes(more);
      for (size_t i = 0; i < size; ++i) bytes[i] |= more[i];
    }
    EXPECT_EQ(bytes.back(), 0);
    EXPECT_NE(bytes[size - 1], 0) << size;
  }
}

}  // namespace
}  // namespace davit::crypto
