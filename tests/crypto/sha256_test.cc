#include "crypto/sha256.h"

#include <gtest/gtest.h>

#include <thread>

#include "support/vectors.h"

namespace davit::crypto {
namespace {

TEST(Sha256, AgreesWithTheStandardsExamples) {
  EXPECT_EQ(sha256({}).hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256(base::as_bytes("abc")).hex(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256(base::Bytes(1'000'000, 'a')).hex(),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, PiecesHashLikeTheWhole) {
  test::Stream random(1);
  const base::Bytes data = random.bytes(100'000);
  Sha256 hash;
  for (int round = 0; round < 3; ++round) {  // finish() makes it ready for the next
    for (size_t at = 0; at < data.size();) {
      const size_t piece = std::min<size_t>(random.below(5000), data.size() - at);
      hash.update(base::ByteView(data).subspan(at, piece));
      at += piece;
    }
    EXPECT_EQ(hash.finish(), sha256(data));
  }
}

TEST(Sha256, ThreadsDoNotDisturbEachOther) {
  const base::Id expected = sha256(base::as_bytes("abc"));
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 2000; ++n) wrong += sha256(base::as_bytes("abc")) != expected;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace davit::crypto
