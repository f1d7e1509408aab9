#include "repo/upload.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "base/errors.h"
#include "crypto/sha256.h"
#include "repo/open_packs.h"
#include "repo/pack_header.h"
#include "support/fault_store.h"
#include "support/stream.h"
#include "support/test_repository.h"

namespace davit::repo {
namespace {

using base::Bytes;
using base::Id;
using store::Kind;
using store::Name;

size_t count(store::Store& store, Kind kind) {
  size_t files = 0;
  store.list(kind, [&](const store::FileInfo&) { ++files; });
  return files;
}

// Reads every pack as `check --read-data` does: its name, its header, every blob, and what the
// index says.
std::map<std::pair<BlobType, Id>, int> verified_blobs(Repository& repository) {
  std::map<std::pair<BlobType, Id>, int> blobs;
  std::map<Id, std::vector<PackBlob>> indexed;
  repository.index().for_each([&](const IndexEntry& e) {
    indexed[e.location.pack].push_back(
        {e.type, e.id, e.location.offset, e.location.length, e.location.plain_length});
  });
  repository.store().list(Kind::data, [&](const store::FileInfo& file) {
    const Bytes pack = repository.store().get({Kind::data, file.id}, UINT64_MAX);
    EXPECT_EQ(crypto::sha256(pack), file.id);
    const uint32_t length = parse_header_length(base::ByteView(pack).last(4), pack.size());
    const auto header = parse_pack_header(
        crypto::open(repository.key(), base::ByteView(pack).last(length + 4).first(length)),
        pack.size());
    EXPECT_EQ(pack_size(header), pack.size());
    auto& known = indexed[file.id];
    std::sort(known.begin(), known.end(),
              [](const auto& a, const auto& b) { return a.offset_bytes < b.offset_bytes; });
    EXPECT_EQ(known, header);
    for (const PackBlob& blob : header) {
      EXPECT_EQ(blob.type, header.front().type) << "a mixed pack";
      EXPECT_EQ(crypto::sha256(repository.load_blob(blob.type, blob.id)), blob.id);
      ++blobs[{blob.type, blob.id}];
    }
  });
  return blobs;
}

TEST(Upload, WaitsItsTurnForAllThatItStores) {
  const auto repository = test::make_repository();
  std::atomic<uint64_t> reserved{0};
  const auto begun = std::chrono::steady_clock::now();
  UploadOptions options;
  options.reserve = [&](uint64_t bytes) {
    reserved += bytes;
    return begun + std::chrono::milliseconds(150);
  };
  UploadSession session(*repository, options);
  session.save_blob(BlobType::data, test::random_bytes(10'000, 1));
  EXPECT_GE(std::chrono::steady_clock::now() - begun, std::chrono::milliseconds(150));
  session.save_blob(BlobType::tree, test::random_bytes(1'000, 2));
  session.finish();
  EXPECT_EQ(reserved, session.counts().data_added_packed_bytes);
}

TEST(Upload, AStopEndsTheWaitForItsTurn) {
  const auto repository = test::make_repository();
  std::stop_source stop;
  UploadOptions options;
  options.stop = stop.get_token();
  options.reserve = [&](uint64_t) {
    stop.request_stop();
    return std::chrono::steady_clock::time_point::max();
  };
  UploadSession session(*repository, options);
  EXPECT_THROW(session.save_blob(BlobType::data, test::random_bytes(10'000, 1)), base::Cancelled);
}

// As where the lock has to give way: nothing gets a name.
TEST(Upload, WhatThrowsBeforeTheFirstPackKeepsEverythingOut) {
  const auto repository = test::make_repository();
  UploadOptions options;
  options.before_first_pack = [] { throw base::Locked("somebody prunes"); };
  UploadSession session(*repository, options);
  session.save_blob(BlobType::data, test::random_bytes(10'000, 1));
  EXPECT_THROW(session.finish(), base::Locked);
  EXPECT_EQ(count(repository->store(), Kind::data), 0u);
  EXPECT_EQ(count(repository->store(), Kind::index), 0u);
}

TEST(Upload, StoresEachBlobOnceFromManyThreads) {
  const auto repository = test::make_repository();
  UploadSession session(*repository, {.pack_size_bytes = 64 << 10});
  std::atomic<int> new_ones{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (uint64_t i = 0; i < 200; ++i) {
        // All threads save the same, at nearly the same time.
        const auto content =
            i % 2 ? test::random_bytes(1 + i * 37, i) : test::compressible_bytes(1 + i * 53, i);
        new_ones += session.save_blob(i % 5 ? BlobType::data : BlobType::tree, content).is_new;
      }
    });
  for (auto& thread : threads) thread.join();
  session.finish();
  EXPECT_EQ(new_ones, 200);
  const auto blobs = verified_blobs(*repository);
  EXPECT_EQ(blobs.size(), 200u);
  for (const auto& [key, copies] : blobs) EXPECT_EQ(copies, 1);

  const UploadCounts counts = session.counts();
  EXPECT_EQ(counts.data_blobs, 160u);
  EXPECT_EQ(counts.tree_blobs, 40u);
  EXPECT_GT(counts.data_added_bytes, counts.data_added_packed_bytes / 2);
  uint64_t packed = 0;
  repository->index().for_each([&](const IndexEntry& e) { packed += e.location.length; });
  EXPECT_EQ(counts.data_added_packed_bytes, packed);

  // Another session finds all of it.
  const auto other = test::make_repository(std::shared_ptr<store::Store>(
      dynamic_cast<test::MemoryStore&>(repository->store()).another()));
  other->refresh_index();
  UploadSession again(*other);
  EXPECT_FALSE(again.save_blob(BlobType::data, test::random_bytes(38, 1)).is_new);
  EXPECT_TRUE(again.save_blob(BlobType::tree, test::random_bytes(38, 1)).is_new);  // another type
  again.finish();
}

TEST(Upload, FillsPacksToTheirSize) {
  const auto repository = test::make_repository();
  UploadSession session(*repository, {.pack_size_bytes = 100'000});
  for (uint64_t i = 0; i < 100; ++i)
    session.save_blob(BlobType::data, test::random_bytes(9'000, i));
  session.save_blob(BlobType::data, test::random_bytes(500'000, 1000));  // has a pack to itself
  session.finish();
  size_t small = 0, below_half = 0, large = 0;
  repository->store().list(Kind::data, [&](const store::FileInfo& file) {
    small += file.size_bytes < 100'000;
    below_half += file.size_bytes < 50'000;
    large += file.size_bytes > 500'000;
    EXPECT_TRUE(file.size_bytes < 120'000 || file.size_bytes < 502'000);
  });
  EXPECT_LE(small, OpenPacks::kMostOpen);
  EXPECT_LE(below_half, 1u);
  EXPECT_EQ(large, 1u);
  verified_blobs(*repository);
}

TEST(Upload, MergesSmallRestsAtTheEnd) {
  const auto repository = test::make_repository();
  UploadSession session(*repository);
  for (uint64_t i = 0; i < 64; ++i) {
    session.save_blob(BlobType::data, test::random_bytes(100, i));
    session.save_blob(BlobType::tree, test::random_bytes(100, i));
  }
  session.finish();
  EXPECT_EQ(count(repository->store(), Kind::data), 2u);
  EXPECT_EQ(count(repository->store(), Kind::index), 1u);
  EXPECT_EQ(verified_blobs(*repository).size(), 128u);
}

// Several at once fill several packs, each of which has what its header says, under its hash.
TEST(Upload, StoresSeveralAtOnceFromManyThreads) {
  const auto repository = test::make_repository();
  UploadSession session(*repository, {.pack_size_bytes = 3 << 20});
  constexpr uint64_t kThreads = 4, kRounds = 6;
  std::atomic<uint64_t> bytes{0};
  {
    std::vector<std::jthread> threads;
    for (uint64_t thread = 0; thread < kThreads; ++thread)
      threads.emplace_back([&, thread] {
        test::Stream random(thread);
        for (uint64_t round = 0; round < kRounds; ++round) {
          std::vector<base::Bytes> blobs;
          for (uint64_t i = random.below(6); i > 0; --i)
            blobs.push_back(random.bytes(1 + random.below(random.below(2) ? 3'000 : 4'000'000)));
          blobs.push_back(test::random_bytes(1000, 1000 + round));  // all threads have this one
          std::vector<base::ByteView> plain(blobs.begin(), blobs.end());
          std::vector<base::Id> ids;
          for (const base::ByteView blob : plain) ids.push_back(crypto::sha256(blob));
          session.save_blobs(BlobType::data, ids, plain);
          for (size_t i = 0; i + 1 < blobs.size(); ++i) bytes += blobs[i].size();
        }
      });
  }
  session.finish();
  EXPECT_EQ(session.counts().data_added_bytes, bytes + kRounds * 1000);
  EXPECT_EQ(verified_blobs(*repository).size(), session.counts().data_blobs);
  EXPECT_EQ(repository->index().blob_count(), session.counts().data_blobs);
}

TEST(Upload, NothingAtOnceIsNothing) {
  const auto repository = test::make_repository();
  UploadSession session(*repository);
  session.save_blobs(BlobType::data, {}, {});
  session.finish();
  EXPECT_EQ(session.counts().data_blobs, 0u);
}

TEST(Upload, AnEmptySessionWritesNothing) {
  const auto repository = test::make_repository();
  UploadSession session(*repository);
  session.finish();
  session.finish();
  EXPECT_EQ(count(repository->store(), Kind::data), 0u);
  EXPECT_EQ(count(repository->store(), Kind::index), 0u);
}

TEST(Upload, WritesIndexFilesAsItGoes) {
  const auto repository = test::make_repository();
  UploadSession session(*repository, {.pack_size_bytes = 4 << 10, .index_blobs = 50});
  for (uint64_t i = 0; i < 500; ++i) session.save_blob(BlobType::data, test::random_bytes(1000, i));
  session.finish();
  EXPECT_GE(count(repository->store(), Kind::index), 8u);
  // What an index file took over is still known to the session.
  EXPECT_EQ(verified_blobs(*repository).size(), 500u);

  const auto by_age = test::make_repository();
  UploadSession aged(*by_age, {.pack_size_bytes = 4 << 10, .index_age = std::chrono::seconds(0)});
  for (uint64_t i = 0; i < 40; ++i) aged.save_blob(BlobType::data, test::random_bytes(5000, i));
  aged.finish();
  EXPECT_EQ(count(by_age->store(), Kind::index), 40u);
}

TEST(Upload, KnowsWhatAnIndexFileTookOver) {
  const auto repository = test::make_repository();
  UploadSession session(*repository, {.pack_size_bytes = 4 << 10, .index_blobs = 1});
  for (int round = 0; round < 3; ++round)
    for (uint64_t i = 0; i < 100; ++i) {
      EXPECT_EQ(session.save_blob(BlobType::data, test::random_bytes(3000, i)).is_new, round == 0);
    }
  session.finish();
  EXPECT_EQ(session.counts().data_blobs, 100u);
}

TEST(Upload, ARefreshInBetweenLosesNothing) {
  const auto repository = test::make_repository();
  UploadSession session(*repository, {.pack_size_bytes = 4 << 10, .index_blobs = 1});
  std::atomic<bool> done{false};
  std::atomic<int> lost{0};
  std::thread refresher([&] {
    size_t seen = 0;
    while (!done) {
      repository->refresh_index();
      const size_t now = repository->index().blob_count();
      if (now < seen) ++lost;
      seen = now;
    }
  });
  for (uint64_t i = 0; i < 300; ++i) session.save_blob(BlobType::data, test::random_bytes(2000, i));
  session.finish();
  done = true;
  refresher.join();
  EXPECT_EQ(lost, 0);
  EXPECT_EQ(repository->index().blob_count(), 300u);
}

TEST(Upload, StoresWhatIsKnownWhereAsked) {
  const auto repository = test::make_repository();
  const auto content = test::random_bytes(1000, 1);
  const Id id = crypto::sha256(content);
  UploadSession(*repository).finish();
  {
    UploadSession session(*repository);
    EXPECT_TRUE(session.save_blob(BlobType::data, id, content).is_new);
    session.finish();
  }
  UploadSession session(*repository);
  EXPECT_FALSE(session.save_blob(BlobType::data, id, content).is_new);
  EXPECT_TRUE(session.save_blob(BlobType::data, id, content, true).is_new);
  EXPECT_FALSE(session.save_blob(BlobType::data, id, content, true).is_new);  // once a session
  session.finish();
  EXPECT_EQ(repository->index().find_all(BlobType::data, id).size(), 2u);
}

TEST(Upload, StoresAsItIsWhatWouldNotBecomeSmaller) {
  const auto content = test::random_bytes(100'000, 1);
  for (const Compression compression : {Compression::automatic, Compression::max}) {
    const auto repository = test::make_repository();
    repository->set_compression(compression);
    UploadSession session(*repository);
    const Id id = session.save_blob(BlobType::data, content).id;
    session.finish();
    const BlobLocation where = *repository->index().find(BlobType::data, id);
    EXPECT_EQ(where.plain_length == 0, compression == Compression::automatic);
    EXPECT_EQ(repository->load_blob(BlobType::data, id), content);
  }
}

TEST(Upload, ObeysTheCompressionThatWasChosen) {
  const auto content = test::compressible_bytes(100'000, 1);
  std::vector<uint32_t> lengths;
  for (const Compression compression :
       {Compression::automatic, Compression::off, Compression::max}) {
    const auto repository = test::make_repository();
    repository->set_compression(compression);
    UploadSession session(*repository, {.verify_data = true});
    const Id data = session.save_blob(BlobType::data, content).id;
    const Id tree = session.save_blob(BlobType::tree, content).id;
    session.finish();
    const auto where = *repository->index().find(BlobType::data, data);
    EXPECT_EQ(where.plain_length != 0, compression != Compression::off);
    EXPECT_EQ(where.length < content.size() / 2, compression != Compression::off);
    EXPECT_NE(repository->index().find(BlobType::tree, tree)->plain_length, 0u);  // always
    verified_blobs(*repository);
    lengths.push_back(where.length);
  }
  EXPECT_LT(lengths[2], lengths[0]);  // max makes an effort
}

TEST(Upload, RefusesABlobWhoseBytesAreNotItsName) {
  const auto repository = test::make_repository();
  UploadSession session(*repository, {.verify_data = true});
  const auto content = test::random_bytes(1000, 1);
  EXPECT_THROW(session.save_blob(BlobType::data, Id{{1}}, content), base::Corrupt);
  EXPECT_THROW(session.finish(), base::Corrupt);
  UploadSession trees(*repository);
  EXPECT_THROW(trees.save_blob(BlobType::tree, Id{{1}}, content), base::Corrupt);
  EXPECT_EQ(count(repository->store(), Kind::data), 0u);
}

TEST(Upload, RefusesWhatNoPackCanHold) {
  const auto repository = test::make_repository();
  EXPECT_THROW(UploadSession(*repository, {.pack_size_bytes = 100}), base::UsageError);
  UploadSession session(*repository);
  EXPECT_THROW(session.save_blob(BlobType::data, {}), base::UsageError);
  session.save_blob(BlobType::data, base::as_bytes("x"));  // the session goes on
  session.finish();
}

// Whichever store call fails: nobody hangs, the failure comes out, and what is indexed can be read.
TEST(Upload, AnyFailureOfTheStoreComesOut) {
  uint64_t calls = 0;
  for (uint64_t fail = 0; fail <= calls; ++fail) {
    const auto store = std::make_shared<test::FaultStore>(std::make_shared<test::MemoryStore>());
    const auto repository = test::make_repository(store);
    store->fail_call(fail);
    UploadSession session(*repository, {.pack_size_bytes = 16 << 10, .index_blobs = 20});
    std::atomic<int> failures{0};
    std::vector<std::thread> threads;
    for (uint64_t t = 0; t < 2; ++t)
      threads.emplace_back([&, t] {
        try {
          for (uint64_t i = 0; i < 50; ++i)
            session.save_blob(BlobType::data, test::random_bytes(4000, t * 50 + i));
        } catch (const base::IoError&) {
          ++failures;
        }
      });
    for (auto& thread : threads) thread.join();
    // Chance decides how many packs there are, so the last calls may not come.
    try {
      session.finish();
      calls = std::max(calls, store->calls());
      EXPECT_TRUE(fail == 0 || store->calls() < fail) << "call " << fail;
    } catch (const base::IoError&) {
      EXPECT_NE(fail, 0u);
      EXPECT_THROW(session.save_blob(BlobType::data, test::random_bytes(10, 1)), base::IoError);
      EXPECT_THROW(session.finish(), base::IoError);
    }
    store->fail_call(0);
    const auto fresh = test::make_repository(store);
    fresh->refresh_index();
    fresh->index().for_each(
        [&](const IndexEntry& e) { EXPECT_EQ(fresh->load_blob(e.type, e.id).size(), 4000u); });
  }
}

// A store that is stuck until the test lets it go on.
struct Gate {
  std::mutex mutex;
  std::condition_variable changed;
  bool open = false;
  int waiting = 0;
  void wait() {
    std::unique_lock lock(mutex);
    ++waiting;
    changed.notify_all();
    changed.wait(lock, [&] { return open; });
  }
  void wait_for_waiting(int count) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return waiting >= count; });
  }
  void let_go() {
    const std::lock_guard lock(mutex);
    open = true;
    changed.notify_all();
  }
};

TEST(Upload, AStopWakesWhoeverWaitsForTheStore) {
  const auto store = std::make_shared<test::FaultStore>(std::make_shared<test::MemoryStore>());
  const auto repository = test::make_repository(store);
  Gate gate;
  store->before_each([&](const test::StoreCall& call) {
    if (call.op == test::StoreOp::put) gate.wait();
  });
  std::stop_source stop;
  UploadSession session(*repository, {.pack_size_bytes = 4 << 10, .stop = stop.get_token()});
  std::thread saver([&] {
    EXPECT_THROW(for (uint64_t i = 0; i < 1000; ++i)
                     session.save_blob(BlobType::data, test::random_bytes(5000, i)),
                 base::Cancelled);
  });
  gate.wait_for_waiting(static_cast<int>(store->connections()));
  stop.request_stop();
  saver.join();  // though the store is still stuck
  EXPECT_THROW(session.save_blob(BlobType::data, test::random_bytes(10, 1)), base::Cancelled);
  gate.let_go();
  EXPECT_THROW(session.finish(), base::Cancelled);
  EXPECT_EQ(count(*store, Kind::index), 0u);
}

TEST(Upload, WithoutFinishNothingIsIndexed) {
  const auto repository = test::make_repository();
  {
    UploadSession session(*repository, {.pack_size_bytes = 4 << 10});
    for (uint64_t i = 0; i < 50; ++i)
      session.save_blob(BlobType::data, test::random_bytes(1500, i));
  }
  EXPECT_EQ(repository->index().blob_count(), 0u);
  EXPECT_EQ(count(repository->store(), Kind::index), 0u);
}

TEST(Upload, IsBoundedInMemoryByTheStore) {
  const auto store = std::make_shared<test::FaultStore>(std::make_shared<test::MemoryStore>());
  const auto repository = test::make_repository(store);
  Gate gate;
  store->before_each([&](const test::StoreCall& call) {
    if (call.op == test::StoreOp::put) gate.wait();
  });
  UploadSession session(*repository, {.pack_size_bytes = 4 << 10});
  std::atomic<uint64_t> saved{0};
  std::thread saver([&] {
    for (uint64_t i = 0; i < 100; ++i, ++saved)
      session.save_blob(BlobType::data, test::random_bytes(5000, i));
  });
  gate.wait_for_waiting(static_cast<int>(store->connections()));
  // Each blob is a pack: those in the store's hands, those queued, and the one that waits.
  EXPECT_LE(saved, 2 * store->connections() + 1);
  gate.let_go();
  saver.join();
  session.finish();
  EXPECT_EQ(repository->index().blob_count(), 100u);
}

}  // namespace
}  // namespace davit::repo
