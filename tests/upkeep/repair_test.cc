#include "upkeep/repair.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "base/errors.h"
#include "crypto/sha256.h"
#include "repo/index_file.h"
#include "support/fault_store.h"
#include "support/made_damage.h"
#include "support/twin_store.h"
#include "upkeep/check.h"

namespace davit::upkeep {
namespace {

using store::Kind;
using test::MadeDamage;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class Repair : public ::testing::Test {
 protected:
  base::Id pack_of(const base::Id& snapshot, const std::string& file) {
    for (const auto& [type, id] : blobs_of(snapshot, file))
      return made_.repository().index().find(type, id)->pack;
    throw base::NotFound(file);
  }
  // One of data, with several blobs.
  base::Id pack_of_several() {
    for (const auto& id : test::ids_of(*store_, Kind::data)) {
      const auto blobs = made_.blobs_in(id);
      if (blobs.size() > 1 && blobs[0].first == repo::BlobType::data) return id;
    }
    throw base::NotFound("a pack with several blobs");
  }
  std::set<MadeDamage::Blob> blobs_of(const base::Id& snapshot, const std::string& file) {
    std::set<MadeDamage::Blob> found;
    made_.repository().index().for_each([&](const repo::IndexEntry& entry) {
      if (made_.places_of({{entry.type, entry.id}}).contains({snapshot, "/" + file}))
        found.insert({entry.type, entry.id});
    });
    return found;
  }
  base::Id snapshot(size_t number) { return std::next(made_.snapshots().begin(), number)->first; }
  static std::string own(const test::Files& files) {
    for (const auto& [path, content] : files)
      if (path.starts_with("own")) return path;
    return "";
  }
  CheckReport check_all() {
    CheckOptions options;
    options.read_data = true;
    return check(*made_.open(store_), options);
  }
  RepairReport run(RepairOptions options = {}) { return repair(*made_.open(store_), options); }
  void expect_all_whole() {
    EXPECT_THAT(check_all().errors, IsEmpty());
    const auto repository = made_.open(store_);
    repository->refresh_index();
    for (const auto& [id, files] : made_.snapshots())
      EXPECT_EQ(test::read_files(*repository, id), files);
  }
  static void flip(base::Bytes& bytes, size_t at) { bytes.at(at) ^= 1; }

  const MadeDamage made_;
  std::shared_ptr<test::MemoryStore> store_ = made_.copy();
};

TEST_F(Repair, LeavesAWholeRepositoryAsItIs) {
  const auto faults = std::make_shared<test::FaultStore>(store_);
  std::vector<std::string> changes;
  faults->before_each([&](const test::StoreCall& call) {
    if (call.op == test::StoreOp::put || call.op == test::StoreOp::remove)
      changes.push_back(store::to_string(call.name));
  });
  RepairOptions options;
  options.read_data = true;
  options.forget = true;
  const RepairReport report = repair(*made_.open(faults), options);
  EXPECT_TRUE(report.empty());
  EXPECT_THAT(report.lost, IsEmpty());
  EXPECT_EQ(report.packs_read, test::ids_of(*store_, Kind::data).size());
  EXPECT_THAT(changes, IsEmpty());
}

TEST_F(Repair, MakesTheIndexFromThePacksWhereItIsGone) {
  for (const auto& id : test::ids_of(*store_, Kind::index)) store_->remove({Kind::index, id});
  const RepairReport report = run();
  EXPECT_EQ(report.packs_indexed, test::ids_of(*store_, Kind::data).size());
  EXPECT_EQ(report.packs_read, 0u) << "headers are enough";
  EXPECT_EQ(report.index_files_written, 1u);
  EXPECT_THAT(report.lost, IsEmpty());
  expect_all_whole();
}

TEST_F(Repair, ReplacesAnIndexFileThatCannotBeRead) {
  const base::Id damaged = test::ids_of(*store_, Kind::index).at(1);
  store_->damage({Kind::index, damaged}, [](base::Bytes& bytes) { flip(bytes, 100); });
  const RepairReport report = run();
  EXPECT_THAT(report.actions, Contains(HasSubstr("index " + damaged.hex() + ": cannot be read")));
  EXPECT_THAT(test::ids_of(*store_, Kind::index), Not(Contains(damaged)));
  EXPECT_EQ(report.index_files_removed, 1u);
  EXPECT_THAT(report.lost, IsEmpty());
  expect_all_whole();
}

TEST_F(Repair, BelievesThePackWhereIndexFilesContradictEachOther) {
  const auto repository = made_.open(store_);
  const base::Id pack = test::ids_of(*store_, Kind::data).at(0);
  const auto [type, id] = made_.blobs_in(pack).at(0);
  const std::vector<repo::PackBlob> wrong = {{type, id, 0, 1000, 0}};
  repo::IndexEncoder encoder;
  encoder.add(pack, wrong);
  repository->save_unpacked(Kind::index, encoder.finish());
  EXPECT_THAT(check_all().errors, Not(IsEmpty()));
  const RepairReport report = run();
  EXPECT_THAT(report.actions,
              ElementsAre(HasSubstr("pack " + pack.hex() + ": the index was wrong")));
  expect_all_whole();
}

TEST_F(Repair, AMissingPackLeavesTheIndexAndEveryFileThatNeededItIsTold) {
  const base::Id first = snapshot(0);
  const base::Id pack = pack_of(first, own(made_.snapshots().at(first)));
  store_->remove({Kind::data, pack});
  const auto in_it = made_.blobs_in(pack);
  const std::set<MadeDamage::Blob> lost(in_it.begin(), in_it.end());
  const auto places = made_.places_of(lost);
  ASSERT_THAT(places, Not(IsEmpty()));

  RepairReport report = run();
  EXPECT_EQ(report.packs_missing, 1u);
  EXPECT_EQ(report.blobs_lost, lost.size());
  std::set<MadeDamage::Place> told;
  for (const auto& each : report.lost) {
    told.insert({each.snapshot, each.path});
    EXPECT_THAT(each.what, HasSubstr("lost "));
  }
  EXPECT_EQ(told, places);
  // The old snapshots are there, and still lack what is lost.
  ASSERT_THAT(report.snapshots, Not(IsEmpty()));
  for (const auto& mended : report.snapshots) {
    EXPECT_FALSE(mended.forgotten);
    ASSERT_TRUE(mended.sibling);
    EXPECT_TRUE(store_->find_size({Kind::snapshot, mended.snapshot}));
    const auto repository = made_.open(store_);
    repository->refresh_index();
    EXPECT_EQ(test::read_files(*repository, *mended.sibling),
              made_.files_without(mended.snapshot, lost));
  }
  EXPECT_THAT(check_all().errors, Not(IsEmpty()));

  // Once more: no second sibling.
  const auto siblings = test::ids_of(*store_, Kind::snapshot);
  RepairOptions options;
  options.forget = true;
  RepairReport again = run(options);
  EXPECT_EQ(again.snapshots.size(), report.snapshots.size());
  for (size_t i = 0; i < again.snapshots.size(); ++i) {
    EXPECT_EQ(again.snapshots[i].sibling, report.snapshots[i].sibling);
    EXPECT_TRUE(again.snapshots[i].forgotten);
  }
  EXPECT_EQ(test::ids_of(*store_, Kind::snapshot).size(), siblings.size() - again.snapshots.size());
  EXPECT_THAT(check_all().errors, IsEmpty());
  EXPECT_TRUE(run(options).empty());
}

TEST_F(Repair, OfAPackThatWasCutOffItSavesWhatIsLeft) {
  const base::Id pack = pack_of_several();
  const auto blobs = made_.blobs_in(pack);
  const auto& [type, last] = blobs.back();
  // Offsets grow with the order in which the index tells them.
  const auto location = *made_.repository().index().find(type, last);
  store_->damage({Kind::data, pack},
                 [&](base::Bytes& bytes) { bytes.resize(location.offset + 5); });
  RepairOptions options;
  options.forget = true;
  const RepairReport report = run(options);
  std::set<MadeDamage::Blob> lost;
  for (const auto& blob : blobs)
    if (made_.repository().index().find(blob.first, blob.second)->offset >= location.offset)
      lost.insert(blob);
  EXPECT_EQ(report.blobs_salvaged, blobs.size() - lost.size());
  EXPECT_EQ(report.blobs_lost, made_.places_of(lost).empty() ? 0 : lost.size());
  EXPECT_FALSE(store_->find_size({Kind::data, pack}));
  EXPECT_THAT(check_all().errors, IsEmpty());
}

TEST_F(Repair, FindsADamagedTreeThatNobodySuspected) {
  const auto root = made_.repository().load_snapshot(snapshot(2)).tree;
  const auto location = *made_.repository().index().find(repo::BlobType::tree, root);
  store_->damage({Kind::data, location.pack},
                 [&](base::Bytes& bytes) { flip(bytes, location.offset + 3); });
  RepairOptions options;
  options.forget = true;
  const RepairReport report = run(options);
  EXPECT_EQ(report.packs_salvaged, 1u);
  EXPECT_THAT(report.snapshots, SizeIs(1));
  EXPECT_FALSE(report.snapshots[0].sibling);
  EXPECT_THAT(report.snapshots[0].why, HasSubstr("root directory"));
  EXPECT_TRUE(report.snapshots[0].forgotten);
  EXPECT_THAT(check_all().errors, IsEmpty());
  EXPECT_THAT(test::ids_of(*store_, Kind::snapshot), Not(Contains(snapshot(2))));
}

TEST_F(Repair, ReadsThePacksThatAreSuspectedAndNoOthers) {
  const base::Id pack = pack_of(snapshot(1), "same/two");
  store_->damage({Kind::data, pack}, [](base::Bytes& bytes) { flip(bytes, 40); });
  EXPECT_TRUE(run().empty()) << "nobody has looked";
  RepairOptions options;
  options.suspects = {pack, base::Id{}};
  options.forget = true;
  const RepairReport report = run(options);
  EXPECT_EQ(report.packs_read, 1u);
  EXPECT_EQ(report.packs_salvaged, 1u);
  EXPECT_THAT(check_all().errors, IsEmpty());
}

TEST_F(Repair, LosesNothingThatTheStoreHasElsewhere) {
  const auto twins = std::make_shared<test::TwinStore>(store_, made_.copy());
  for (const auto& id : test::ids_of(*store_, Kind::data))
    store_->damage({Kind::data, id}, [](base::Bytes& bytes) { flip(bytes, bytes.size() / 3); });
  store_->remove({Kind::data, test::ids_of(*store_, Kind::data).at(0)});
  store_->damage({Kind::config, {}}, [](base::Bytes& bytes) { flip(bytes, 50); });
  RepairOptions options;
  options.read_data = true;
  options.forget = true;
  const RepairReport report = repair(*made_.open(twins), options);
  EXPECT_THAT(report.lost, IsEmpty());
  EXPECT_EQ(report.packs_salvaged, 0u);
  expect_all_whole();
}

TEST_F(Repair, LeavesToPruneWhatIsInNoIndexAndCannotBeRead) {
  const base::Bytes stray = base::to_bytes(base::as_bytes(test::noise(7, 5000)));
  const base::Id id = crypto::sha256(stray);
  store_->put({Kind::data, id}, stray);
  for (const bool read_data : {false, true}) {
    RepairOptions options;
    options.read_data = read_data;
    const RepairReport report = run(options);
    EXPECT_THAT(report.actions,
                ElementsAre(AllOf(HasSubstr("pack " + id.hex()), HasSubstr("prune removes it"))));
    EXPECT_TRUE(store_->find_size({Kind::data, id}));
  }
  expect_all_whole();
}

TEST_F(Repair, OneWrongAnswerOfTheStoreIsNoDamage) {
  class OnceWrong : public test::TwinStore {
   public:
    using TwinStore::TwinStore;
    void get_range(const store::Name& name, uint64_t offset, std::span<uint8_t> out) override {
      TwinStore::get_range(name, offset, out);
      if (name.id == pack && !was_wrong.exchange(true)) out[out.size() / 2] ^= 1;
    }
    base::Id pack;
    std::atomic<bool> was_wrong{false};
  };
  const auto store = std::make_shared<OnceWrong>(store_, std::make_shared<test::MemoryStore>());
  store->pack = pack_of(snapshot(0), "same/one");
  RepairOptions options;
  options.suspects = {store->pack};
  options.forget = true;
  EXPECT_TRUE(repair(*made_.open(store), options).empty());
  EXPECT_TRUE(store->was_wrong);
  expect_all_whole();
}

// A store that answers with errors holds what it held: nothing may be taken for lost.
TEST_F(Repair, GivesUpWhereTheStoreOnlyFails) {
  for (const Kind kind : {Kind::data, Kind::snapshot, Kind::index}) {
    const auto store = made_.copy();
    const auto faults = std::make_shared<test::FaultStore>(store);
    faults->before_each([&](const test::StoreCall& call) {
      const bool is_read = call.op == test::StoreOp::get || call.op == test::StoreOp::get_range;
      if (is_read && call.name.kind == kind) throw base::IoError("permission denied", EACCES);
    });
    RepairOptions options;
    options.read_data = true;
    options.forget = true;
    EXPECT_THROW(repair(*made_.open(faults), options), base::IoError);
    store_ = store;
    expect_all_whole();
  }
}

class BadSector : public test::TwinStore {
 public:
  using TwinStore::TwinStore;
  base::Bytes get(const store::Name& name, uint64_t max_bytes) override {
    if (is_bad && name.id == pack) throw base::IoError("Input/output error", EIO);
    return TwinStore::get(name, max_bytes);
  }
  void get_range(const store::Name& name, uint64_t offset, std::span<uint8_t> out) override {
    if (is_bad && name.id == pack && offset <= at && at < offset + out.size())
      throw base::IoError("Input/output error", EIO);
    TwinStore::get_range(name, offset, out);
  }
  void remove(const store::Name& name) override {
    if (heals_itself && name.kind == Kind::index) is_bad = false;
    TwinStore::remove(name);
  }
  base::Id pack;
  uint64_t at = 0;
  std::atomic<bool> is_bad{true}, heals_itself{false};
};

TEST_F(Repair, SavesWhatABadSectorLeaves) {
  const base::Id pack = pack_of_several();
  const auto blobs = made_.blobs_in(pack);
  const auto [type, id] = blobs.front();
  const auto location = *made_.repository().index().find(type, id);
  const auto store = std::make_shared<BadSector>(store_, std::make_shared<test::MemoryStore>());
  store->pack = pack;
  store->at = location.offset + 100;
  RepairOptions options;
  options.suspects = {pack};
  options.forget = true;
  const RepairReport report = repair(*made_.open(store), options);
  EXPECT_EQ(report.packs_salvaged, 1u);
  EXPECT_GE(report.blobs_salvaged, 1u);
  EXPECT_LT(report.blobs_salvaged, blobs.size());
  EXPECT_THAT(report.lost, Not(IsEmpty()));
  EXPECT_THAT(check_all().errors, IsEmpty());
}

// A medium that fails for a while only, as a mount that was gone for a moment.
TEST_F(Repair, RemovesNoPackThatCanBeReadAfterAll) {
  const base::Id pack = pack_of_several();
  const auto [type, id] = made_.blobs_in(pack).front();
  const auto store = std::make_shared<BadSector>(store_, std::make_shared<test::MemoryStore>());
  store->pack = pack;
  store->at = made_.repository().index().find(type, id)->offset + 100;
  store->heals_itself = true;
  RepairOptions options;
  options.suspects = {pack};
  const RepairReport first = repair(*made_.open(store), options);
  EXPECT_THAT(first.actions, Contains(HasSubstr("can be read after all")));
  EXPECT_TRUE(store_->find_size({Kind::data, pack}));
  repair(*made_.open(store_), {});
  EXPECT_THAT(check_all().errors, IsEmpty());
  expect_all_whole();
}

TEST_F(Repair, WritesConfigAndKeysAnewFromWhatIsOpen) {
  const base::Id key = test::ids_of(*store_, Kind::key).at(0);
  store_->remove({Kind::config, {}});
  store_->damage({Kind::key, key}, [](base::Bytes& bytes) { bytes.resize(bytes.size() / 2); });
  RepairOptions options;
  options.add_key = [&](repo::Repository& repository) { return made_.add_key(repository); };
  const RepairReport report = run(options);
  EXPECT_THAT(report.actions,
              ElementsAre(HasSubstr("config: "), HasSubstr("is new"), HasSubstr(key.hex())));
  EXPECT_THAT(test::ids_of(*store_, Kind::key), AllOf(SizeIs(1), Not(Contains(key))));
  EXPECT_NO_THROW(repo::Repository::open(store_, "password"));
  expect_all_whole();
}

TEST_F(Repair, CanBeCancelled) {
  std::stop_source stop;
  stop.request_stop();
  RepairOptions options;
  options.stop = stop.get_token();
  EXPECT_THROW(run(options), base::Cancelled);
}

}  // namespace
}  // namespace davit::upkeep
