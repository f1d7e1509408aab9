#include "store/cache_store.h"

#include <gmock/gmock.h>
#include <sys/resource.h>

#include <condition_variable>
#include <csignal>
#include <mutex>
#include <thread>

#include "base/errors.h"
#include "base/files.h"
#include "base/patience.h"
#include "crypto/sha256.h"
#include "store_contract.h"
#include "support/fault_store.h"
#include "support/memory_store.h"
#include "support/temp_dir.h"

namespace davit::store {
namespace {

using test::StoreCall;
using test::StoreOp;

constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kLargest = 4 * kMiB;  // of the packs that are kept

// Each that opens it has a cache of its own, as hosts have.
struct CachePlace : StorePlace {
  std::unique_ptr<Store> open() override {
    auto cache = std::make_unique<CacheStore>(first.another());
    cache->begin(directory / std::to_string(++opened), [] { return 100 * kMiB; });
    return cache;
  }
  test::MemoryStore first;
  test::TempDir directory;
  int opened = 0;
};

INSTANTIATE_TEST_SUITE_P(Cache, StoreContract,
                         ::testing::Values([]() -> std::unique_ptr<StorePlace> {
                           return std::make_unique<CachePlace>();
                         }));

base::Bytes noise(size_t size, uint8_t salt) {
  base::Bytes bytes(size);
  uint32_t state = salt + 1;
  for (auto& byte : bytes)
    byte = static_cast<uint8_t>((state = state * 1664525 + 1013904223) >> 24);
  return bytes;
}

Name named(Kind kind, const base::Bytes& bytes) {
  Name name{kind, crypto::sha256(bytes)};
  name.trees = kind == Kind::data;
  name.is_hash = true;
  return name;
}

class Cache : public ::testing::Test {
 protected:
  Cache() {
    faults_->before_each([this](const StoreCall& call) {
      std::lock_guard lock(mutex_);
      ++asked_[call.op];
    });
    open();
  }
  // As the next start of the process does.
  void open() {
    cache_ = std::make_unique<CacheStore>(faults_, kLargest);
    cache_->begin(directory(), [this] { return max_bytes_.load(); });
  }
  std::string directory() const { return dir_ / "cache"; }
  std::string file(const Name& name) const {
    return directory() + "/" + kind_name(name.kind) + "/" + name.id.hex();
  }
  // Put by another host.
  Name put(Kind kind, const base::Bytes& bytes) {
    const Name name = named(kind, bytes);
    memory_->put(name, base::ByteView(bytes));
    return name;
  }
  base::Bytes range(const Name& name, uint64_t offset, size_t size) {
    base::Bytes out(size);
    cache_->get_range(name, offset, out);
    return out;
  }
  void list(Kind kind) {
    cache_->list(kind, [](const FileInfo&) {});
  }
  int asked(StoreOp op) {
    std::lock_guard lock(mutex_);
    return asked_[op];
  }
  uint64_t bytes_on_disk() {
    uint64_t total = 0;
    for (const char* kind : {"data", "index", "snapshot"})
      for (const auto& name : base::list_directory(directory() + "/" + kind))
        total += base::get_file(directory() + "/" + kind + "/" + name).size();
    return total;
  }
  static std::function<bool(base::ByteView)> is(const Name& name) {
    return [name](base::ByteView bytes) { return crypto::sha256(bytes) == name.id; };
  }

  const test::TempDir dir_;
  std::atomic<uint64_t> max_bytes_{100 * kMiB};
  const std::shared_ptr<test::MemoryStore> memory_ = std::make_shared<test::MemoryStore>();
  const std::shared_ptr<test::FaultStore> faults_ = std::make_shared<test::FaultStore>(memory_);
  std::mutex mutex_;
  std::map<StoreOp, int> asked_;
  std::unique_ptr<CacheStore> cache_;
  // As a job has it.
  const base::PatienceScope patience_{{std::chrono::minutes(15)}};
};

TEST_F(Cache, BringsAPackOfTreesOnce) {
  const auto pack = noise(300'000, 1);
  const Name name = put(Kind::data, pack);
  for (size_t at = 0; at + 1000 <= pack.size(); at += 1000) {
    const auto out = range(name, at, 1000);
    ASSERT_TRUE(std::equal(out.begin(), out.end(), pack.begin() + static_cast<ptrdiff_t>(at)));
  }
  EXPECT_EQ(asked(StoreOp::get), 1);
  EXPECT_EQ(asked(StoreOp::get_range), 0);
  EXPECT_EQ(cache_->counts().hits, 299u);
  open();
  EXPECT_EQ(range(name, 0, pack.size()), pack) << "the next process has it, too";
  EXPECT_EQ(asked(StoreOp::get), 1);
  EXPECT_THROW(range(name, 299'999, 2), base::Corrupt);
}

TEST_F(Cache, ManyThreadsBringEachPackOnce) {
  std::vector<base::Bytes> packs;
  std::vector<Name> names;
  for (uint8_t i = 0; i < 12; ++i) {
    packs.push_back(noise(50'000, i));
    names.push_back(put(Kind::data, packs.back()));
  }
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      const base::PatienceScope patience({std::chrono::minutes(15)});
      for (size_t i = 0; i < 600; ++i) {
        const size_t pack = (i * 7 + t) % packs.size();
        base::Bytes out(100);
        cache_->get_range(names[pack], i * 50, out);
        if (!std::equal(out.begin(), out.end(),
                        packs[pack].begin() + static_cast<ptrdiff_t>(i * 50)))
          ++wrong;
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(asked(StoreOp::get), 12);
  EXPECT_EQ(asked(StoreOp::get_range), 0);
}

TEST_F(Cache, PacksOfDataPassThrough) {
  const auto pack = noise(10'000, 1);
  Name name = put(Kind::data, pack);
  name.trees = false;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(range(name, 0, 10'000), pack);
  EXPECT_EQ(asked(StoreOp::get_range), 3);
  EXPECT_EQ(bytes_on_disk(), 0u);
}

TEST_F(Cache, WhoHasLittleTimeWaitsForNoWholePack) {
  const Name name = put(Kind::data, noise(10'000, 1));
  const base::PatienceScope short_one({std::chrono::seconds(3)});
  range(name, 5'000, 10);
  EXPECT_EQ(asked(StoreOp::get), 0);
  EXPECT_EQ(asked(StoreOp::get_range), 1);
}

TEST_F(Cache, APackThatIsTooLargeIsReadInRanges) {
  const auto pack = noise(kLargest + 1, 1);
  const Name name = put(Kind::data, pack);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(range(name, pack.size() - 10, 10).back(), pack.back());
  EXPECT_EQ(asked(StoreOp::get), 1) << "by which its size is learnt";
  EXPECT_EQ(asked(StoreOp::get_range), 3);
}

TEST_F(Cache, IndexesAndSnapshotsComeFromItAfterAListShowedThem) {
  for (const Kind kind : {Kind::index, Kind::snapshot}) {
    const auto bytes = noise(5'000, static_cast<uint8_t>(kind));
    const Name name = put(kind, bytes);
    EXPECT_EQ(cache_->get(name, kMiB), bytes);
    const int before = asked(StoreOp::get);
    list(kind);
    EXPECT_EQ(cache_->get(name, kMiB), bytes);
    open();
    list(kind);
    EXPECT_EQ(cache_->get(name, kMiB), bytes);
    EXPECT_EQ(asked(StoreOp::get), before);
    memory_->remove(name);
    list(kind);
    EXPECT_THROW(cache_->get(name, kMiB), base::NotFound);
    EXPECT_FALSE(base::find_file(file(name)));
  }
}

TEST_F(Cache, WhatThisHostWritesIsThere) {
  const auto index = noise(5'000, 1), small = noise(6'000, 2), large = noise(3 * kMiB, 3);
  cache_->put(named(Kind::index, index), base::ByteView(index));
  cache_->put(named(Kind::data, small), base::ByteView(small));
  const auto draft = cache_->begin_draft(Kind::data, large.size());
  draft->append(base::ByteView(large).first(kMiB + 1));
  draft->append(base::ByteView(large).subspan(kMiB + 1));
  draft->commit(named(Kind::data, large));
  EXPECT_EQ(memory_->get(named(Kind::data, large), large.size()), large);
  list(Kind::index);
  EXPECT_EQ(cache_->get(named(Kind::index, index), kMiB), index);
  EXPECT_EQ(range(named(Kind::data, small), 0, small.size()), small);
  EXPECT_EQ(range(named(Kind::data, large), 0, large.size()), large);
  EXPECT_EQ(asked(StoreOp::get) + asked(StoreOp::get_range), 0);
}

TEST_F(Cache, NothingIsKeptOfAWriteThatFailed) {
  const auto bytes = noise(5'000, 1);
  const Name name = named(Kind::data, bytes);
  faults_->before_each([](const StoreCall& call) {
    if (call.op == StoreOp::put) throw base::IoError("no", 0);
  });
  EXPECT_THROW(cache_->put(name, base::ByteView(bytes)), base::IoError);
  const auto draft = cache_->begin_draft(Kind::data, 5'000);
  draft->append(bytes);
  EXPECT_THROW(draft->commit(name), base::IoError);
  EXPECT_EQ(bytes_on_disk(), 0u);
  EXPECT_THROW(range(name, 0, 10), base::NotFound);
}

TEST_F(Cache, PacksThatAListDoesNotShowGo) {
  const Name stays = put(Kind::data, noise(5'000, 1)), goes = put(Kind::data, noise(5'000, 2));
  range(stays, 0, 10);
  range(goes, 0, 10);
  memory_->remove(goes);
  list(Kind::data);
  EXPECT_TRUE(base::find_file(file(stays)));
  EXPECT_FALSE(base::find_file(file(goes)));
  EXPECT_THROW(range(goes, 0, 10), base::NotFound);
  cache_->remove(stays);
  EXPECT_FALSE(base::find_file(file(stays)));
}

TEST_F(Cache, AListThatFailsTakesNothingAway) {
  const Name name = put(Kind::data, noise(5'000, 1));
  range(name, 0, 10);
  memory_->remove(name);
  const auto enough = [](const FileInfo&) { throw base::Cancelled(); };
  memory_->put(Name{Kind::data, {}}, base::as_bytes("another"));
  EXPECT_THROW(cache_->list(Kind::data, enough), base::Cancelled);
  EXPECT_TRUE(base::find_file(file(name)));
}

// ---- damage

TEST_F(Cache, ACopyThatWentBadIsDropped) {
  const auto bytes = noise(5'000, 1);
  for (const Kind kind : {Kind::data, Kind::index}) {
    const Name name = put(kind, bytes);
    const auto read = [&] {
      return kind == Kind::data ? range(name, 0, bytes.size()) : cache_->get(name, kMiB);
    };
    read();
    list(kind);
    auto bad = bytes;
    bad[2'000] ^= 1;
    base::write_file_atomic(file(name), bad);
    EXPECT_EQ(read(), bad) << "readers verify";
    EXPECT_TRUE(cache_->heal(name, is(name)));
    EXPECT_EQ(read(), bytes);
    base::write_file_atomic(file(name), base::ByteView(bytes).first(100));
    if (kind == Kind::data) {
      EXPECT_EQ(read(), bytes) << "what is cut short is no copy";
    }
  }
  EXPECT_EQ(cache_->counts().dropped, 2u);
}

TEST_F(Cache, WhatIsDamagedInTheStoreIsNotKept) {
  const auto bytes = noise(5'000, 1);
  for (const Kind kind : {Kind::data, Kind::index}) {
    const Name name = put(kind, bytes);
    memory_->damage(name, [](base::Bytes& content) { content[7] ^= 1; });
    list(kind);
    const auto read = kind == Kind::data ? range(name, 0, bytes.size()) : cache_->get(name, kMiB);
    EXPECT_NE(read, bytes);
    EXPECT_FALSE(base::find_file(file(name)));
    EXPECT_FALSE(cache_->heal(name, is(name)));
  }
}

TEST_F(Cache, WhatTheStoreHasLostIsPutBackFromAWholeCopy) {
  const auto bytes = noise(5'000, 1);
  const Name name = put(Kind::data, bytes);
  range(name, 0, 10);
  memory_->remove(name);
  EXPECT_TRUE(cache_->heal(name, is(name)));
  EXPECT_EQ(memory_->get(name, kMiB), bytes);
  memory_->damage(name, [](base::Bytes& content) { content[7] ^= 1; });
  EXPECT_TRUE(cache_->heal(name, is(name)));
  EXPECT_EQ(memory_->get(name, kMiB), bytes);
  // Neither has it whole.
  memory_->remove(name);
  base::write_file_atomic(file(name), base::as_bytes("rotten"));
  EXPECT_FALSE(cache_->heal(name, is(name)));
}

TEST_F(Cache, WhatTheStoreDoesNotReplaceIsRemovedFirst) {
  const auto bytes = noise(5'000, 1);
  const Name name = put(Kind::data, bytes);
  range(name, 0, 10);
  memory_->damage(name, [](base::Bytes& content) { content[7] ^= 1; });
  faults_->before_each([&](const StoreCall& call) {
    if (call.op == StoreOp::put && memory_->find_size(name))
      throw base::Conflict("it is not replaced");
  });
  EXPECT_TRUE(cache_->heal(name, is(name)));
  EXPECT_EQ(memory_->get(name, kMiB), bytes);
}

TEST_F(Cache, WhoIsToldToStopDoesNotWaitForItsTurn) {
  const Name name = put(Kind::data, noise(5'000, 1));
  std::stop_source stop;
  std::mutex mutex;
  std::condition_variable changed;
  bool is_done = false;
  faults_->before_each([&](const StoreCall& call) {
    if (call.op != StoreOp::get) return;
    stop.request_stop();
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return is_done; });
  });
  std::thread first([&] {
    const base::PatienceScope patience({std::chrono::minutes(15)});
    range(name, 0, 10);
  });
  while (!stop.stop_requested()) std::this_thread::yield();
  {
    const base::PatienceScope patience({std::chrono::minutes(15), stop.get_token()});
    EXPECT_THROW(range(name, 0, 10), base::Cancelled);
  }
  {
    std::lock_guard lock(mutex);
    is_done = true;
  }
  changed.notify_all();
  first.join();
}

TEST_F(Cache, WhoAsksForTheStoresOwnFilesGetsThem) {
  const auto bytes = noise(5'000, 1);
  const Name name = put(Kind::index, bytes);
  cache_->get(name, kMiB);
  list(Kind::index);
  memory_->damage(name, [](base::Bytes& content) { content[7] ^= 1; });
  EXPECT_EQ(cache_->get(name, kMiB), bytes);
  cache_->forget_copies(Kind::index);
  list(Kind::index);
  EXPECT_NE(cache_->get(name, kMiB), bytes);
  // The copy is not lost by that: it is what the store can be put right from.
  const auto is_whole = [&](base::ByteView content) { return crypto::sha256(content) == name.id; };
  EXPECT_TRUE(cache_->heal(name, is_whole));
  EXPECT_EQ(memory_->get(name, kMiB), bytes);
  EXPECT_EQ(cache_->get(name, kMiB), bytes);
}

// ---- room

TEST_F(Cache, KeepsToItsSizeAndDropsWhatWasNotUsedForLongest) {
  max_bytes_ = 6 * kMiB;
  std::vector<Name> names;
  for (uint8_t i = 0; i < 8; ++i) {
    names.push_back(put(Kind::data, noise(kMiB, i)));
    range(names.back(), 0, 10);
    range(names.front(), 0, 10);
    EXPECT_LE(bytes_on_disk(), 6 * kMiB);
  }
  EXPECT_TRUE(base::find_file(file(names[0]))) << "used all the time";
  EXPECT_FALSE(base::find_file(file(names[1])));
  EXPECT_TRUE(base::find_file(file(names[7])));
  max_bytes_ = 2 * kMiB;
  list(Kind::data);
  EXPECT_LE(bytes_on_disk(), 2 * kMiB);
  max_bytes_ = 0;
  open();
  EXPECT_EQ(bytes_on_disk(), 0u);
  const int before = asked(StoreOp::get);
  range(names[0], 0, 10);
  EXPECT_EQ(asked(StoreOp::get), before);
  EXPECT_EQ(bytes_on_disk(), 0u);
}

TEST_F(Cache, ReadsRangesWhereItIsTooSmallForWhatIsRead) {
  max_bytes_ = 4 * kMiB;
  std::vector<Name> names;
  for (uint8_t i = 0; i < 4; ++i) names.push_back(put(Kind::data, noise(3 * kMiB / 2, i)));
  for (int round = 0; round < 10; ++round)
    for (const Name& name : names) range(name, 0, 10);
  EXPECT_LE(asked(StoreOp::get), 8);
  EXPECT_GT(asked(StoreOp::get_range), 10);
  list(Kind::data);  // as the next check or prune does
  range(names[0], 0, 10);
  EXPECT_LE(asked(StoreOp::get), 9);
}

TEST_F(Cache, GoesWithoutADirectory) {
  base::write_file_atomic(dir_ / "file", base::as_bytes(""));
  const auto bytes = noise(5'000, 1);
  for (const bool is_lost : {false, true}) {
    cache_ = std::make_unique<CacheStore>(faults_);
    cache_->begin(is_lost ? dir_ / "lost" : dir_ / "file/cache", [] { return 100 * kMiB; });
    if (is_lost) base::remove_tree(dir_ / "lost");
    const Name name = put(Kind::data, bytes), index = named(Kind::index, bytes);
    cache_->put(index, base::ByteView(bytes));
    list(Kind::index);
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(range(name, 0, bytes.size()), bytes);
      EXPECT_EQ(cache_->get(index, kMiB), bytes);
    }
    EXPECT_FALSE(cache_->heal(index, [](base::ByteView) { return false; }));
  }
}

// What a write meets on a full disk, and on one with a limit.
TEST_F(Cache, GoesWithoutRoomOnTheDisk) {
  const auto pack = noise(2 * kMiB, 1);
  const Name name = put(Kind::data, pack);
  ::signal(SIGXFSZ, SIG_IGN);
  rlimit old_limit;
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  const rlimit limit{kMiB, old_limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  const auto first = range(name, 0, 10), second = range(name, 5, 10);
  const auto draft = cache_->begin_draft(Kind::data, pack.size());
  draft->append(pack);
  draft->commit(name);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  EXPECT_TRUE(std::equal(first.begin(), first.end(), pack.begin()));
  EXPECT_TRUE(std::equal(second.begin(), second.end(), pack.begin() + 5));
  EXPECT_EQ(asked(StoreOp::get), 1) << "no whole pack again for nothing";
  EXPECT_EQ(asked(StoreOp::get_range), 1);
  EXPECT_THAT(base::list_directory(directory()),
              ::testing::UnorderedElementsAre("data", "index", "snapshot"))
      << "nothing half written";
}

TEST_F(Cache, WhatAKilledProcessLeftIsRemoved) {
  base::write_file_atomic(directory() + "/unfinished-7", base::as_bytes("half"));
  base::write_file_atomic(directory() + "/index/of no such name", base::as_bytes("x"));
  open();
  EXPECT_FALSE(base::find_file(directory() + "/unfinished-7"));
  list(Kind::index);
}

}  // namespace
}  // namespace davit::store
