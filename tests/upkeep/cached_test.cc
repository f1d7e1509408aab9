// Upkeep of a repository that is far away, with a cache (store/cache_store.h) beside it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "base/errors.h"
#include "base/files.h"
#include "base/patience.h"
#include "store/cache_store.h"
#include "support/fault_store.h"
#include "support/made_repository.h"
#include "support/memory_store.h"
#include "support/temp_dir.h"
#include "upkeep/check.h"
#include "upkeep/prune.h"
#include "upkeep/repair.h"

namespace davit::upkeep {
namespace {

using store::Kind;
using test::Files;
using test::StoreCall;
using test::StoreOp;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class Cached : public ::testing::Test {
 protected:
  Cached() {
    faults_->before_each([this](const StoreCall& call) {
      if (call.op == StoreOp::get || call.op == StoreOp::get_range) ++reads_;
    });
  }
  // Many trees: a directory for each few files.
  static Files files(uint64_t seed) {
    Files files;
    for (int i = 0; i < 300; ++i)
      files["d" + std::to_string(i % 60) + "/e" + std::to_string(i) + "/f"] =
          test::noise(seed + static_cast<uint64_t>(i), 200);
    return files;
  }
  // A machine of that name opens the repository of `maker_`.
  std::unique_ptr<repo::Repository> on(const std::string& host) {
    auto cache = std::make_shared<store::CacheStore>(faults_);
    cache->begin(directory_ / host, [] { return uint64_t{100} << 20; });
    auto repository = std::make_unique<repo::Repository>(cache, maker_->config(), maker_->key(),
                                                         maker_->key_id());
    repository->refresh_index();
    return repository;
  }
  uint64_t reads_of(const std::function<void()>& work) {
    const uint64_t before = reads_;
    work();
    return reads_ - before;
  }
  base::Id save(repo::Repository& repository, const Files& files) {
    return test::save_files(repository, files, test::packs_of(64 << 10));
  }

  const base::PatienceScope patience_{{std::chrono::minutes(15)}};
  const test::TempDir directory_;
  const std::shared_ptr<test::MemoryStore> memory_ = std::make_shared<test::MemoryStore>();
  const std::shared_ptr<test::FaultStore> faults_ = std::make_shared<test::FaultStore>(memory_);
  const std::unique_ptr<repo::Repository> maker_ = repo::Repository::init(memory_, "password");
  std::atomic<uint64_t> reads_{0};
};

TEST_F(Cached, TreesAreReadAPackAtATimeAndThenNotAtAll) {
  const base::Id id = save(*maker_, files(1));
  const auto check_trees = [&](const std::string& host) {
    return reads_of([&] {
      const auto repository = on(host);
      const CheckReport report = check(*repository, {});
      EXPECT_THAT(report.errors, IsEmpty());
      EXPECT_GT(report.trees, 360u);
    });
  };
  const uint64_t first = check_trees("new"), second = check_trees("new");
  EXPECT_LT(first, 30u) << "not one for each of 361 trees";
  EXPECT_LT(second, 6u) << "key, config, snapshot and index are read from the store itself";
  // Whoever wrote it has it from the beginning.
  const auto writer = on("writer");
  const base::Id other = save(*writer, files(1000));
  EXPECT_LT(reads_of([&] { plan_prune(*writer, {}); }), first);
  EXPECT_EQ(test::read_files(*writer, other), files(1000));
  EXPECT_EQ(test::read_files(*on("new"), id), files(1));
}

TEST_F(Cached, ASecondPruneReadsNoTree) {
  const auto repository = on("here");
  const base::Id old = save(*repository, files(1));
  const base::Id kept = save(*repository, files(200));
  repository->store().remove({Kind::snapshot, old});
  const auto prune = [&] {
    return reads_of([&] {
      const PrunePlan plan = plan_prune(*repository, {});
      execute_prune(*repository, plan, {}, [](const std::function<void()>& now) { now(); });
      repository->refresh_index();
    });
  };
  prune();
  EXPECT_LT(prune(), 3u);
  EXPECT_EQ(test::read_files(*repository, kept), files(200));
  EXPECT_EQ(test::read_files(*on("another"), kept), files(200));
}

TEST_F(Cached, CheckFindsDamageOfTheStoreInSpiteOfWholeCopies) {
  const auto repository = on("here");
  save(*repository, files(1));
  EXPECT_THAT(check(*repository, {}).errors, IsEmpty());
  for (const Kind kind : {Kind::index, Kind::snapshot, Kind::key}) {
    const store::Name name{kind, test::ids_of(*memory_, kind).at(0)};
    const base::Bytes whole = memory_->get(name, 1 << 20);
    memory_->damage(name, [](base::Bytes& bytes) { bytes[bytes.size() / 2] ^= 1; });
    const CheckReport report = check(*repository, {});
    if (kind == Kind::key) {
      EXPECT_THAT(report.errors, Contains(HasSubstr(name.id.hex())));
      memory_->put(name, base::ByteView(whole));
      continue;
    }
    // The copies serve for something.
    EXPECT_THAT(report.errors, IsEmpty()) << store::kind_name(kind);
    EXPECT_THAT(report.repaired, Contains(HasSubstr(name.id.hex()))) << store::kind_name(kind);
    EXPECT_EQ(memory_->get(name, 1 << 20), whole);
  }
  EXPECT_THAT(check(*repository, {}).errors, IsEmpty());
  CheckOptions options;
  options.read_data = true;
  for (const base::Id& pack : test::ids_of(*memory_, Kind::data))
    memory_->damage({Kind::data, pack}, [](base::Bytes& bytes) { bytes[bytes.size() / 2] ^= 1; });
  const CheckReport report = check(*repository, options);
  std::vector<std::string> told = report.errors;
  told.insert(told.end(), report.repaired.begin(), report.repaired.end());
  for (const base::Id& pack : test::ids_of(*memory_, Kind::data))
    EXPECT_THAT(told, Contains(HasSubstr(pack.hex())));
  EXPECT_THAT(report.repaired, Not(IsEmpty())) << "packs of trees have copies";
  EXPECT_THAT(report.errors, Not(IsEmpty())) << "those of data have none";
}

TEST_F(Cached, ADryRunOfARepairLooksAtTheStoreToo) {
  const auto repository = on("here");
  save(*repository, files(1));
  EXPECT_THAT(check(*repository, {}).errors, IsEmpty());
  const store::Name name{Kind::index, test::ids_of(*memory_, Kind::index).at(0)};
  memory_->damage(name, [](base::Bytes& bytes) { bytes[bytes.size() / 2] ^= 1; });
  RepairOptions options;
  options.dry_run = true;
  EXPECT_THAT(repair(*repository, options).actions, Contains(HasSubstr(name.id.hex())));
}

TEST_F(Cached, NothingThatTheCacheHasCanDoHarm) {
  const base::Id id = save(*maker_, files(1));
  EXPECT_THAT(check(*on("here"), {}).errors, IsEmpty());
  size_t spoilt = 0;
  for (const char* kind : {"data", "index", "snapshot"})
    for (const std::string& name : base::list_directory(directory_ / "here/" + kind)) {
      const std::string path = directory_ / "here/" + kind + "/" + name;
      base::Bytes bytes = base::get_file(path);
      for (size_t at = spoilt % 50; at < bytes.size(); at += 50) bytes[at] ^= 1;
      if (spoilt % 3 == 2) bytes.resize(bytes.size() / 2);
      base::write_file_atomic(path, bytes);
      ++spoilt;
    }
  EXPECT_GE(spoilt, 3u);
  const auto repository = on("here");
  EXPECT_EQ(repository->load_snapshots().size(), 1u);
  EXPECT_EQ(test::read_files(*repository, id), files(1));
  EXPECT_THAT(check(*repository, {}).errors, IsEmpty());
}

}  // namespace
}  // namespace davit::upkeep
