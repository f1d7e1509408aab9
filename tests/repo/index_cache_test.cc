#include "repo/index_cache.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "base/fault.h"
#include "base/files.h"
#include "support/index_world.h"
#include "support/skip.h"

namespace davit::repo {
namespace {

using base::Id;
using test::IndexWorld;

// Reads the files of the index that a call asked for.
uint64_t count_reads(IndexWorld& world, const std::function<void()>& act) {
  std::atomic<uint64_t> reads{0};
  world.store->before_each([&](const test::StoreCall& call) {
    reads += call.op == test::StoreOp::get && call.name.kind == store::Kind::index;
  });
  act();
  world.store->before_each({});
  return reads;
}

TEST(IndexCache, TheNextProcessReadsOnlyWhatIsNew) {
  IndexWorld world;
  for (int i = 0; i < 10; ++i) world.add_file(20, 100);
  EXPECT_EQ(count_reads(world, [&] { world.open()->refresh_index(); }), 10u);
  const auto ours = world.open();
  EXPECT_EQ(count_reads(world, [&] { ours->refresh_index(); }), 0u);
  world.expect_right(*ours);
  world.add_file(20, 100);
  EXPECT_EQ(count_reads(world, [&] { world.open()->refresh_index(); }), 1u);
  EXPECT_EQ(count_reads(world, [&] { ours->refresh_index(); }), 1u);
  world.expect_right(*ours);
}

TEST(IndexCache, AnEmptyRepositoryHasAnEmptyIndex) {
  IndexWorld world;
  const auto ours = world.open();
  ours->index().write_cache(0, {});
  ours->refresh_index();
  world.expect_right(*ours);
  const auto again = world.open();
  again->refresh_index();
  EXPECT_FALSE(again->index().contains(BlobType::data, IndexWorld::name(1)));
}

// Another host prunes: it writes new index files and removes old ones, while we are away and while
// we are not.
TEST(IndexCache, WhatAnotherHostPrunedIsGone) {
  IndexWorld world;
  for (int i = 0; i < 12; ++i) world.add_file(20, 100);
  const auto ours = world.open({1'000'000, 1000});
  ours->index().write_cache(0, {});
  world.open()->refresh_index();  // writes it
  const auto away = world.open({1'000'000, 1000});
  ours->refresh_index();
  for (int round = 0; round < 4; ++round) {
    const auto files = world.files();
    world.remove_file(files[0]);
    world.remove_file(files[files.size() / 2]);
    world.add_file(10, 100);
    ours->refresh_index();
    world.expect_right(*ours);
  }
  away->refresh_index();
  world.expect_right(*away);
  away->index().write_cache(0, {});
  world.expect_right(*away);
  for (const Id& file : world.files()) world.remove_file(file);
  away->refresh_index();
  EXPECT_EQ(away->index().blob_count(), 0u);
  world.expect_right(*away);
}

TEST(IndexCache, AgreesWithThePlainIndexThroughManyChanges) {
  IndexWorld world;
  auto ours = world.open({2000, 5});
  for (int step = 0; step < 60; ++step) {
    if (const auto files = world.files(); files.size() > 15 || (!files.empty() && step % 3 == 2))
      world.remove_file(files[world.random() % files.size()]);
    else
      world.add_file(6, 200);
    if (step % 7 == 6) ours = world.open({2000, 5});
    ours->refresh_index();
    if (step % 4 == 0) world.expect_right(*ours);
  }
  world.expect_right(*ours);
  EXPECT_TRUE(std::filesystem::exists(world.cache()));
}

TEST(IndexCache, AnotherRepositorysIsNotUsed) {
  IndexWorld world;
  for (int i = 0; i < 5; ++i) world.add_file(20, 100);
  world.open()->refresh_index();
  const auto same = test::make_repository(world.memory);
  ConfigFile config = same->config();
  config.id = IndexWorld::name(99);
  Repository other(world.store, config, same->key(), same->key_id());
  other.use_index_cache(world.directory.path(), IndexWorld::kNothingInMemory);
  EXPECT_EQ(other.index().blob_count(), 0u);
  EXPECT_EQ(count_reads(world, [&] { other.refresh_index(); }), 5u);
  world.expect_right(other);
}

// The story: bits rot, blocks are lost, sectors change places, the file is cut or grows. Whatever
// it is, no look-up is ever wrong.
TEST(IndexCache, ADamagedOneNeverGivesAWrongAnswer) {
  const char* seed_text = std::getenv("DAVIT_SEED");
  IndexWorld world;
  for (int i = 0; i < 6; ++i) world.add_file(25, 120);
  const auto plain = test::make_repository(world.memory);
  plain->refresh_index();
  world.open()->refresh_index();
  const base::Bytes good = base::get_file(world.cache());
  std::mt19937_64 random(seed_text ? std::strtoull(seed_text, nullptr, 10) : 4711);
  const int rounds = std::getenv("DAVIT_SOAK") ? 3000 : 150;
  for (int round = 0; round < rounds; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    base::Bytes bad = good;
    const size_t at = random() % bad.size(), size = std::min(bad.size() - at, random() % 5000);
    switch (round % 6) {
      case 0:
      case 1:
        bad[at] ^= static_cast<uint8_t>(1 << random() % 8);
        break;
      case 2:
        bad.resize(at);
        break;
      case 3:
        std::fill_n(bad.begin() + static_cast<ptrdiff_t>(at), size, uint8_t{0});
        break;
      case 4: {  // two sectors, changed over
        const size_t one = at & ~size_t{511}, two = random() % bad.size() & ~size_t{511};
        for (size_t i = 0; i < 512 && std::max(one, two) + i < bad.size(); ++i)
          std::swap(bad[one + i], bad[two + i]);
        break;
      }
      default:
        bad.resize(bad.size() + 1 + random() % 5000, 0);
    }
    // The header and the tables, now and then, for sure.
    if (round % 12 == 0) bad[random() % 200] ^= 0x10;
    base::write_file_atomic(world.cache(), bad);
    const auto ours = world.open();
    ours->refresh_index();
    IndexWorld::expect_same(ours->index(), plain->index());
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(IndexCache, OneThreadReadsADamagedOneAgainAndAllGetTheRightAnswer) {
  IndexWorld world;
  for (int i = 0; i < 8; ++i) world.add_file(20, 100);
  world.open()->refresh_index();
  base::Bytes bad = base::get_file(world.cache());
  for (size_t i = 5000; i < bad.size() / 2; i += 1000) bad[i] ^= 1;
  base::write_file_atomic(world.cache(), bad);
  const auto ours = world.open();
  ours->refresh_index();
  const auto plain = test::make_repository(world.memory);
  plain->refresh_index();
  const auto entries = IndexWorld::all_of(plain->index());
  std::atomic<int> wrong{0};
  const uint64_t reads = count_reads(world, [&] {
    std::vector<std::thread> threads;
    for (size_t thread = 0; thread < 4; ++thread)
      threads.emplace_back([&, thread] {
        for (size_t i = thread; i < entries.size(); i += 3)
          wrong += !ours->index().contains(std::get<0>(entries[i]), std::get<1>(entries[i]));
      });
    for (auto& thread : threads) thread.join();
  });
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(reads, 8u);
  world.expect_right(*ours);
  EXPECT_EQ(count_reads(world, [&] { world.open()->refresh_index(); }), 0u);  // it is whole again
}

// Damage that is met while the store does not answer is an error, and never "no such blob".
TEST(IndexCache, WhatCannotBeReadAgainIsAnError) {
  IndexWorld world;
  for (int i = 0; i < 4; ++i) world.add_file(20, 100);
  world.open()->refresh_index();
  const auto entries = IndexWorld::all_of(world.open()->index());
  base::Bytes bad = base::get_file(world.cache());
  for (size_t i = 4096; i < bad.size() - 30'000; i += 1000) bad[i] ^= 1;
  base::write_file_atomic(world.cache(), bad);
  const auto ours = world.open();
  ours->refresh_index();
  world.store->fail_share(1, 1);
  const auto& [type, id, pack, offset, length, plain_length] = entries[entries.size() / 2];
  EXPECT_THROW(ours->index().contains(type, id), base::IoError);
  world.store->fail_share(0, 1);
  EXPECT_TRUE(ours->index().contains(type, id));
  world.expect_right(*ours);
}

TEST(IndexCache, WhereItCannotBeWrittenTheIndexIsInMemory) {
  IndexWorld world;
  for (int i = 0; i < 5; ++i) world.add_file(20, 100);
  base::write_file_atomic(world.directory / "file", base::as_bytes("x"));
  const auto ours = test::make_repository(world.store);
  ours->use_index_cache(world.directory / "file", IndexWorld::kNothingInMemory);
  for (int round = 0; round < 3; ++round) {
    world.add_file(20, 100);
    world.remove_file(world.files()[0]);
    ours->refresh_index();
    world.expect_right(*ours);
  }
}

TEST(IndexCache, AFullFileSystemCostsNothingButMemory) {
  if (::geteuid() != 0) DAVIT_SKIP("mounting needs root");
  IndexWorld world;
  const std::string small = world.directory / "small";
  base::make_directories(small);
  // In a thread: the name space is its own, and ends with it.
  std::string obstacle;
  std::thread([&] {
    if (::unshare(CLONE_NEWNS) != 0 ||
        ::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("tmpfs", small.c_str(), "tmpfs", 0, "size=256k") != 0) {
      obstacle = "no mounts here";
      return;
    }
    const auto ours = test::make_repository(world.store);
    ours->use_index_cache(small, IndexWorld::kNothingInMemory);
    for (int round = 0; round < 12; ++round) {
      world.add_file(10, 200);
      ours->refresh_index();
      world.expect_right(*ours);
    }
    EXPECT_LE(base::list_directory(small).size(), 1u);  // nothing half written stays
    const auto again = test::make_repository(world.store);
    again->use_index_cache(small, IndexWorld::kNothingInMemory);
    again->refresh_index();
    world.expect_right(*again);
  }).join();
  if (!obstacle.empty()) DAVIT_SKIP(obstacle);
}

TEST(IndexCache, DyingWhileItIsWrittenLeavesAUsableOne) {
  IndexWorld world;
  for (int i = 0; i < 4; ++i) world.add_file(20, 100);
  world.open()->refresh_index();
  static std::atomic<int> left;
  int died = 0;
  for (int point = 1;; ++point) {
    world.add_file(20, 100);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      left = point;
      base::fault_hook = [](const char*) {
        if (--left == 0) ::_exit(9);
      };
      try {
        world.open()->refresh_index();
        ::_exit(0);
      } catch (...) {
        ::_exit(1);
      }
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status));
    ASSERT_NE(WEXITSTATUS(status), 1);
    const auto ours = world.open({1'000'000, 1000});  // which only looks
    EXPECT_GE(ours->index().files().size(), 4u) << "point " << point;
    ours->refresh_index();
    world.expect_right(*ours);
    if (WEXITSTATUS(status) == 0) break;
    ++died;
  }
  EXPECT_GE(died, 4);
}

}  // namespace
}  // namespace davit::repo
