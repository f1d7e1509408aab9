// What a session that came to no end had sent is not sent again.
#include "repo/arrived_packs.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "base/errors.h"
#include "base/files.h"
#include "crypto/sha256.h"
#include "repo/upload.h"
#include "store/local_store.h"
#include "support/fault_store.h"
#include "support/made_repository.h"
#include "support/temp_dir.h"
#include "support/test_repository.h"

namespace davit::repo {
namespace {

using base::Id;
using store::Kind;

constexpr uint64_t kBlobs = 120;

base::Bytes content(uint64_t i) {
  return test::random_bytes(3000 + i, i);
}

struct ArrivedPacksTest : testing::Test {
  // As another process of this machine would see it.
  std::unique_ptr<Repository> open(const std::shared_ptr<store::Store>& at) {
    auto repository = test::make_repository(at);
    repository->use_index_cache(cache);
    repository->refresh_index();
    return repository;
  }
  std::unique_ptr<Repository> open() { return open(store); }

  static UploadOptions options() { return {.pack_size_bytes = 16 << 10, .index_blobs = 1'000'000}; }
  static void save(UploadSession& session) {
    for (uint64_t i = 0; i < kBlobs; ++i) session.save_blob(BlobType::data, content(i));
    session.finish();
  }
  // A run that fails at its 11th pack; returns how many arrived.
  size_t fail_half_way(UploadOptions with = options()) {
    std::atomic<int> packs{0};
    store->before_each([&](const test::StoreCall& call) {
      if (call.op == test::StoreOp::put && call.name.kind == Kind::data && ++packs > 10)
        throw base::IoError("the store is away", 0, true);
    });
    const auto repository = open();
    {
      UploadSession session(*repository, std::move(with));
      EXPECT_THROW(save(session), base::IoError);
    }
    store->before_each({});
    return ids(Kind::data).size();
  }
  std::vector<Id> ids(Kind kind) { return test::ids_of(*memory, kind); }
  std::vector<std::string> lists() {
    std::vector<std::string> found;
    for (const std::string& name : base::list_directory(cache))
      if (name.starts_with("index.arrived-")) found.push_back(cache + "/" + name);
    return found;
  }
  // Everything is there, and nothing twice.
  void expect_whole() {
    const auto repository = open();
    EXPECT_EQ(repository->index().blob_count(), kBlobs);
    for (uint64_t i = 0; i < kBlobs; ++i)
      EXPECT_EQ(repository->load_blob(BlobType::data, crypto::sha256(content(i))), content(i));
  }

  test::TempDir directory;
  const std::string cache = directory / "cache";
  std::shared_ptr<test::MemoryStore> memory = std::make_shared<test::MemoryStore>();
  std::shared_ptr<test::FaultStore> store = std::make_shared<test::FaultStore>(memory);
};

TEST_F(ArrivedPacksTest, TheNextRunSendsOnlyTheRest) {
  const size_t arrived = fail_half_way();
  ASSERT_EQ(arrived, 10u);
  EXPECT_TRUE(ids(Kind::index).empty());
  EXPECT_EQ(lists().size(), 1u);

  const auto repository = open();
  std::atomic<size_t> packs{0};
  store->after_each([&](const test::StoreCall& call) {
    packs += call.op == test::StoreOp::put && call.name.kind == Kind::data;
  });
  UploadSession session(*repository, options());
  const size_t known = repository->index().blob_count();
  EXPECT_GT(known, 40u);  // five or six a pack
  save(session);
  EXPECT_EQ(session.counts().data_blobs, kBlobs - known);
  EXPECT_EQ(ids(Kind::data).size(), arrived + packs);
  EXPECT_TRUE(lists().empty());
  expect_whole();
}

TEST_F(ArrivedPacksTest, WhatIsIndexedIsNotedNoLonger) {
  const auto repository = open();
  {
    UploadSession session(*repository, options());
    save(session);
    EXPECT_TRUE(lists().empty());
  }
  EXPECT_EQ(ids(Kind::index).size(), 1u);
}

TEST_F(ArrivedPacksTest, IndexFilesOnTheWayNeedNoList) {
  UploadOptions some = options();
  some.index_blobs = 1;
  fail_half_way(some);
  EXPECT_EQ(ids(Kind::index).size(), 10u);
  EXPECT_TRUE(lists().empty());
}

TEST_F(ArrivedPacksTest, AKilledProcessLeavesItsPacksUseful) {
  const std::string path = directory / "repository";
  const auto local = std::make_shared<store::LocalStore>(path);
  local->prepare();
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto repository = open(local);
    UploadSession session(*repository, options());
    for (uint64_t i = 0; i < kBlobs; ++i) session.save_blob(BlobType::data, content(i));
    // The packs that are full are on their way; the rest is open.
    while (test::ids_of(*local, Kind::data).size() < 12) ::usleep(1000);
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  const auto repository = open(local);
  EXPECT_EQ(repository->index().blob_count(), 0u);
  // The very last one may have arrived and not been noted.
  EXPECT_GE(adopt_arrived_packs(*repository, {}), 12u - local->connections());
  UploadSession session(*repository, options());
  save(session);
  EXPECT_LT(session.counts().data_blobs, kBlobs * 3 / 4);
  for (uint64_t i = 0; i < kBlobs; ++i)
    EXPECT_EQ(repository->load_blob(BlobType::data, crypto::sha256(content(i))), content(i));
}

TEST_F(ArrivedPacksTest, OnlyWhatIsStillThereIsAdopted) {
  fail_half_way();
  const auto packs = ids(Kind::data);
  // A prune took some, and one is not what it was.
  for (size_t i = 0; i < 3; ++i) memory->remove({Kind::data, packs[i]});
  memory->damage({Kind::data, packs[3]}, [](base::Bytes& bytes) { bytes.pop_back(); });
  const auto repository = open();
  EXPECT_EQ(adopt_arrived_packs(*repository, {}), packs.size() - 4);
  repository->index().for_each([&](const IndexEntry& entry) {
    for (size_t i = 0; i < 4; ++i) EXPECT_NE(entry.location.pack, packs[i]);
  });
  EXPECT_TRUE(lists().empty());
  memory->remove({Kind::data, packs[3]});
  UploadSession session(*repository, options());
  save(session);
  expect_whole();
}

TEST_F(ArrivedPacksTest, AListIsBelievedAsFarAsItIsWhole) {
  fail_half_way();
  const std::string list = lists().at(0);
  const base::Bytes whole = base::get_file(list);
  const auto adopted_from = [&](const base::Bytes& bytes) {
    for (const Id& id : ids(Kind::index)) memory->remove({Kind::index, id});
    std::filesystem::remove_all(cache);
    base::make_directories(cache);
    base::write_file_atomic(list, bytes);
    const size_t adopted = adopt_arrived_packs(*open(memory), {});
    EXPECT_TRUE(lists().empty());
    return adopted;
  };
  EXPECT_EQ(adopted_from(whole), 10u);
  for (size_t length = 0; length < whole.size(); length += 97)
    EXPECT_LT(
        adopted_from(base::Bytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(length))),
        10u);
  for (size_t at = 0; at < whole.size(); at += 89) {
    base::Bytes changed = whole;
    changed[at] ^= 0x10;
    EXPECT_LT(adopted_from(changed), 10u);
  }
}

TEST_F(ArrivedPacksTest, AListOfASessionThatLivesIsItsOwn) {
  const auto repository = open();
  std::atomic<int> packs{0};
  store->after_each([&](const test::StoreCall& call) {
    packs += call.op == test::StoreOp::put && call.name.kind == Kind::data;
  });
  UploadSession first(*repository, options());
  for (uint64_t i = 0; i < kBlobs; ++i) first.save_blob(BlobType::data, content(i));
  while (packs < 10 || lists().empty()) std::this_thread::yield();
  EXPECT_EQ(adopt_arrived_packs(*repository, [] { FAIL(); }), 0u);
  EXPECT_EQ(lists().size(), 1u);
  first.finish();
  expect_whole();
}

TEST_F(ArrivedPacksTest, AListWhosePacksAreIndexedAddsNothing) {
  fail_half_way();
  const std::string list = lists().at(0);
  const base::Bytes bytes = base::get_file(list);
  EXPECT_EQ(adopt_arrived_packs(*open(), {}), 10u);
  base::write_file_atomic(list, bytes);  // as if the process had died before it was removed
  EXPECT_EQ(adopt_arrived_packs(*open(), {}), 0u);
  EXPECT_EQ(ids(Kind::index).size(), 1u);
  EXPECT_TRUE(lists().empty());
}

TEST_F(ArrivedPacksTest, NothingIsWrittenBeforeItsLockIsSure) {
  fail_half_way();
  UploadOptions with = options();
  with.before_first_pack = [] { throw base::Locked("somebody prunes"); };
  const auto repository = open();
  EXPECT_THROW(UploadSession(*repository, with), base::Locked);
  EXPECT_TRUE(ids(Kind::index).empty());
  EXPECT_EQ(lists().size(), 1u);
}

TEST_F(ArrivedPacksTest, AStoreThatIsStillAwayLeavesTheList) {
  fail_half_way();
  const auto repository = open();
  store->fail_share(1, 1);
  EXPECT_THROW(UploadSession(*repository, options()), base::IoError);
  store->fail_share(0, 0);
  EXPECT_EQ(lists().size(), 1u);
  UploadSession session(*repository, options());
  save(session);
  expect_whole();
}

TEST_F(ArrivedPacksTest, WhereNothingCanBeNotedTheRunGoesOn) {
  const auto repository = open();
  std::filesystem::remove_all(cache);
  base::write_file_atomic(cache, base::as_bytes("no directory"));
  UploadSession session(*repository, options());
  save(session);
  EXPECT_EQ(repository->index().blob_count(), kBlobs);
}

}  // namespace
}  // namespace davit::repo
