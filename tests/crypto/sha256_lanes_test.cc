#include "crypto/sha256_lanes.h"

#include <gtest/gtest.h>

#include "crypto/sha256.h"
#include "support/vectors.h"

namespace davit::crypto {
namespace {

std::vector<base::ByteView> views_of(const std::vector<base::Bytes>& messages) {
  return {messages.begin(), messages.end()};
}

void expect_right(const std::vector<base::Bytes>& messages, const std::vector<base::Id>& ids) {
  for (size_t i = 0; i < messages.size(); ++i)
    ASSERT_EQ(ids[i], sha256(messages[i])) << i << ": " << messages[i].size() << " bytes";
}

TEST(Sha256Lanes, EveryLengthOfAFewBlocks) {
  test::Stream random(1);
  std::vector<base::Bytes> messages;
  for (size_t size = 0; size < 400; ++size) messages.push_back(random.bytes(size));
  std::vector<base::Id> ids(messages.size());
  sha256_each(views_of(messages), ids);
  expect_right(messages, ids);
}

TEST(Sha256Lanes, AnyNumberOfMessagesOfAnyLengths) {
  test::Stream random(2);
  for (size_t count = 0; count < 12; ++count) {
    std::vector<base::Bytes> messages;
    for (size_t i = 0; i < count; ++i)
      messages.push_back(random.bytes(random.below(2) ? random.below(200) : random.below(50'000)));
    std::vector<base::Id> ids(count);
    sha256_each(views_of(messages), ids);
    expect_right(messages, ids);
  }
}

TEST(Sha256Lanes, ALongMessageBesideShorterOnes) {
  test::Stream random(3);
  for (const size_t long_size : {0, 1, 64, 119, 5000, 300'000}) {
    const base::Bytes message = random.bytes(long_size);
    Sha256Beside beside(message);
    for (size_t batch = 0; batch < 5; ++batch) {
      std::vector<base::Bytes> others;
      for (size_t i = random.below(6); i > 0; --i)
        others.push_back(random.bytes(random.below(9000)));
      std::vector<base::Id> ids(others.size());
      beside.hash_each(views_of(others), ids);
      expect_right(others, ids);
    }
    EXPECT_EQ(beside.finish(), sha256(message)) << long_size;
  }
}

TEST(Sha256Lanes, StreamsBesideOneAnotherWhateverTheirPartsAre) {
  test::Stream random(4);
  for (size_t count = 1; count < 8; ++count) {
    std::vector<Sha256Stream> streams(count);
    std::vector<base::Bytes> whole(count);
    for (size_t round = 0; round < 30; ++round) {
      std::vector<base::Bytes> parts;
      std::vector<Sha256Stream*> some;
      for (size_t i = 0; i < count; ++i) {
        if (random.below(4) == 0) continue;
        some.push_back(&streams[i]);
        parts.push_back(random.bytes(random.below(2) ? random.below(140) : random.below(20'000)));
        base::append(whole[i], parts.back());
      }
      Sha256Stream::update_each(some, views_of(parts));
    }
    for (size_t i = 0; i < count; ++i) ASSERT_EQ(streams[i].finish(), sha256(whole[i])) << i;
  }
}

TEST(Sha256Lanes, AStreamOfEveryLengthInTwoParts) {
  test::Stream random(5);
  const base::Bytes message = random.bytes(200);
  for (size_t size = 0; size <= message.size(); ++size)
    for (size_t first = 0; first <= size; ++first) {
      Sha256Stream stream;
      stream.update(base::ByteView(message).first(first));
      stream.update(base::ByteView(message).subspan(first, size - first));
      ASSERT_EQ(stream.finish(), sha256(base::ByteView(message).first(size))) << size << first;
    }
}

}  // namespace
}  // namespace davit::crypto
