#include "repo/index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <random>
#include <set>
#include <thread>

namespace davit::repo {
namespace {

base::Id id(uint64_t number, uint8_t mark = 0) {
  base::Id id;
  const uint64_t spread = number * 0x9e3779b97f4a7c15;
  base::store_le64(id.bytes.data(), spread);
  base::store_le64(id.bytes.data() + 8, number);
  id.bytes[31] = mark;
  return id;
}

IndexEntry entry(uint64_t blob, uint64_t pack, uint32_t offset = 0,
                 BlobType type = BlobType::data) {
  return {type, id(blob), {id(pack, 'p'), offset, 100, 200}};
}

TEST(Index, FindsWhatFilesSay) {
  Index index;
  EXPECT_FALSE(index.contains(BlobType::data, id(1)));
  index.add_file(id(1, 'f'), {entry(1, 1, 0), entry(2, 1, 100), entry(3, 2, 0, BlobType::tree)});
  EXPECT_EQ(index.find(BlobType::data, id(2)), (BlobLocation{id(1, 'p'), 100, 100, 200}));
  EXPECT_FALSE(index.contains(BlobType::tree, id(2)));  // the type is part of the name
  EXPECT_TRUE(index.contains(BlobType::tree, id(3)));
  EXPECT_FALSE(index.contains(BlobType::data, id(3)));
  EXPECT_EQ(index.blob_count(), 3u);
  EXPECT_TRUE(index.has_file(id(1, 'f')));
  EXPECT_EQ(index.files(), std::vector{id(1, 'f')});
}

TEST(Index, KeepsTheOtherCopiesWhenAFileGoes) {
  Index index;
  index.add_file(id(1, 'f'), {entry(1, 1), entry(2, 1, 100)});
  index.add_file(id(2, 'f'), {entry(1, 2)});                    // another copy of the blob
  index.add_file(id(3, 'f'), {entry(2, 1, 100), entry(1, 1)});  // the same pack, told again
  EXPECT_EQ(index.blob_count(), 3u);
  EXPECT_EQ(index.find_all(BlobType::data, id(1)).size(), 2u);

  index.drop_file(id(1, 'f'));
  EXPECT_EQ(index.find_all(BlobType::data, id(1)).size(), 2u);
  index.drop_file(id(3, 'f'));
  EXPECT_EQ(index.find_all(BlobType::data, id(1)),
            std::vector({BlobLocation{id(2, 'p'), 0, 100, 200}}));
  EXPECT_FALSE(index.contains(BlobType::data, id(2)));
  EXPECT_EQ(index.blob_count(), 1u);
  index.drop_file(id(2, 'f'));
  EXPECT_FALSE(index.find(BlobType::data, id(1)).has_value());
  EXPECT_EQ(index.blob_count(), 0u);
}

TEST(Index, KeepsApartWhatTwoFilesSayDifferentlyOfOnePack) {
  Index index;
  index.add_file(id(1, 'f'), {entry(1, 1, 0)});
  index.add_file(id(2, 'f'), {entry(1, 1, 500), entry(2, 1, 600)});
  EXPECT_EQ(index.find_all(BlobType::data, id(1)).size(), 2u);
  index.drop_file(id(1, 'f'));
  EXPECT_EQ(index.find(BlobType::data, id(1))->offset, 500u);
}

TEST(Index, AddingOrDroppingTwiceChangesNothing) {
  Index index;
  index.add_file(id(1, 'f'), {entry(1, 1)});
  index.add_file(id(1, 'f'), {entry(1, 1)});
  index.drop_file(id(9, 'f'));
  EXPECT_EQ(index.blob_count(), 1u);
  index.drop_file(id(1, 'f'));
  index.drop_file(id(1, 'f'));
  EXPECT_EQ(index.blob_count(), 0u);
  index.add_file(id(1, 'f'), {entry(1, 1)});
  EXPECT_EQ(index.blob_count(), 1u);
}

TEST(Index, GathersAPackThatLiesScattered) {
  Index index;
  index.add_file(id(1, 'f'), {entry(1, 1), entry(2, 2), entry(3, 1, 100)});
  index.add_file(id(2, 'f'), {entry(3, 1, 100), entry(1, 1), entry(2, 2)});
  EXPECT_EQ(index.blob_count(), 3u);
  EXPECT_EQ(index.packs_of(id(1, 'f')).size(), 2u);
  EXPECT_TRUE(index.packs_of(id(7, 'f')).empty());
}

// Against the plainest model: files with random packs come and go.
TEST(Index, AgreesWithAModelThroughManyChanges) {
  std::mt19937_64 random(20261122);
  Index index;
  std::map<base::Id, std::vector<IndexEntry>> model;
  uint64_t next_pack = 0;
  for (int step = 0; step < 300; ++step) {
    if (model.size() > 12 || (!model.empty() && random() % 3 == 0)) {
      auto victim = model.begin();
      std::advance(victim, random() % model.size());
      index.drop_file(victim->first);
      model.erase(victim);
    } else {
      std::vector<IndexEntry> entries;
      if (!model.empty() && random() % 4 == 0) entries = model.begin()->second;  // told again
      for (uint64_t pack = 0; pack < 3; ++pack, ++next_pack)
        for (uint32_t blob = 0; blob < 1 + random() % 700; ++blob)
          entries.push_back(entry(random() % 20'000, next_pack, blob * 100,
                                  next_pack % 5 ? BlobType::data : BlobType::tree));
      index.add_file(id(static_cast<uint64_t>(step), 'f'), entries);
      model[id(static_cast<uint64_t>(step), 'f')] = std::move(entries);
    }
    if (step % 10 != 0) continue;
    using Key = std::tuple<BlobType, base::Id, base::Id, uint32_t>;
    std::set<Key> expected, actual;
    for (const auto& [file, entries] : model)
      for (const auto& e : entries)
        expected.insert({e.type, e.id, e.location.pack, e.location.offset});
    size_t seen = 0;
    index.for_each([&](const IndexEntry& e) {
      ++seen;
      actual.insert({e.type, e.id, e.location.pack, e.location.offset});
    });
    ASSERT_EQ(actual, expected);
    ASSERT_EQ(seen, expected.size());
    ASSERT_EQ(index.blob_count(), expected.size());
    for (const auto& [type, blob, pack, offset] : expected) ASSERT_TRUE(index.contains(type, blob));
    for (int probe = 0; probe < 200; ++probe) {
      const base::Id blob = id(random() % 20'000);
      size_t copies = 0;
      for (const auto& key : expected)
        copies += std::get<0>(key) == BlobType::data && std::get<1>(key) == blob;
      if (probe < 3) {
        ASSERT_EQ(index.find_all(BlobType::data, blob).size(), copies);
      }
    }
  }
}

TEST(Index, IsReadWhileItChanges) {
  Index index;
  index.add_file(id(0, 'f'), {entry(1, 0)});
  std::atomic<bool> done{false};
  std::atomic<int> missed{0};
  std::vector<std::thread> readers;
  for (int reader = 0; reader < 2; ++reader)
    readers.emplace_back([&] {
      while (!done) {
        if (!index.contains(BlobType::data, id(1))) ++missed;
        // A file is seen whole or not at all.
        size_t count = 0;
        index.for_each([&](const IndexEntry&) { ++count; });
        if (count % 1000 != 1) ++missed;
      }
    });
  for (uint64_t file = 1; file <= 100; ++file) {
    std::vector<IndexEntry> entries;
    for (uint32_t blob = 0; blob < 1000; ++blob)
      entries.push_back(entry(file * 1000 + blob, file, blob));
    index.add_file(id(file, 'f'), std::move(entries));
    if (file > 3) index.drop_file(id(file - 3, 'f'));
  }
  done = true;
  for (auto& reader : readers) reader.join();
  EXPECT_EQ(missed, 0);
}

}  // namespace
}  // namespace davit::repo
