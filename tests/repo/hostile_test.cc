// Damaged bytes, many thousands, always the same: every parser either reads them or says Corrupt
// (or, for an unknown version, Unsupported).
#include <gtest/gtest.h>

#include "base/errors.h"
#include "crypto/seal.h"
#include "repo/index_file.h"
#include "repo/pack_header.h"
#include "repo/small_files.h"
#include "repo/tree.h"
#include "support/vectors.h"

namespace davit::repo {
namespace {

base::Bytes mutate(base::Bytes bytes, test::Stream& random) {
  static const char* const kWords[] = {"null",
                                       "[",
                                       "]",
                                       "{",
                                       "}",
                                       "\"",
                                       ",",
                                       ":",
                                       "\\u",
                                       "\\",
                                       "18446744073709551616",
                                       "-1",
                                       "\"nodes\"",
                                       "\"..\"",
                                       "1e9",
                                       "\xff",
                                       "\\ud800"};
  for (uint64_t changes = 1 + random.below(4); changes > 0 && !bytes.empty(); --changes) {
    const size_t at = random.below(bytes.size());
    const auto place = bytes.begin() + static_cast<ptrdiff_t>(at);
    switch (random.below(6)) {
      case 0:
        bytes[at] = static_cast<uint8_t>(random.next());
        break;
      case 1:
        bytes[at] ^= static_cast<uint8_t>(1 << random.below(8));
        break;
      case 2:
        bytes.erase(place, place + static_cast<ptrdiff_t>(
                                       random.below(std::min<size_t>(bytes.size() - at, 40)) + 1));
        break;
      case 3:
        bytes.resize(at);
        break;
      case 4: {
        const auto word = base::as_bytes(kWords[random.below(std::size(kWords))]);
        bytes.insert(place, word.begin(), word.end());
        break;
      }
      default: {  // a piece of itself somewhere else
        const size_t size = random.below(std::min<size_t>(bytes.size() - at, 200));
        const base::Bytes piece(place, place + static_cast<ptrdiff_t>(size));
        bytes.insert(bytes.begin() + static_cast<ptrdiff_t>(random.below(bytes.size())),
                     piece.begin(), piece.end());
      }
    }
  }
  return bytes;
}

struct Outcome {
  int read = 0;
  int refused = 0;
};

template <typename Parse>
Outcome attack(const base::Bytes& good, int rounds, uint64_t seed, Parse parse) {
  test::Stream random(seed);
  Outcome outcome;
  for (int round = 0; round < rounds; ++round) {
    // In a block of its own size, so that a sanitizer sees a read one byte behind it.
    const base::Bytes bad = mutate(good, random);
    const std::unique_ptr<uint8_t[]> exact(new uint8_t[bad.size()]);
    std::copy(bad.begin(), bad.end(), exact.get());
    try {
      parse(base::ByteView(exact.get(), bad.size()));
      ++outcome.read;
    } catch (const base::Corrupt&) {
      ++outcome.refused;
    } catch (const base::Unsupported&) {
      ++outcome.refused;
    }
  }
  EXPECT_GT(outcome.refused, rounds / 4);
  return outcome;
}

TEST(Hostile, Trees) {
  for (const auto& [id, tree] : test::tiny_repository()["trees_base64"].items()) {
    attack(base::from_base64(tree.get<std::string>()), 4'000, 1, [](base::ByteView bytes) {
      for (const Node& node : parse_tree(bytes)) {
        ASSERT_TRUE(is_valid_name(node.name));
        // What was read can be written, unless an attribute's name cannot.
        base::Bytes again;
        ASSERT_NO_THROW(encode_node(node, again));
      }
    });
  }
}

TEST(Hostile, Indexes) {
  for (const auto& [id, json] : test::tiny_repository()["index"].items()) {
    attack(test::bytes_of(json.get<std::string>()), 20'000, 2, [](base::ByteView bytes) {
      parse_index(bytes, [](const base::Id&, std::span<const PackBlob> blobs) {
        for (const PackBlob& blob : blobs) ASSERT_GE(blob.length_bytes, crypto::kSealOverhead);
      });
    });
  }
}

TEST(Hostile, Snapshots) {
  for (const auto& [id, json] : test::tiny_repository()["snapshots"].items()) {
    attack(test::bytes_of(json.get<std::string>()), 20'000, 3, [](base::ByteView bytes) {
      const Snapshot snapshot = parse_snapshot(bytes);
      ASSERT_EQ(parse_snapshot(encode_snapshot(snapshot)), snapshot);
    });
  }
}

TEST(Hostile, ConfigsKeysAndLocks) {
  const auto& vectors = test::tiny_repository();
  attack(test::bytes_of(vectors["config_plain"].get<std::string>()), 10'000, 4,
         [](base::ByteView bytes) { parse_config(bytes); });
  attack(test::bytes_of(vectors["keyfile_json"].get<std::string>()), 10'000, 5,
         [](base::ByteView bytes) { parse_key_file(bytes); });
  attack(test::bytes_of(vectors["master_json"].get<std::string>()), 10'000, 6,
         [](base::ByteView bytes) { parse_master_key(bytes); });
  attack(test::bytes_of(vectors["locks"].begin()->get<std::string>()), 10'000, 7,
         [](base::ByteView bytes) { parse_lock(bytes); });
}

TEST(Hostile, PackHeaders) {
  std::vector<PackBlob> blobs;
  uint32_t offset = 0;
  for (uint32_t i = 0; i < 20; ++i) {
    blobs.push_back({i % 3 == 0 ? BlobType::tree : BlobType::data,
                     {},
                     offset,
                     100 + i,
                     i % 2 == 0 ? 500u : 0u});
    offset += 100 + i;
  }
  attack(encode_pack_header(blobs), 20'000, 8, [&](base::ByteView bytes) {
    uint64_t end = 0;
    for (const PackBlob& blob : parse_pack_header(bytes, pack_size(blobs))) {
      ASSERT_EQ(blob.offset_bytes, end);
      end += blob.length_bytes;
    }
    ASSERT_LT(end, pack_size(blobs));
  });
}

}  // namespace
}  // namespace davit::repo
