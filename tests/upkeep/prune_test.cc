#include "upkeep/prune.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <random>

#include "base/errors.h"
#include "crypto/sha256.h"
#include "repo/codec.h"
#include "repo/index_file.h"
#include "repo/pack_header.h"
#include "repo/tree.h"
#include "support/fault_store.h"
#include "support/made_repository.h"
#include "support/memory_store.h"
#include "upkeep/check.h"

namespace davit::upkeep {
namespace {

using store::Kind;
using test::Files;
using test::noise;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Prune : public ::testing::Test {
 protected:
  base::Id save(const Files& files) {
    const base::Id id = test::save_files(*repository_, files, test::packs_of(64 << 10));
    saved_[id] = files;
    return id;
  }
  void forget(const base::Id& id) {
    faults_->remove({Kind::snapshot, id});
    saved_.erase(id);
  }
  static void run_now(const std::function<void()>& second_phase) { second_phase(); }
  PrunePlan prune(const PruneOptions& options = {}) {
    PrunePlan plan = plan_prune(*repository_, options);
    execute_prune(*repository_, plan, options, run_now);
    return plan;
  }
  std::vector<base::Id> packs() { return test::ids_of(*memory_, Kind::data); }

  // By a second process, as it were: nothing remembered, nothing failing.
  void expect_whole() {
    repo::Repository fresh(memory_, repository_->config(), repository_->key(),
                           repository_->key_id());
    fresh.refresh_index();
    CheckOptions options;
    options.read_data = true;
    EXPECT_THAT(check(fresh, options).errors, IsEmpty());
    for (const auto& [id, files] : saved_) EXPECT_EQ(test::read_files(fresh, id), files);
  }
  std::vector<std::string> hints() {
    repo::Repository fresh(memory_, repository_->config(), repository_->key(),
                           repository_->key_id());
    return check(fresh, {}).hints;
  }

  std::shared_ptr<test::MemoryStore> memory_ = std::make_shared<test::MemoryStore>();
  std::shared_ptr<test::FaultStore> faults_ = std::make_shared<test::FaultStore>(memory_);
  std::unique_ptr<repo::Repository> repository_ = repo::Repository::init(faults_, "password");
  std::map<base::Id, Files> saved_;
};

TEST_F(Prune, LeavesARepositoryAloneInWhichAllIsUsed) {
  save({{"a", noise(1, 300'000)}, {"b/c", noise(2, 1000)}});
  const auto before = packs();
  const PrunePlan plan = prune();
  EXPECT_EQ(plan.packs_repacked + plan.packs_deleted + plan.packs_unindexed, 0);
  EXPECT_EQ(plan.blobs_unused, 0);
  EXPECT_EQ(packs(), before);
  expect_whole();
}

TEST_F(Prune, OfAnEmptyRepositoryDoesNothing) {
  EXPECT_TRUE(plan_prune(*repository_, {}).empty());
  prune();
  expect_whole();
}

TEST_F(Prune, RemovesWhatOnlyForgottenSnapshotsUsed) {
  const auto old = save({{"shared", noise(1, 200'000)}, {"old", noise(2, 1'000'000)}});
  save({{"shared", noise(1, 200'000)}, {"new", noise(3, 100'000)}});
  forget(old);
  const PrunePlan plan = prune();
  EXPECT_GE(plan.blobs_unused, 100);
  EXPECT_GT(plan.bytes_freed, 900'000);
  EXPECT_LT(test::bytes_of(*memory_, Kind::data), 400'000);
  expect_whole();
  EXPECT_TRUE(plan_prune(*repository_, {}).empty());
}

TEST_F(Prune, OfAllSnapshotsLeavesNoPackAndNoIndexEntry) {
  const auto only = save({{"a", noise(1, 300'000)}});
  forget(only);
  prune();
  EXPECT_THAT(packs(), IsEmpty());
  EXPECT_EQ(repository_->index().blob_count(), 0);
  expect_whole();
}

TEST_F(Prune, CopiesWhatIsUsedOutOfHalfEmptyPacks) {
  Files all, half;
  for (int i = 0; i < 60; ++i) {
    const std::string name = "file" + std::to_string(100 + i);
    all[name] = noise(i, 10'000);
    if (i % 2) half[name] = all[name];
  }
  const auto first = save(all);
  save(half);
  forget(first);
  const PrunePlan plan = prune();
  EXPECT_GT(plan.packs_repacked, 0);
  EXPECT_LT(test::bytes_of(*memory_, Kind::data), 400'000);
  expect_whole();
  EXPECT_THAT(hints(), IsEmpty());
}

TEST_F(Prune, LeavesALittleWasteWhereItWasAsked) {
  Files all, most;
  for (int i = 0; i < 400; ++i) {
    const std::string name = "file" + std::to_string(1000 + i);
    all[name] = noise(i, 10'000);
    if (i % 2) most[name] = all[name];
  }
  // One pack above the size of small ones, half unused.
  const auto first = test::save_files(*repository_, all, test::packs_of(16 << 20));
  saved_[test::save_files(*repository_, most, test::packs_of(16 << 20))] = most;
  faults_->remove({Kind::snapshot, first});
  PruneOptions generous;
  generous.max_unused_ratio = 0.6;
  const PrunePlan lazy = plan_prune(*repository_, generous);
  const PrunePlan strict = plan_prune(*repository_, {});
  EXPECT_LT(lazy.bytes_repacked, 100'000);
  EXPECT_GT(strict.bytes_repacked, 1'900'000);
  prune();
  expect_whole();
}

TEST_F(Prune, KeepsOneOfSeveralCopies) {
  const Files files = {{"a", noise(1, 500'000)}};
  const auto tree = [&] {
    // A second machine that knows nothing of the first one's packs.
    const auto other_store = std::make_shared<test::MemoryStore>();
    save(files);
    return repository_->load_snapshot(saved_.begin()->first).tree;
  }();
  repo::Repository blind(memory_, repository_->config(), repository_->key(), repository_->key_id());
  {
    repo::UploadSession session(blind, test::packs_of(64 << 10));
    EXPECT_EQ(test::save_trees(session, files), tree);
    session.finish();
  }
  repository_->refresh_index();
  const uint64_t twice = test::bytes_of(*memory_, Kind::data);
  const PrunePlan plan = prune();
  EXPECT_GT(plan.blobs_duplicate, 49);
  EXPECT_LT(test::bytes_of(*memory_, Kind::data), twice * 6 / 10);
  expect_whole();
  EXPECT_THAT(hints(), IsEmpty());
}

TEST_F(Prune, DoesNotCopyWhatHasAnotherCopyInAPackThatStays) {
  save({{"w", noise(4, 10'000)}, {"x", noise(1, 10'000)}});
  // A machine that did not know: a pack with a second copy, something new, and something unused.
  repo::Repository blind(memory_, repository_->config(), repository_->key(), repository_->key_id());
  repo::UploadSession session(blind);
  session.save_blob(repo::BlobType::data, base::as_bytes(noise(1, 10'000)));
  session.save_blob(repo::BlobType::data, base::as_bytes(noise(2, 10'000)));
  session.save_blob(repo::BlobType::data, base::as_bytes(noise(3, 10'000)));
  session.finish();
  save({{"y", noise(2, 10'000)}});
  const PrunePlan plan = prune();
  EXPECT_EQ(plan.blobs_duplicate, 1);
  EXPECT_GT(plan.bytes_repacked, 10'000);
  EXPECT_LT(plan.bytes_repacked, 11'000);
  expect_whole();
  EXPECT_THAT(hints(), IsEmpty());
}

TEST_F(Prune, MergesPacksThatAreSmallOnceThereAreTen) {
  for (int i = 0; i < 9; ++i) save({{"a" + std::to_string(i), noise(i, 5'000)}});
  // Nine of data and nine of trees: left alone.
  EXPECT_EQ(plan_prune(*repository_, {}).packs_repacked, 0);
  save({{"one more", noise(100, 5'000)}});
  const PrunePlan plan = prune();
  EXPECT_EQ(plan.packs_repacked, 20);
  EXPECT_EQ(plan.index_files_merged, 10);
  EXPECT_LE(packs().size(), 4);
  expect_whole();
  EXPECT_TRUE(plan_prune(*repository_, {}).empty());
}

TEST_F(Prune, SortsOutPacksThatNoResticWouldWriteToday) {
  // One pack with a data blob and an uncompressed tree, as restic of years ago wrote them.
  const std::string content = noise(1, 1000);
  const base::Id data_id = crypto::sha256(base::as_bytes(content));
  const std::string tree =
      R"({"nodes":[{"name":"a","type":"file","mode":420,"mtime":"2020-01-01T00:00:00Z",)"
      R"("atime":"2020-01-01T00:00:00Z","ctime":"2020-01-01T00:00:00Z","uid":0,"gid":0,)"
      R"("size":1000,"content":[")" +
      data_id.hex() + "\"]}]}\n";
  const base::Id tree_id = crypto::sha256(base::as_bytes(tree));
  base::Bytes pack;
  crypto::seal(repository_->key(), base::as_bytes(content), pack);
  const auto split = static_cast<uint32_t>(pack.size());
  crypto::seal(repository_->key(), base::as_bytes(tree), pack);
  const std::vector<repo::PackBlob> blobs = {
      {repo::BlobType::data, data_id, 0, split, 0},
      {repo::BlobType::tree, tree_id, split, static_cast<uint32_t>(pack.size()) - split, 0}};
  base::Bytes header;
  crypto::seal(repository_->key(), repo::encode_pack_header(blobs), header);
  base::append(pack, header);
  uint8_t length[4];
  base::store_le32(length, static_cast<uint32_t>(header.size()));
  base::append(pack, length);
  const base::Id pack_id = crypto::sha256(pack);
  memory_->put({Kind::data, pack_id}, pack);
  repo::IndexEncoder index;
  index.add(pack_id, blobs);
  repository_->save_unpacked(Kind::index, index.finish());
  repo::Snapshot snapshot;
  snapshot.tree = tree_id;
  snapshot.paths = {"/old"};
  saved_[repository_->save_snapshot(snapshot)] = {{"a", content}};
  expect_whole();
  EXPECT_THAT(hints(), ElementsAre(HasSubstr("both data and trees")));

  prune();
  EXPECT_FALSE(memory_->find_size({Kind::data, pack_id}));
  expect_whole();
  EXPECT_THAT(hints(), IsEmpty());
}

TEST_F(Prune, KeepsAPackInWhichABackupFoundABlobBetweenThePhases) {
  const auto old = save({{"shared", noise(1, 200'000)}, {"old", noise(2, 1'000'000)}});
  save({{"shared", noise(1, 200'000)}});
  forget(old);
  const PrunePlan plan = plan_prune(*repository_, {});
  ASSERT_GT(plan.packs_deleted, 0);
  execute_prune(*repository_, plan, {}, [&](const auto& second_phase) {
    // Everything of "old" is in the index still, and nothing of it is stored again.
    const uint64_t before = test::bytes_of(*memory_, Kind::data);
    save({{"again", noise(2, 1'000'000)}, {"more", noise(4, 50'000)}});
    EXPECT_LT(test::bytes_of(*memory_, Kind::data), before + 100'000);
    second_phase();
  });
  expect_whole();
  prune();
  expect_whole();
}

TEST_F(Prune, KeepsTheVeryTreesThatABackupFoundBetweenThePhases) {
  const Files files = {{"dir/a", noise(1, 100'000)}, {"dir/b", noise(2, 100'000)}};
  const auto old = save(files);
  save({{"other", noise(3, 100'000)}});
  forget(old);
  const PrunePlan plan = plan_prune(*repository_, {});
  execute_prune(*repository_, plan, {}, [&](const auto& second_phase) {
    save(files);  // adds nothing but a snapshot
    second_phase();
  });
  expect_whole();
}

TEST_F(Prune, LeavesThePacksOfABackupThatWasRunningWhenThePlanWasMade) {
  save({{"a", noise(1, 100'000)}});
  const Files files = {{"b", noise(2, 500'000)}};
  // Packs are in the store, their index is not: a copy of the store at that moment makes it so.
  const base::Id running = save(files);
  const base::Id index = [&] {
    for (const auto& id : test::ids_of(*memory_, Kind::index))
      if (repository_->index().packs_of(id).size() > 5) return id;
    return base::Id{};
  }();
  const auto index_bytes = memory_->get({Kind::index, index}, 1 << 20);
  const auto snapshot_bytes = memory_->get({Kind::snapshot, running}, 1 << 20);
  memory_->remove({Kind::index, index});
  memory_->remove({Kind::snapshot, running});
  const PrunePlan plan = plan_prune(*repository_, {});
  EXPECT_GT(plan.packs_unindexed, 5);
  execute_prune(*repository_, plan, {}, [&](const auto& second_phase) {
    memory_->put({Kind::index, index}, index_bytes);
    memory_->put({Kind::snapshot, running}, snapshot_bytes);
    second_phase();
  });
  expect_whole();
}

TEST_F(Prune, RemovesPacksThatNoIndexNamesButNoneThatCameLater) {
  save({{"a", noise(1, 100'000)}});
  const base::Bytes stray = base::to_bytes(base::as_bytes(noise(7, 5000)));
  const base::Bytes later = base::to_bytes(base::as_bytes(noise(8, 5000)));
  memory_->put({Kind::data, crypto::sha256(stray)}, stray);
  const PrunePlan plan = plan_prune(*repository_, {});
  EXPECT_EQ(plan.packs_unindexed, 1);
  execute_prune(*repository_, plan, {}, [&](const auto& second_phase) {
    memory_->put({Kind::data, crypto::sha256(later)}, later);
    second_phase();
  });
  EXPECT_FALSE(memory_->find_size({Kind::data, crypto::sha256(stray)}));
  EXPECT_TRUE(memory_->find_size({Kind::data, crypto::sha256(later)}));
  expect_whole();
}

TEST_F(Prune, RemovesNothingWhenASnapshotOrATreeOrABlobIsMissing) {
  const auto old = save({{"old", noise(1, 300'000)}});
  const auto broken = save({{"dir/broken", noise(2, 300'000)}});
  forget(old);
  const auto files = std::array{packs(), test::ids_of(*memory_, Kind::index)};
  const auto expect_refusal = [&](const std::string& reason) {
    try {
      plan_prune(*repository_, {});
      ADD_FAILURE() << "it made a plan";
    } catch (const base::Corrupt& error) {
      EXPECT_THAT(error.what(), HasSubstr(reason));
    }
    EXPECT_EQ((std::array{packs(), test::ids_of(*memory_, Kind::index)}), files);
  };
  // A snapshot that cannot be read may use anything.
  const auto good = memory_->get({Kind::snapshot, broken}, 1 << 20);
  memory_->damage({Kind::snapshot, broken}, [](base::Bytes& bytes) { bytes[30] ^= 1; });
  expect_refusal("snapshot " + broken.hex());
  memory_->put({Kind::snapshot, broken}, good);

  // Its index file: then neither trees nor data can be found.
  for (const auto& index : files[1]) {
    if (!std::ranges::any_of(repository_->index().packs_of(index), [&](const base::Id& pack) {
          return pack == repository_->index()
                             .find(repo::BlobType::tree, repository_->load_snapshot(broken).tree)
                             ->pack;
        }))
      continue;
    const auto bytes = memory_->get({Kind::index, index}, 1 << 20);
    memory_->remove({Kind::index, index});
    EXPECT_THROW(plan_prune(*repository_, {}), base::Corrupt);
    memory_->put({Kind::index, index}, bytes);
  }

  // A pack.
  const auto root = repository_->load_snapshot(broken).tree;
  const auto node = repo::parse_tree(repository_->load_blob(repo::BlobType::tree, root)).at(0);
  const auto subtree =
      repo::parse_tree(repository_->load_blob(repo::BlobType::tree, *node.subtree)).at(0);
  const base::Id pack =
      repository_->index().find(repo::BlobType::data, subtree.content.at(0))->pack;
  const auto pack_bytes = memory_->get({Kind::data, pack}, 1 << 20);
  memory_->damage({Kind::data, pack}, [](base::Bytes& bytes) { bytes.pop_back(); });
  expect_refusal("pack " + pack.hex());
  memory_->put({Kind::data, pack}, pack_bytes);
  prune();
  expect_whole();
}

TEST_F(Prune, NamesSnapshotAndPathOfWhatIsInNoIndex) {
  const auto id = save({{"dir/sub/file", noise(2, 30'000)}});
  // A tree that names a blob which nobody has.
  auto nodes = repo::parse_tree(
      repository_->load_blob(repo::BlobType::tree, repository_->load_snapshot(id).tree));
  repo::Node lost;
  lost.name = "lost";
  lost.type = repo::NodeType::file;
  lost.size = 5;
  lost.content = {crypto::sha256(base::as_bytes("nobody has it"))};
  repo::TreeEncoder encoder;
  encoder.add(nodes.at(0));
  encoder.add(lost);
  repo::UploadSession session(*repository_);
  repo::Snapshot snapshot;
  snapshot.tree = session.save_blob(repo::BlobType::tree, encoder.finish()).id;
  session.finish();
  const base::Id bad = repository_->save_snapshot(snapshot);
  try {
    plan_prune(*repository_, {});
    FAIL() << "it made a plan";
  } catch (const base::Corrupt& error) {
    EXPECT_THAT(error.what(), HasSubstr("snapshot " + bad.short_hex() + ", /lost"));
  }
}

TEST_F(Prune, StopsWhenSomebodyElsePrunedBetweenThePhases) {
  const auto old = save({{"old", noise(1, 300'000)}, {"b", noise(2, 100'000)}});
  save({{"b", noise(2, 100'000)}});
  forget(old);
  const PrunePlan plan = plan_prune(*repository_, {});
  EXPECT_THROW(execute_prune(*repository_, plan, {},
                             [&](const auto& second_phase) {
                               prune();
                               second_phase();
                             }),
               base::Conflict);
  expect_whole();
  prune();
  expect_whole();
}

TEST_F(Prune, CanBeCancelledInItsFirstPhase) {
  Files all, half;
  for (int i = 0; i < 60; ++i) {
    const std::string name = "file" + std::to_string(100 + i);
    all[name] = noise(i, 10'000);
    if (i % 2) half[name] = all[name];
  }
  const auto first = save(all);
  save(half);
  forget(first);
  std::stop_source stop;
  PruneOptions options;
  options.stop = stop.get_token();
  const PrunePlan plan = plan_prune(*repository_, options);
  faults_->after_each([&](const test::StoreCall& call) {
    if (call.op == test::StoreOp::get_range) stop.request_stop();
  });
  EXPECT_THROW(execute_prune(*repository_, plan, options,
                             [](const auto&) { FAIL() << "went on to the second phase"; }),
               base::Cancelled);
  faults_->after_each({});
  EXPECT_THROW(plan_prune(*repository_, options), base::Cancelled);
  expect_whole();
  prune();
  expect_whole();
}

TEST_F(Prune, KeepsEverySnapshotThroughARandomHistory) {
  std::mt19937 random(20261122);
  const auto some_files = [&] {
    Files files;
    for (int i = 0; i < 12; ++i) {
      const auto content = random() % 60;
      files["d" + std::to_string(random() % 3) + "/f" + std::to_string(i)] =
          noise(content, 1000 + content * 500);
    }
    return files;
  };
  const auto forget_one = [&] {
    if (!saved_.empty()) forget(std::next(saved_.begin(), random() % saved_.size())->first);
  };
  for (int step = 0; step < 40; ++step) {
    save(some_files());
    if (random() % 3) forget_one();
    if (random() % 3) continue;
    PruneOptions options;
    options.max_unused_ratio = static_cast<double>(random() % 5) / 10;
    execute_prune(*repository_, plan_prune(*repository_, options), options,
                  [&](const auto& second_phase) {
                    if (random() % 2) save(some_files());
                    if (random() % 2) forget_one();
                    second_phase();
                  });
    expect_whole();
    if (HasFailure()) FAIL() << "in step " << step;
  }
}

// Every call to the store fails once, in a run of its own.
TEST_F(Prune, LeavesAWholeRepositoryWhateverCallFails) {
  const bool all = std::getenv("DAVIT_SOAK") != nullptr;
  std::mt19937 random(20261122);
  uint64_t number = 1;
  for (bool finished = false; !finished; number += all ? 1 : 1 + random() % 5) {
    const Files kept = {{"kept", noise(number, 100'000)}, {"dir/b", noise(number + 1, 30'000)}};
    Files more = kept;
    for (int i = 0; i < 6; ++i)
      more["dir/more" + std::to_string(i)] = noise(number * 10 + i, 30'000);
    const auto old = save(more);
    save(kept);
    forget(old);
    bool failed = false;
    const uint64_t before = faults_->calls();
    faults_->fail_call(before + number);
    try {
      prune();
    } catch (const base::Error&) {
      failed = true;
    }
    finished = faults_->calls() < before + number;
    EXPECT_NE(failed, finished) << "call " << number;
    faults_->fail_call(0);
    expect_whole();
    repository_->refresh_index();
    prune();
    expect_whole();
    EXPECT_TRUE(plan_prune(*repository_, {}).empty());
    if (HasFailure()) FAIL() << "after a failure of call " << number;
    while (saved_.size() > 2) forget(saved_.begin()->first);
  }
  EXPECT_GT(number, 20);
}

}  // namespace
}  // namespace davit::upkeep
