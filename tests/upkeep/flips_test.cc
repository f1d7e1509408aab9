// One bit is flipped in one file of a repository, in any kind of file, at any place. A check that
// reads all finds it and names what is affected, exactly; a repair without any other copy makes the
// repository whole, and what it says is whole is equal. A sample, unless DAVIT_SOAK is set.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "support/made_damage.h"
#include "upkeep/check.h"
#include "upkeep/repair.h"

namespace davit::upkeep {
namespace {

using store::Kind;
using test::MadeDamage;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Shown = std::set<std::pair<std::string, std::string>>;

Shown shown(const std::set<MadeDamage::Place>& places) {
  Shown all;
  for (const auto& [snapshot, path] : places) all.emplace(snapshot.short_hex(), path);
  return all;
}

struct Flip {
  store::Name name;
  uint64_t bit = 0;
};

class Flips : public ::testing::Test {
 protected:
  // Every kind of file as often as every other; data packs of trees and of data, too.
  Flip choose(std::mt19937_64& random, int number) {
    std::vector<store::Name> among;
    switch (number % 6) {
      case 0:
        among = {store::Name{}};
        break;
      case 1:
        for (const auto& id : test::ids_of(*made_.store(), Kind::key))
          among.push_back({Kind::key, id});
        break;
      case 2:
        for (const auto& id : test::ids_of(*made_.store(), Kind::index))
          among.push_back({Kind::index, id});
        break;
      case 3:
        for (const auto& id : test::ids_of(*made_.store(), Kind::snapshot))
          among.push_back({Kind::snapshot, id});
        break;
      default:
        for (const auto& id : test::ids_of(*made_.store(), Kind::data)) {
          const bool is_tree = made_.blobs_in(id).at(0).first == repo::BlobType::tree;
          if (is_tree == (number % 6 == 4)) among.push_back({Kind::data, id});
        }
    }
    Flip flip;
    flip.name = among.at(random() % among.size());
    flip.bit = random() % (*made_.store()->find_size(flip.name) * 8);
    return flip;
  }

  static CheckReport check_all(repo::Repository& repository) {
    CheckOptions options;
    options.read_data = true;
    return check(repository, options);
  }

  void try_flip(const Flip& flip) {
    const auto store = made_.copy();
    store->damage(flip.name,
                  [&](base::Bytes& bytes) { bytes.at(flip.bit / 8) ^= 1 << flip.bit % 8; });
    std::set<MadeDamage::Blob> lost;
    if (flip.name.kind == Kind::data)
      for (const auto& blob : made_.blobs_at(flip.name.id, flip.bit / 8)) lost.insert(blob);
    const std::set<MadeDamage::Place> places = made_.places_of(lost);
    std::set<base::Id> affected;
    for (const auto& place : places) affected.insert(place.first);
    if (flip.name.kind == Kind::snapshot) affected.insert(flip.name.id);

    const auto repository = made_.open(store);
    const CheckReport found = check_all(*repository);
    const std::string file = flip.name.kind == Kind::config ? "config" : flip.name.id.hex();
    EXPECT_THAT(found.errors, Contains(HasSubstr(file)));
    if (flip.name.kind != Kind::index) {
      EXPECT_EQ(test::places_in(found.errors), shown(places));
      EXPECT_EQ(std::set<base::Id>(found.damaged_snapshots.begin(), found.damaged_snapshots.end()),
                affected);
    }

    RepairOptions options;
    options.read_data = true;
    options.forget = true;
    options.add_key = [&](repo::Repository& each) { return made_.add_key(each); };
    options.dry_run = true;
    const auto before = store->copy();
    const RepairReport would = repair(*repository, options);
    expect_same_files(*store, *before);
    options.dry_run = false;
    const RepairReport did = repair(*repository, options);
    EXPECT_EQ(lost_in(would), lost_in(did));
    EXPECT_EQ(would.snapshots.size(), did.snapshots.size());
    if (flip.name.kind != Kind::snapshot) {
      EXPECT_EQ(lost_in(did), shown(places));
    }
    EXPECT_EQ(did.blobs_lost, lost_that_show(lost, places));

    const CheckReport after = check_all(*made_.open(store));
    EXPECT_THAT(after.errors, IsEmpty());
    const auto again = made_.open(store);
    again->refresh_index();
    std::map<base::Id, base::Id> siblings;
    for (const auto& mended : did.snapshots) {
      EXPECT_TRUE(affected.contains(mended.snapshot));
      EXPECT_TRUE(mended.forgotten);
      if (mended.sibling) siblings[mended.snapshot] = *mended.sibling;
    }
    size_t left = 0;
    for (const auto& [id, files] : made_.snapshots()) {
      if (!affected.contains(id)) {
        EXPECT_EQ(test::read_files(*again, id), files);
        ++left;
      } else if (siblings.contains(id)) {
        EXPECT_EQ(test::read_files(*again, siblings[id]), made_.files_without(id, lost));
        const auto snapshot = again->load_snapshot(siblings[id]);
        EXPECT_EQ(snapshot.original, id);
        EXPECT_TRUE(snapshot.has_tag("repaired") && snapshot.has_tag("partial"));
        ++left;
      }
    }
    EXPECT_EQ(test::ids_of(*store, Kind::snapshot).size(), left);
    // Nothing is left to do.
    EXPECT_TRUE(repair(*again, options).empty());
  }

  static Shown lost_in(const RepairReport& report) {
    Shown all;
    for (const auto& lost : report.lost) all.emplace(lost.snapshot.short_hex(), lost.path);
    return all;
  }
  // Those that nothing needs are lost without loss.
  static size_t lost_that_show(const std::set<MadeDamage::Blob>& lost,
                               const std::set<MadeDamage::Place>& places) {
    return places.empty() ? 0 : lost.size();
  }
  static void expect_same_files(store::Store& a, store::Store& b) {
    for (const Kind kind : {Kind::key, Kind::data, Kind::index, Kind::snapshot, Kind::lock}) {
      ASSERT_EQ(test::ids_of(a, kind), test::ids_of(b, kind));
      for (const auto& id : test::ids_of(a, kind))
        EXPECT_EQ(a.get({kind, id}, 1 << 20), b.get({kind, id}, 1 << 20));
    }
    EXPECT_EQ(a.get(store::Name{}, 1 << 20), b.get(store::Name{}, 1 << 20));
  }

  const MadeDamage made_;
};

TEST_F(Flips, EachIsFoundAndNamedAndTheRestIsSaved) {
  const int count = std::getenv("DAVIT_SOAK") != nullptr ? 1000 : 60;
  std::mt19937_64 random(20261128);
  for (int number = 0; number < count; ++number) {
    const Flip flip = choose(random, number);
    try_flip(flip);
    if (HasFailure())
      FAIL() << "bit " << flip.bit << " of " << store::to_string(flip.name) << ", flip " << number;
  }
  RecordProperty("flips", count);
}

}  // namespace
}  // namespace davit::upkeep
