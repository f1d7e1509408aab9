// A repository of which there is nothing but index files, a directory for caches, and the plainest
// index to compare with.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <tuple>

#include "base/errors.h"
#include "repo/index_file.h"
#include "repo/repository.h"
#include "support/fault_store.h"
#include "support/temp_dir.h"
#include "support/test_repository.h"

namespace davit::test {

struct IndexWorld {
  TempDir directory;
  std::shared_ptr<MemoryStore> memory = std::make_shared<MemoryStore>();
  std::shared_ptr<FaultStore> store = std::make_shared<FaultStore>(memory);
  std::unique_ptr<repo::Repository> theirs = make_repository(memory);
  std::mt19937_64 random{20261122};

  // So that everything goes into the cache at once.
  static constexpr repo::Index::Limits kNothingInMemory{0, 0};

  std::unique_ptr<repo::Repository> open(const repo::Index::Limits& limits = kNothingInMemory) {
    auto repository = make_repository(store);
    repository->use_index_cache(directory.path(), limits);
    return repository;
  }
  std::string cache() const { return directory / "index"; }

  static base::Id name(uint64_t number) {
    std::mt19937_64 spread(number);
    base::Id id;
    for (size_t i = 0; i < 32; i += 8) base::store_le64(id.bytes.data() + i, spread());
    return id;
  }
  // Some blobs are in many packs, some packs in several files.
  base::Id add_file(size_t packs, size_t blobs_per_pack) {
    repo::IndexEncoder encoder;
    for (size_t i = 0; i < packs; ++i) {
      const uint64_t pack = random() % 8 == 0 ? random() % 50 : random();
      std::mt19937_64 content(pack);  // the same pack is always the same
      std::vector<repo::PackBlob> blobs(1 + content() % blobs_per_pack);
      for (size_t j = 0; j < blobs.size(); ++j)
        blobs[j] = {content() % 9 == 0 ? repo::BlobType::tree : repo::BlobType::data,
                    name(content() % 16 == 0 ? content() % 100 : content()),
                    static_cast<uint32_t>(j * 1000), 100,
                    static_cast<uint32_t>(content() % 3 * 500)};
      if (used.insert(pack).second || random() % 2) encoder.add(name(~pack), blobs);
    }
    return theirs->save_unpacked(store::Kind::index, encoder.finish());
  }
  std::set<uint64_t> used;
  void remove_file(const base::Id& file) { memory->remove({store::Kind::index, file}); }
  std::vector<base::Id> files() const {
    std::vector<base::Id> ids;
    memory->list(store::Kind::index, [&](const store::FileInfo& file) { ids.push_back(file.id); });
    return ids;
  }

  using Entry = std::tuple<repo::BlobType, base::Id, base::Id, uint32_t, uint32_t, uint32_t>;
  static Entry entry(repo::BlobType type, const base::Id& id, const repo::BlobLocation& at) {
    return {type, id, at.pack, at.offset, at.length, at.plain_length};
  }
  static std::vector<Entry> all_of(const repo::Index& index) {
    std::vector<Entry> all;
    index.for_each(
        [&](const repo::IndexEntry& e) { all.push_back(entry(e.type, e.id, e.location)); });
    std::sort(all.begin(), all.end());
    return all;
  }

  // Every answer must be that of an index which read the store just now, without a cache.
  void expect_right(const repo::Repository& repository) {
    const auto plain = make_repository(memory);
    plain->refresh_index();
    expect_same(repository.index(), plain->index());
  }
  static void expect_same(const repo::Index& index, const repo::Index& plain) {
    const auto expected = all_of(plain);
    for (size_t i = 0; i < expected.size(); ++i) {
      const auto& [type, id, pack, offset, length, plain_length] = expected[i];
      ASSERT_TRUE(index.contains(type, id));
      if (i % 16 != 0) continue;
      const auto sorted = [&, type = type, id = id](const repo::Index& of) {
        std::vector<Entry> copies;
        for (const auto& at : of.find_all(type, id)) copies.push_back(entry(type, id, at));
        std::sort(copies.begin(), copies.end());
        return copies;
      };
      const auto copies = sorted(plain);
      ASSERT_EQ(sorted(index), copies);
      ASSERT_TRUE(
          std::binary_search(copies.begin(), copies.end(), entry(type, id, *index.find(type, id))));
      base::Id other = id;
      other.bytes[31] ^= 1;
      ASSERT_EQ(index.contains(type, other), plain.contains(type, other));
      const auto other_type =
          type == repo::BlobType::data ? repo::BlobType::tree : repo::BlobType::data;
      ASSERT_EQ(index.contains(other_type, id), plain.contains(other_type, id));
    }
    ASSERT_EQ(all_of(index), expected);
    ASSERT_EQ(index.blob_count(), plain.blob_count());
    auto files = index.files(), plain_files = plain.files();
    std::sort(files.begin(), files.end());
    std::sort(plain_files.begin(), plain_files.end());
    ASSERT_EQ(files, plain_files);
  }
};

}  // namespace davit::test
