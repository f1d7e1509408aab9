// The index cache while many work at once.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "repo/upload.h"
#include "support/index_world.h"

namespace davit::repo {
namespace {

using base::Id;
using test::IndexWorld;

// Jobs save and look up, the cache is written again and again, another host adds and prunes: what
// is in the repository all the time is found at any time.
TEST(IndexChanges, NothingIsMissingWhileTheCacheIsWritten) {
  IndexWorld world;
  std::vector<Id> stay;
  for (int i = 0; i < 3; ++i) stay.push_back(world.add_file(20, 100));
  const auto ours = world.open({500, 3});
  ours->refresh_index();
  const auto entries = IndexWorld::all_of(ours->index());
  std::atomic<bool> done{false};
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (size_t reader = 0; reader < 2; ++reader)
    threads.emplace_back([&, reader] {
      for (size_t i = reader; !done; i += 7) {
        const auto& [type, id, pack, offset, length, plain] = entries[i % entries.size()];
        wrong += !ours->index().contains(type, id);
        if (i % 500 == 0) {
          size_t seen = 0;
          ours->index().for_each([&](const IndexEntry&) { ++seen; });
          wrong += seen < entries.size();
        }
      }
    });
  threads.emplace_back([&] {  // a job
    for (uint64_t round = 0; round < 15; ++round) {
      UploadSession session(*ours, {.pack_size_bytes = 4096, .index_blobs = 20});
      std::vector<Id> saved;
      for (uint64_t i = 0; i < 60; ++i)
        saved.push_back(
            session.save_blob(BlobType::data, test::random_bytes(300, round * 100 + i)).id);
      session.finish();
      for (const Id& id : saved) wrong += !ours->index().contains(BlobType::data, id);
      ours->refresh_index();
      for (const Id& id : saved) wrong += !ours->index().contains(BlobType::data, id);
    }
  });
  threads.emplace_back([&] {  // another job
    for (int round = 0; round < 60; ++round) ours->refresh_index();
  });
  std::vector<Id> theirs;
  for (int round = 0; round < 40; ++round) {
    theirs.push_back(world.add_file(5, 100));
    if (theirs.size() > 4) {
      world.remove_file(theirs.front());
      theirs.erase(theirs.begin());
    }
    if (round % 10 == 0) ours->index().write_cache(0, {});
  }
  for (size_t i = 2; i < threads.size(); ++i) threads[i].join();
  done = true;
  for (size_t i = 0; i < 2; ++i) threads[i].join();
  EXPECT_EQ(wrong, 0);
  ours->refresh_index();
  world.expect_right(*ours);
  const auto again = world.open();
  again->refresh_index();
  world.expect_right(*again);
}

// A file is dropped, or added, at the moment when the new cache is finished.
TEST(IndexChanges, WhatChangesWhileTheCacheIsWrittenStaysChanged) {
  IndexWorld world;
  const auto ours = world.open({1'000'000, 1000});
  for (int i = 0; i < 4; ++i) world.add_file(10, 50);
  ours->refresh_index();
  for (int round = 0; round < 8; ++round) {
    ours->index().write_cache(0, [&](IndexCacheWriter&) {
      // Of the former cache, or of what was in memory; and one that tells again of what goes.
      const auto files = world.files();
      const Id victim = files[world.random() % files.size()];
      const base::Bytes json = ours->load_unpacked(store::Kind::index, victim);
      IndexFileContent content;
      parse_index(json, content);
      world.remove_file(victim);
      ours->index().drop_file(victim);
      if (round % 2 == 0) {
        const Id again = world.theirs->save_unpacked(store::Kind::index, json);
        ours->index().add_file(again, content);
      } else {
        world.add_file(10, 50);
      }
    });
    if (round % 2 == 0) world.expect_right(*ours);
    ours->refresh_index();
    world.expect_right(*ours);
  }
}

// A pack that nothing described when the new cache was begun, and something does when it is done.
TEST(IndexChanges, APackThatComesBackWhileTheCacheIsWrittenIsThere) {
  IndexWorld world;
  const auto ours = world.open({1'000'000, 1000});
  world.add_file(10, 50);
  ours->refresh_index();
  ours->index().write_cache(0, {});
  const Id file = world.files()[0];
  const base::Bytes json = ours->load_unpacked(store::Kind::index, file);
  IndexFileContent content;
  parse_index(json, content);
  world.remove_file(file);
  world.add_file(10, 50);
  ours->refresh_index();
  ours->index().write_cache(0, [&](IndexCacheWriter&) {
    ours->index().add_file(world.theirs->save_unpacked(store::Kind::index, json), content);
  });
  world.expect_right(*ours);
}

}  // namespace
}  // namespace davit::repo
