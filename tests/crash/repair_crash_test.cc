// A repair ends at each of its calls to the store, before it or after it, as a kill would end it (a
// sample of them unless DAVIT_SOAK is set). Whatever could be read before can be read then, and the
// next repair comes to the same end as one that nothing ended.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "base/errors.h"
#include "repo/tree.h"
#include "support/fault_store.h"
#include "support/made_damage.h"
#include "upkeep/check.h"
#include "upkeep/repair.h"
#include "upkeep/used_blobs.h"

namespace davit {
namespace {

using store::Kind;

struct Killed {};

class RepairCrash : public ::testing::Test {
 protected:
  void SetUp() override {
    // One of each: a damaged pack of data, one of trees, a missing one, an index file, a snapshot.
    std::vector<base::Id> data, trees;
    for (const auto& id : test::ids_of(*damaged_, Kind::data))
      (made_.blobs_in(id).at(0).first == repo::BlobType::tree ? trees : data).push_back(id);
    const auto flip = [](base::Bytes& bytes) { bytes.at(bytes.size() / 2) ^= 4; };
    damaged_->damage({Kind::data, data.at(0)}, flip);
    damaged_->damage({Kind::data, trees.at(1)}, flip);
    damaged_->remove({Kind::data, data.at(data.size() - 1)});
    damaged_->damage({Kind::index, test::ids_of(*damaged_, Kind::index).at(2)}, flip);
    damaged_->damage({Kind::snapshot, made_.snapshots().begin()->first}, flip);
  }

  void run(std::shared_ptr<store::Store> store) const {
    upkeep::RepairOptions options;
    options.read_data = true;
    options.forget = true;
    repair(*made_.open(std::move(store)), options);
  }

  // By the snapshot, or the one that it is the sibling of: each file that can be had whole.
  using Readable = std::map<base::Id, test::Files>;
  Readable readable(std::shared_ptr<store::Store> store) const {
    const auto repository = made_.open(store);
    const auto files = upkeep::list_ids(*store, Kind::index);
    const auto table =
        upkeep::BlobTable::load(*repository, files, [](const base::Id&, const std::string&) {});
    Readable found;
    for (const auto& file :
         upkeep::read_snapshots(*repository, {}, [](const base::Id&, const std::string&) {}))
      read(*repository, table, file.snapshot.tree, "",
           found[file.snapshot.original.value_or(file.id)]);
    return found;
  }
  void read(const repo::Repository& repository, const upkeep::BlobTable& table,
            const base::Id& tree, const std::string& prefix, test::Files& into) const {
    base::Bytes bytes;
    try {
      load_from_any(repository, table, table.find(repo::BlobType::tree, tree), bytes);
    } catch (const base::Error&) {
      return;
    }
    for (const auto& node : repo::parse_tree(bytes)) {
      if (node.subtree) read(repository, table, *node.subtree, prefix + node.name + "/", into);
      if (node.type != repo::NodeType::file) continue;
      try {
        std::string content;
        for (const auto& id : node.content) {
          load_from_any(repository, table, table.find(repo::BlobType::data, id), bytes);
          content += base::as_text(bytes);
        }
        // Of snapshot and sibling the better one counts.
        std::string& known = into[prefix + node.name];
        if (content.size() > known.size()) known = content;
      } catch (const base::Error&) {
      }
    }
  }

  const test::MadeDamage made_;
  const std::shared_ptr<test::MemoryStore> damaged_ = made_.copy();
};

TEST_F(RepairCrash, LosesNothingMoreAtAnyCall) {
  const Readable before = readable(damaged_->copy());
  const auto undisturbed = damaged_->copy();
  const auto counting = std::make_shared<test::FaultStore>(undisturbed);
  run(counting);
  const Readable best = readable(undisturbed);
  ASSERT_GT(counting->calls(), 50u);

  const bool every_call = std::getenv("DAVIT_SOAK") != nullptr;
  std::mt19937 random(20261128);
  int kills = 0;
  for (uint64_t number = 1; number <= counting->calls();
       number += every_call ? 1 : 1 + random() % 7) {
    for (const bool after_the_call : {false, true}) {
      const auto store = damaged_->copy();
      const auto faults = std::make_shared<test::FaultStore>(store);
      const auto die = [&](const test::StoreCall& call) {
        if (call.number >= number) throw Killed();
      };
      after_the_call ? faults->after_each(die) : faults->before_each(die);
      try {
        run(faults);
      } catch (const Killed&) {
        ++kills;
      }
      const Readable then = readable(store);
      for (const auto& [id, files] : before)
        for (const auto& [path, content] : files)
          EXPECT_TRUE(then.contains(id) && then.at(id).contains(path) &&
                      then.at(id).at(path).size() >= content.size())
              << id.short_hex() << " " << path;
      run(store);
      EXPECT_EQ(readable(store), best);
      upkeep::CheckOptions options;
      options.read_data = true;
      EXPECT_THAT(check(*made_.open(store), options).errors, ::testing::IsEmpty());
      if (HasFailure())
        FAIL() << "ended " << (after_the_call ? "after" : "before") << " call " << number;
    }
  }
  EXPECT_GT(kills, 20);
  RecordProperty("kills", kills);
}

}  // namespace
}  // namespace davit
