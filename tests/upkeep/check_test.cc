#include "upkeep/check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/errors.h"
#include "crypto/sha256.h"
#include "repo/index_file.h"
#include "repo/tree.h"
#include "support/fault_store.h"
#include "support/made_repository.h"
#include "support/memory_store.h"
#include "support/twin_store.h"

namespace davit::upkeep {
namespace {

using store::Kind;
using test::noise;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class Check : public ::testing::Test {
 protected:
  void SetUp() override {
    id_ =
        test::save_files(*repository_, {{"dir/file", noise(1, 200'000)}, {"other", noise(2, 1000)}},
                         test::packs_of(64 << 10));
    const auto root = tree_at(repository_->load_snapshot(id_).tree);
    directory_ = *root.at(0).subtree;
    content_ = tree_at(directory_).at(0).content;
  }
  std::vector<repo::Node> tree_at(const base::Id& id) {
    return repo::parse_tree(repository_->load_blob(repo::BlobType::tree, id));
  }
  base::Id pack_of(repo::BlobType type, const base::Id& id) {
    return repository_->index().find(type, id)->pack;
  }
  CheckReport run(bool read_data = false) {
    CheckOptions options;
    options.read_data = read_data;
    return check(*repository_, options);
  }
  static void flip(base::Bytes& bytes, size_t at) { bytes.at(at) ^= 1; }

  std::shared_ptr<test::MemoryStore> memory_ = std::make_shared<test::MemoryStore>();
  std::unique_ptr<repo::Repository> repository_ = repo::Repository::init(memory_, "password");
  base::Id id_, directory_;
  std::vector<base::Id> content_;
};

TEST_F(Check, FindsNothingInAWholeRepository) {
  const CheckReport report = run(true);
  EXPECT_THAT(report.errors, IsEmpty());
  EXPECT_THAT(report.hints, IsEmpty());
  EXPECT_EQ(report.snapshots, 1);
  EXPECT_EQ(report.trees, 2);
  EXPECT_EQ(report.blobs, 23);
  EXPECT_EQ(report.packs, test::ids_of(*memory_, Kind::data).size());
  EXPECT_EQ(report.bytes_read, test::bytes_of(*memory_, Kind::data));
  EXPECT_EQ(run().bytes_read, 0);
}

TEST_F(Check, FindsAMissingPackAndTheFilesThatNeedIt) {
  const base::Id pack = pack_of(repo::BlobType::data, content_.at(0));
  memory_->remove({Kind::data, pack});
  const CheckReport report = run();
  EXPECT_THAT(report.errors, Contains("pack " + pack.hex() + ": is missing"));
  EXPECT_THAT(report.errors,
              Contains(AllOf(HasSubstr("snapshot " + id_.short_hex() + ", /dir/file"),
                             HasSubstr(content_.at(0).hex()))));
}

TEST_F(Check, FindsATruncatedPackAndOnlyTheBlobsThatWereCutOff) {
  const base::Id pack = pack_of(repo::BlobType::data, content_.at(0));
  uint32_t last_offset = 0;
  base::Id last;
  for (const auto& id : content_) {
    const auto location = *repository_->index().find(repo::BlobType::data, id);
    if (location.pack == pack && location.offset >= last_offset) {
      last_offset = location.offset;
      last = id;
    }
  }
  memory_->damage({Kind::data, pack}, [&](base::Bytes& bytes) { bytes.resize(last_offset + 10); });
  for (const bool read_data : {false, true}) {
    const CheckReport report = run(read_data);
    EXPECT_THAT(report.errors,
                Contains(AllOf(HasSubstr("pack " + pack.hex()), HasSubstr("bytes"))));
    size_t files = 0;
    for (const auto& error : report.errors) files += error.find("/dir/file") != std::string::npos;
    // The last one that was in it may be a blob of the other file.
    EXPECT_LE(files, 1) << ::testing::PrintToString(report.errors);
    EXPECT_THAT(report.errors, Contains(HasSubstr("data blob " + last.hex())));
  }
}

TEST_F(Check, FindsAFlippedBitInABlobWhenItReadsData) {
  const auto location = *repository_->index().find(repo::BlobType::data, content_.at(3));
  memory_->damage({Kind::data, location.pack},
                  [&](base::Bytes& bytes) { flip(bytes, location.offset + 20); });
  EXPECT_THAT(run(false).errors, IsEmpty());
  const CheckReport report = run(true);
  EXPECT_THAT(report.errors,
              ElementsAre(AllOf(HasSubstr("pack " + location.pack.hex()),
                                HasSubstr("data blob " + content_.at(3).hex())),
                          AllOf(HasSubstr("snapshot " + id_.short_hex() + ", /dir/file"),
                                HasSubstr(content_.at(3).hex()))));
}

TEST_F(Check, FindsAFlippedBitInAPacksHeaderThoughEveryBlobIsGood) {
  const base::Id pack = pack_of(repo::BlobType::data, content_.at(3));
  memory_->damage({Kind::data, pack}, [&](base::Bytes& bytes) { flip(bytes, bytes.size() - 30); });
  const CheckReport report = run(true);
  EXPECT_THAT(report.errors,
              ElementsAre(AllOf(HasSubstr("pack " + pack.hex()), HasSubstr("header"))));
}

TEST_F(Check, FindsEveryFlippedByteOfAPack) {
  const base::Id pack = pack_of(repo::BlobType::data, content_.at(3));
  const base::Bytes good = memory_->get({Kind::data, pack}, 1 << 20);
  for (size_t at = 0; at < good.size(); at += 997) {
    memory_->damage({Kind::data, pack}, [&](base::Bytes& bytes) { flip(bytes, at); });
    EXPECT_THAT(run(true).errors, Contains(HasSubstr(pack.hex()))) << at;
    memory_->put({Kind::data, pack}, good);
  }
  EXPECT_THAT(run(true).errors, IsEmpty());
}

TEST_F(Check, FindsAFlippedBitInIndexSnapshotKeyAndConfigThoughTheyWereReadBefore) {
  repository_->load_snapshots();
  for (const Kind kind : {Kind::index, Kind::snapshot, Kind::key}) {
    const base::Id id = test::ids_of(*memory_, kind).at(0);
    const base::Bytes good = memory_->get({kind, id}, 1 << 20);
    for (const size_t at : {size_t{0}, good.size() / 2, good.size() - 1}) {
      memory_->damage({kind, id}, [&](base::Bytes& bytes) { flip(bytes, at); });
      EXPECT_THAT(run().errors, Contains(HasSubstr(id.hex())))
          << store::kind_name(kind) << " " << at;
      memory_->put({kind, id}, good);
    }
  }
  memory_->damage({Kind::config, {}}, [](base::Bytes& bytes) { flip(bytes, 40); });
  EXPECT_THAT(run().errors, ElementsAre(HasSubstr("config")));
}

TEST_F(Check, FindsAMissingTree) {
  const base::Id pack = pack_of(repo::BlobType::tree, directory_);
  memory_->remove({Kind::data, pack});
  const CheckReport report = run();
  EXPECT_THAT(report.errors, Contains("pack " + pack.hex() + ": is missing"));
  EXPECT_THAT(report.errors,
              Contains(AllOf(HasSubstr("snapshot " + id_.short_hex()), HasSubstr("tree"))));
}

TEST_F(Check, FindsATreeAndABlobThatNoIndexNames) {
  for (const auto& index : test::ids_of(*memory_, Kind::index))
    memory_->remove({Kind::index, index});
  CheckReport report = run();
  EXPECT_THAT(report.errors,
              ElementsAre(AllOf(HasSubstr("snapshot " + id_.short_hex() + ", /: tree"),
                                HasSubstr("is in no index"))));
  EXPECT_THAT(report.hints, ElementsAre(HasSubstr("are in no index")));

  repo::Node node;
  node.name = "lost";
  node.type = repo::NodeType::file;
  node.content = {content_.at(0)};
  node.size = 10'000;
  repo::TreeEncoder encoder;
  encoder.add(node);
  repository_->refresh_index();
  repo::UploadSession session(*repository_);
  repo::Snapshot snapshot;
  snapshot.tree = session.save_blob(repo::BlobType::tree, encoder.finish()).id;
  session.finish();
  const base::Id second = repository_->save_snapshot(snapshot);
  EXPECT_THAT(run().errors, Contains(AllOf(HasSubstr("snapshot " + second.short_hex() +
                                                     ", /lost: data blob " + content_.at(0).hex()),
                                           HasSubstr("is in no index"))));
}

TEST_F(Check, FindsAFileWhoseSizeIsNotItsContents) {
  repo::Node node;
  node.name = "long";
  node.type = repo::NodeType::file;
  node.content = {content_.at(0)};
  node.size = 10'001;
  repo::TreeEncoder encoder;
  encoder.add(node);
  repo::UploadSession session(*repository_);
  repo::Snapshot snapshot;
  snapshot.tree = session.save_blob(repo::BlobType::tree, encoder.finish()).id;
  session.finish();
  const base::Id second = repository_->save_snapshot(snapshot);
  EXPECT_THAT(run().errors,
              ElementsAre(AllOf(HasSubstr("snapshot " + second.short_hex() + ", /long"),
                                HasSubstr("10001"), HasSubstr("10000"))));
}

TEST_F(Check, TellsOfOrphansAndDuplicatesAsHintsOnly) {
  repo::Repository blind(memory_, repository_->config(), repository_->key(), repository_->key_id());
  {
    repo::UploadSession session(blind);
    session.save_blob(repo::BlobType::data, base::as_bytes(noise(2, 1000)));
    session.finish();
  }
  const base::Bytes stray = base::to_bytes(base::as_bytes(noise(7, 5000)));
  memory_->put({Kind::data, crypto::sha256(stray)}, stray);
  const CheckReport report = run(true);
  EXPECT_THAT(report.errors, IsEmpty());
  EXPECT_THAT(report.hints,
              ElementsAre(HasSubstr("1 blobs are stored twice"), HasSubstr("1 packs")));
}

TEST_F(Check, IsSatisfiedWithOneGoodCopy) {
  const auto location = *repository_->index().find(repo::BlobType::data, content_.at(3));
  const base::Bytes plain = repository_->load_blob(repo::BlobType::data, content_.at(3));
  repo::Repository blind(memory_, repository_->config(), repository_->key(), repository_->key_id());
  repo::UploadSession session(blind);
  session.save_blob(repo::BlobType::data, plain);
  session.finish();
  memory_->damage({Kind::data, location.pack},
                  [&](base::Bytes& bytes) { flip(bytes, location.offset + 20); });
  // The damage is told, but no file is lost.
  EXPECT_THAT(run(true).errors, ElementsAre(HasSubstr("pack " + location.pack.hex())));
}

TEST_F(Check, FindsIndexFilesThatContradictEachOther) {
  const base::Id pack = pack_of(repo::BlobType::data, content_.at(0));
  const std::vector<repo::PackBlob> other = {{repo::BlobType::data, content_.at(0), 0, 1000, 0}};
  repo::IndexEncoder encoder;
  encoder.add(pack, other);
  repository_->save_unpacked(Kind::index, encoder.finish());
  EXPECT_THAT(run().errors, Contains(HasSubstr("pack " + pack.hex())));
}

TEST_F(Check, BoundsWhatItTellsOfATotalLoss) {
  test::Files many;
  for (int i = 0; i < 1000; ++i) many["file" + std::to_string(i)] = noise(i + 10, 4096);
  test::save_files(*repository_, many, test::packs_of(4096));
  size_t packs = 0;
  for (const auto& id : test::ids_of(*memory_, Kind::data)) {
    if (id == pack_of(repo::BlobType::tree, directory_)) continue;
    memory_->remove({Kind::data, id});
    ++packs;
  }
  const CheckReport report = run();
  EXPECT_GT(packs, 300);
  EXPECT_LT(report.errors.size(), 600);
  EXPECT_THAT(report.errors, Contains(HasSubstr("more of this kind: packs")));
}

TEST_F(Check, NamesEverySnapshotAndFileThatNeedsWhatIsDamaged) {
  const base::Id second =
      test::save_files(*repository_, {{"dir/file", noise(1, 200'000)}, {"other", noise(3, 1000)}});
  const base::Id third = test::save_files(*repository_, {{"alone", noise(4, 1000)}});
  const auto location = *repository_->index().find(repo::BlobType::data, content_.at(3));
  memory_->damage({Kind::data, location.pack},
                  [&](base::Bytes& bytes) { flip(bytes, location.offset + 20); });
  const CheckReport report = run(true);
  // Both have the very same directory.
  for (const auto& id : {id_, second})
    EXPECT_THAT(report.errors,
                Contains(HasSubstr("snapshot " + id.short_hex() + ", /dir/file: data blob")));
  EXPECT_THAT(report.damaged_snapshots, ElementsAre(id_, second));
  EXPECT_THAT(report.damaged_packs, ElementsAre(location.pack));
  EXPECT_THAT(report.errors, Not(Contains(HasSubstr(third.short_hex()))));
}

TEST_F(Check, ReadsThePacksThatAreChosenAndThoseThatWereDamagedBefore) {
  const auto location = *repository_->index().find(repo::BlobType::data, content_.at(3));
  memory_->damage({Kind::data, location.pack},
                  [&](base::Bytes& bytes) { flip(bytes, location.offset + 20); });
  CheckOptions options;
  std::vector<base::Id> whole;
  size_t there = 0;
  options.on_whole_pack = [&](const base::Id& pack) { whole.push_back(pack); };
  options.on_packs = [&](std::span<const PackSize> packs) { there = packs.size(); };
  options.choose = [&](std::span<const PackSize> packs) {
    std::vector<bool> chosen;
    for (const auto& pack : packs) chosen.push_back(pack.id != location.pack);
    return chosen;
  };
  CheckReport report = check(*repository_, options);
  EXPECT_THAT(report.errors, IsEmpty());
  EXPECT_EQ(report.packs_read, there - 1);
  EXPECT_EQ(whole.size(), there - 1);
  EXPECT_THAT(whole, Not(Contains(location.pack)));
  EXPECT_EQ(report.bytes_read, test::bytes_of(*memory_, Kind::data) -
                                   *memory_->find_size({Kind::data, location.pack}));

  options.choose = {};
  options.also_read = {location.pack, base::Id{}};
  whole.clear();
  report = check(*repository_, options);
  EXPECT_EQ(report.packs_read, 1u);
  EXPECT_THAT(whole, IsEmpty());
  EXPECT_THAT(report.damaged_packs, ElementsAre(location.pack));
}

TEST_F(Check, OnePackThatCannotBeReadNowKeepsNoOtherFromIt) {
  const base::Id away = pack_of(repo::BlobType::data, content_.at(3));
  base::Id bad = away;
  for (const base::Id& id : content_)
    if (bad == away) bad = pack_of(repo::BlobType::data, id);
  ASSERT_NE(away, bad);
  memory_->damage({Kind::data, bad}, [&](base::Bytes& bytes) { flip(bytes, 20); });
  const auto faulty = std::make_shared<test::FaultStore>(memory_);
  bool all = false;
  faulty->before_each([&](const test::StoreCall& call) {
    if (call.op == test::StoreOp::get_range && (all || call.name.id == away))
      throw base::IoError("slow down", 0, true);
  });
  repo::Repository repository(faulty, repository_->config(), repository_->key(),
                              repository_->key_id());
  CheckOptions options;
  std::vector<base::Id> whole;
  size_t there = 0;
  options.read_data = true;
  options.on_whole_pack = [&](const base::Id& pack) { whole.push_back(pack); };
  options.on_packs = [&](std::span<const PackSize> packs) { there = packs.size(); };
  const CheckReport report = check(repository, options);
  ASSERT_TRUE(report.away);
  EXPECT_STREQ(report.away->what(), "slow down");
  EXPECT_THAT(report.damaged_packs, ElementsAre(bad));
  EXPECT_EQ(report.packs_read, there - 1);
  EXPECT_EQ(whole.size(), there - 2);
  // Where none can be read it is the store.
  all = true;
  EXPECT_THROW(check(repository, options), base::IoError);
  // Nor is it a pack that is away where nothing may be put right any more.
  options.before_heal = [] { throw base::IoError("the lock is lost", 0, true); };
  EXPECT_THROW(check(*repository_, options), base::IoError);
}

// Every kind of file, wrong and missing, beside a store that has it whole.
TEST_F(Check, SaysWhatTheStorePutRightAndFindsItWholeThen) {
  const auto good = memory_->copy();
  const auto twins = std::make_shared<test::TwinStore>(memory_, good);
  std::vector<store::Name> names{{Kind::config, {}}};
  for (const Kind kind : {Kind::key, Kind::data, Kind::index, Kind::snapshot})
    for (const auto& id : test::ids_of(*memory_, kind)) names.push_back({kind, id});
  for (const store::Name& name : names) {
    for (const bool missing : {false, true}) {
      // Of these two nobody knows that they should be there.
      if (missing && (name.kind == Kind::index || name.kind == Kind::snapshot)) continue;
      if (missing)
        memory_->remove(name);
      else
        memory_->damage(name, [&](base::Bytes& bytes) { flip(bytes, bytes.size() / 2); });
      repo::Repository repository(twins, repository_->config(), repository_->key(),
                                  repository_->key_id());
      CheckOptions options;
      options.read_data = true;
      const CheckReport report = check(repository, options);
      EXPECT_THAT(report.errors, IsEmpty()) << store::to_string(name);
      EXPECT_THAT(report.repaired, ElementsAre(HasSubstr(store::to_string(name))));
      EXPECT_THAT(report.damaged_packs, IsEmpty());
      EXPECT_EQ(memory_->get(name, 1 << 20), good->get(name, 1 << 20));
      EXPECT_THAT(check(repository, options).repaired, IsEmpty());
    }
  }
  EXPECT_GT(names.size(), 6u);
}

TEST_F(Check, AsksOnceAboutAPackThatCannotBePutRight) {
  const base::Id pack = pack_of(repo::BlobType::data, content_.at(3));
  const auto flip_it = [&](base::Bytes& bytes) { flip(bytes, 50); };
  memory_->damage({Kind::data, pack}, flip_it);
  const auto twins = std::make_shared<test::TwinStore>(memory_, memory_->copy());
  repo::Repository repository(twins, repository_->config(), repository_->key(),
                              repository_->key_id());
  CheckOptions options;
  options.read_data = true;
  const CheckReport report = check(repository, options);
  EXPECT_THAT(report.errors, Contains(HasSubstr("pack " + pack.hex())));
  EXPECT_THAT(report.repaired, IsEmpty());
  EXPECT_EQ(twins->asked, 1);
}

TEST_F(Check, CanBeCancelled) {
  std::stop_source stop;
  stop.request_stop();
  CheckOptions options;
  options.stop = stop.get_token();
  EXPECT_THROW(check(*repository_, options), base::Cancelled);
}

}  // namespace
}  // namespace davit::upkeep
