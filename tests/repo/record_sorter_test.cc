#include "repo/record_sorter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <mutex>
#include <random>
#include <thread>

#include "base/mapped_file.h"

namespace davit::repo {
namespace {

PackBlob random_blob(std::mt19937_64& random) {
  PackBlob blob;
  for (size_t i = 0; i < 32; i += 8) base::store_le64(blob.id.bytes.data() + i, random());
  blob.type = random() % 10 == 0 ? BlobType::tree : BlobType::data;
  blob.offset_bytes = static_cast<uint32_t>(random());
  blob.length_bytes = static_cast<uint32_t>(random());
  blob.plain_length_bytes = static_cast<uint32_t>(random());
  return blob;
}

auto as_tuple(const IndexRecord& record) {
  return std::tuple(record.id, record.pack, record.offset_bytes, record.length_bytes,
                    record.plain_length_bytes);
}

std::vector<IndexRecord> sorted(RecordSorter& sorter, BlobType type,
                                std::span<const uint32_t> renumber = {},
                                const RecordSorter::More& more = {}) {
  std::mutex mutex;
  std::vector<IndexRecord> all;
  const uint64_t count = sorter.finish(
      type, renumber, more, [&](uint64_t first, std::span<const IndexRecord> records) {
        const std::lock_guard lock(mutex);
        if (all.size() < first + records.size()) all.resize(first + records.size());
        std::copy(records.begin(), records.end(), all.begin() + static_cast<ptrdiff_t>(first));
      });
  EXPECT_EQ(count, all.size());
  return all;
}

void expect_same(std::vector<IndexRecord> expected, const std::vector<IndexRecord>& actual) {
  std::sort(expected.begin(), expected.end());
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i)
    ASSERT_EQ(as_tuple(actual[i]), as_tuple(expected[i])) << i;
}

// More than the buffers hold, from several threads, whatever was expected.
TEST(RecordSorter, SortsWhatDoesNotFitIntoItsBuffers) {
  constexpr uint32_t kThreads = 3, kPacks = 300, kBlobs = 700;
  for (const uint64_t expected :
       {uint64_t{0}, uint64_t{kThreads * kPacks * kBlobs}, uint64_t{1} << 60}) {
    RecordSorter sorter(base::make_memory_file(), expected);
    std::array<std::vector<IndexRecord>, 2> model;
    std::mutex mutex;
    std::vector<std::thread> threads;
    for (uint32_t thread = 0; thread < kThreads; ++thread)
      threads.emplace_back([&, thread] {
        std::mt19937_64 random(thread);
        for (uint32_t pack = thread; pack < kThreads * kPacks; pack += kThreads) {
          std::vector<PackBlob> blobs(kBlobs);
          for (auto& blob : blobs) blob = random_blob(random);
          sorter.add(pack, blobs);
          const std::lock_guard lock(mutex);
          for (const auto& blob : blobs)
            model[static_cast<size_t>(blob.type)].push_back(
                {blob.id, pack, blob.offset_bytes, blob.length_bytes, blob.plain_length_bytes});
        }
      });
    for (auto& thread : threads) thread.join();
    ASSERT_GT(model[0].size(), 2 * RecordSorter::kBufferRecords);
    expect_same(model[1], sorted(sorter, BlobType::tree));
    expect_same(model[0], sorted(sorter, BlobType::data));
  }
}

TEST(RecordSorter, SortsIdsThatAreNoHashes) {
  RecordSorter sorter(base::make_memory_file(), 1'000'000);
  std::vector<IndexRecord> model;
  for (uint32_t i = 0; i < 20'000; ++i) {
    PackBlob blob;
    blob.id.bytes.fill(i % 3 == 0 ? 0xff : 0);
    blob.id.bytes[31] = static_cast<uint8_t>(i * 31);
    blob.id.bytes[9] = static_cast<uint8_t>(i >> 8);
    blob.offset_bytes = i % 7;
    sorter.add(i % 5, {&blob, 1});
    model.push_back({blob.id, i % 5, blob.offset_bytes, 0, 0});
  }
  expect_same(model, sorted(sorter, BlobType::data));
  EXPECT_TRUE(sorted(sorter, BlobType::tree).empty());
}

TEST(RecordSorter, RenumbersPacksAndMergesWhatIsThere) {
  RecordSorter sorter(base::make_memory_file(), 500'000);
  std::mt19937_64 random(5);
  std::vector<IndexRecord> model, there;
  for (uint32_t i = 0; i < 5000; ++i) {
    PackBlob blob = random_blob(random);
    blob.type = BlobType::data;
    if (i % 2 == 0) {
      sorter.add(i % 4, {&blob, 1});
      model.push_back(
          {blob.id, 100 - i % 4, blob.offset_bytes, blob.length_bytes, blob.plain_length_bytes});
    } else {
      there.push_back({blob.id, 7, 0, 1, 0});
    }
  }
  model.insert(model.end(), there.begin(), there.end());
  std::mutex mutex;
  size_t given = 0;
  const auto more = [&](uint64_t low, uint64_t high, std::vector<IndexRecord>& append_to) {
    for (const auto& record : there)
      if (low <= record.key() && record.key() <= high) {
        append_to.push_back(record);
        const std::lock_guard lock(mutex);
        ++given;
      }
  };
  const std::vector<uint32_t> renumber{100, 99, 98, 97};
  expect_same(model, sorted(sorter, BlobType::data, renumber, more));
  EXPECT_EQ(given, there.size());
}

TEST(RecordSorter, PassesOnAFailureOfWhoeverTakes) {
  RecordSorter sorter(base::make_memory_file(), 10'000'000);
  std::mt19937_64 random(6);
  for (uint32_t i = 0; i < 2000; ++i) {
    const PackBlob blob = random_blob(random);
    sorter.add(0, {&blob, 1});
  }
  EXPECT_THROW(sorter.finish(BlobType::data, {}, {},
                             [](uint64_t first, std::span<const IndexRecord>) {
                               if (first > 500) throw std::runtime_error("full");
                             }),
               std::runtime_error);
}

}  // namespace
}  // namespace davit::repo
