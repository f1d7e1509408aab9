// A primary and its mirrors as one store: who is asked, who stands in, what is healed.
#include "store/mirror_store.h"

#include <gmock/gmock.h>

#include "base/errors.h"
#include "base/patience.h"
#include "crypto/sha256.h"
#include "store/local_store.h"
#include "store_contract.h"
#include "support/fault_store.h"
#include "support/memory_store.h"
#include "support/temp_dir.h"

namespace davit::store {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct MemoryPlaces : StorePlace {
  std::unique_ptr<Store> open() override {
    return std::make_unique<MirrorStore>(
        MirrorStore::Copy{first.another()},
        std::vector<MirrorStore::Copy>{{second.another()}, {third.another(), true}},
        MirrorOptions{});
  }
  test::MemoryStore first, second, third;
};

struct LocalPlaces : StorePlace {
  std::unique_ptr<Store> open() override {
    return std::make_unique<MirrorStore>(
        MirrorStore::Copy{std::make_shared<LocalStore>(directory / "a"), true},
        std::vector<MirrorStore::Copy>{{std::make_shared<LocalStore>(directory / "b"), true}},
        MirrorOptions{});
  }
  test::TempDir directory;
};

INSTANTIATE_TEST_SUITE_P(MirroredInMemory, StoreContract,
                         ::testing::Values([]() -> std::unique_ptr<StorePlace> {
                           return std::make_unique<MemoryPlaces>();
                         }));
INSTANTIATE_TEST_SUITE_P(MirroredLocally, StoreContract,
                         ::testing::Values([]() -> std::unique_ptr<StorePlace> {
                           return std::make_unique<LocalPlaces>();
                         }));

// A store in memory that can be away, and notes what it is asked.
struct Place {
  std::shared_ptr<test::MemoryStore> files = std::make_shared<test::MemoryStore>();
  std::shared_ptr<test::FaultStore> store = std::make_shared<test::FaultStore>(files);
  std::atomic<bool> is_away{false};
  std::atomic<int> reads{0};
  Place() {
    store->before_each([this](const test::StoreCall& call) {
      if (is_away) throw base::IoError("nobody answers", 0, true);
      reads += call.op == test::StoreOp::get_range;
    });
  }
};

class MirrorStoreTest : public ::testing::Test {
 protected:
  MirrorStoreTest() {
    // Nobody waits for a copy that failed to be asked again.
    options_.pause = std::chrono::milliseconds(0);
    options_.on_repair = [this](const std::string& repair) { repairs_.push_back(repair); };
    options_.on_away = [this](const std::string& why) { away_.push_back(why); };
    options_.before_remove = [this](const Name& name) { removed_.push_back(to_string(name)); };
    options_.on_change = [this] { ++changes_; };
  }
  MirrorStore& stores() {
    if (!stores_)
      stores_.emplace(MirrorStore::Copy{primary_.store},
                      std::vector<MirrorStore::Copy>{{far_.store}, {near_.store, true}}, options_);
    return *stores_;
  }
  // Of a repository that all three hold.
  Name put_everywhere(Kind kind, const std::string& content) {
    const base::ByteView bytes = base::as_bytes(content);
    const Name name{kind, kind == Kind::config ? base::Id{} : crypto::sha256(bytes)};
    for (Place* place : {&primary_, &far_, &near_}) place->files->put(name, bytes);
    return name;
  }
  std::string read(const Name& name) {
    return std::string(base::as_text(stores().get(name, 1 << 20)));
  }
  std::string read_pack(Name name, size_t size) {
    name.any_copy = true;
    base::Bytes out(size);
    stores().get_range(name, 0, out);
    return std::string(base::as_text(out));
  }
  static std::function<bool(base::ByteView)> is(const Name& name) {
    return [name](base::ByteView bytes) { return crypto::sha256(bytes) == name.id; };
  }
  static void rot(Place& place, const Name& name) {
    place.files->damage(name, [](base::Bytes& bytes) { bytes[0] ^= 1; });
  }

  Place primary_, far_, near_;
  MirrorOptions options_;
  std::optional<MirrorStore> stores_;
  std::vector<std::string> repairs_, away_, removed_;
  int changes_ = 0;
};

TEST_F(MirrorStoreTest, ReadsBlobsFromTheNearestAndFallsBack) {
  put_everywhere(Kind::config, "config");
  const Name pack = put_everywhere(Kind::data, "pack");
  EXPECT_EQ(read_pack(pack, 4), "pack");
  EXPECT_EQ(near_.reads, 1);
  EXPECT_EQ(primary_.reads + far_.reads, 0);
  near_.files->remove(pack);
  EXPECT_EQ(read_pack(pack, 4), "pack");
  EXPECT_EQ(primary_.reads, 1);
  near_.files->put(pack, base::as_bytes("pa"));  // too short
  EXPECT_EQ(read_pack(pack, 4), "pack");
  primary_.is_away = near_.is_away = true;
  EXPECT_EQ(read_pack(pack, 4), "pack");
  EXPECT_EQ(far_.reads, 1);
  far_.is_away = true;
  EXPECT_THROW(read_pack(pack, 4), base::IoError);
}

TEST_F(MirrorStoreTest, WhereTheCopyThatCountsIsWantedOnlyThePrimaryIsRead) {
  put_everywhere(Kind::config, "config");
  const Name pack = put_everywhere(Kind::data, "pack");
  primary_.files->remove(pack);
  base::Bytes out(4);
  EXPECT_THROW(stores().get_range(pack, 0, out), base::NotFound);
  EXPECT_THROW(stores().get(pack, 10), base::NotFound);
  EXPECT_EQ(stores().find_size(pack), std::nullopt);
  stores().list(Kind::data, [](const FileInfo&) { ADD_FAILURE(); });
}

TEST_F(MirrorStoreTest, AMirrorOfAnotherRepositoryIsNotRead) {
  put_everywhere(Kind::config, "config");
  const Name pack = put_everywhere(Kind::data, "pack");
  near_.files->put(Name{}, base::as_bytes("another"));
  far_.files->remove(Name{});
  EXPECT_EQ(stores().compare(1), MirrorStore::Match::other);
  EXPECT_EQ(stores().compare(0), MirrorStore::Match::none);
  EXPECT_EQ(read_pack(pack, 4), "pack");
  EXPECT_EQ(near_.reads + far_.reads, 0);
  near_.files->put(Name{}, base::as_bytes("config"));
  EXPECT_EQ(stores().compare(1), MirrorStore::Match::same);
  EXPECT_EQ(read_pack(pack, 4), "pack");
  EXPECT_EQ(near_.reads, 1);
}

TEST_F(MirrorStoreTest, AMirrorAnswersForAPrimaryThatIsAway) {
  const Name config = put_everywhere(Kind::config, "config");
  const Name snapshot = put_everywhere(Kind::snapshot, "snapshot");
  EXPECT_EQ(read(snapshot), "snapshot");
  EXPECT_EQ(stores().stood_in(), 0u);
  primary_.is_away = true;
  EXPECT_EQ(read(config), "config");
  EXPECT_EQ(read(snapshot), "snapshot");
  EXPECT_EQ(stores().find_size(snapshot), 8u);
  size_t listed = 0;
  stores().list(Kind::snapshot, [&](const FileInfo&) { ++listed; });
  EXPECT_EQ(listed, 1u);
  EXPECT_EQ(stores().stood_in(), 4u);
  EXPECT_THAT(away_, ElementsAre("nobody answers"));
  primary_.is_away = false;
  EXPECT_EQ(read(snapshot), "snapshot");
  EXPECT_THAT(away_, ElementsAre("nobody answers", ""));
  EXPECT_EQ(stores().stood_in(), 4u);
}

// `from=auto` would make an empty volume of it.
TEST_F(MirrorStoreTest, WhatAMirrorDoesNotHaveProvesNothing) {
  const Name config = put_everywhere(Kind::config, "config");
  const Name snapshot = put_everywhere(Kind::snapshot, "snapshot");
  stores();
  for (Place* place : {&far_, &near_}) place->files->remove(snapshot);
  primary_.is_away = true;
  const auto list = [&](Kind kind) { stores().list(kind, [](const FileInfo&) {}); };
  EXPECT_THROW(list(Kind::snapshot), base::IoError);
  EXPECT_THROW(list(Kind::key), base::IoError);
  EXPECT_THROW(stores().find_size(snapshot), base::IoError);
  EXPECT_THROW(read(snapshot), base::IoError);
  for (Place* place : {&far_, &near_}) place->files->remove(config);
  EXPECT_THROW(stores().find_size(config), base::IoError);
  // The other way round, what the primary says counts, although a mirror knows better.
  primary_.is_away = false;
  far_.files->put(snapshot, base::as_bytes("snapshot"));
  primary_.files->remove(snapshot);
  EXPECT_NO_THROW(list(Kind::snapshot));
  EXPECT_THROW(read(snapshot), base::NotFound);
}

TEST_F(MirrorStoreTest, NothingIsWrittenToAMirror) {
  put_everywhere(Kind::config, "config");
  const Name snapshot = put_everywhere(Kind::snapshot, "snapshot");
  stores().put({Kind::key, {}}, base::as_bytes("key"));
  stores().remove(snapshot);
  stores().put({Kind::data, {}}, base::as_bytes("pack"));
  EXPECT_EQ(changes_, 2);
  EXPECT_THAT(removed_, ElementsAre(to_string(snapshot)));
  EXPECT_EQ(far_.files->find_size({Kind::key, {}}), std::nullopt);
  EXPECT_TRUE(far_.files->find_size(snapshot));
  primary_.is_away = true;
  EXPECT_THROW(stores().put({Kind::data, {}}, base::as_bytes("pack")), base::IoError);
  EXPECT_THROW(stores().put({Kind::lock, {}}, base::as_bytes("lock")), base::IoError);
  EXPECT_THROW(stores().remove(snapshot), base::IoError);
}

TEST_F(MirrorStoreTest, WhatCannotBeNotedIsNotRemoved) {
  const Name snapshot = put_everywhere(Kind::snapshot, "snapshot");
  options_.before_remove = [](const Name&) { throw base::IoError("the disk is full", 0); };
  EXPECT_THROW(stores().remove(snapshot), base::IoError);
  EXPECT_TRUE(primary_.files->find_size(snapshot));
}

TEST_F(MirrorStoreTest, AMirrorStandsInForReadersAndTheirLocksOnly) {
  put_everywhere(Kind::config, "config");
  const Name pack = put_everywhere(Kind::data, "pack");
  const Name lock{Kind::lock, pack.id};
  stores();
  primary_.is_away = true;
  ASSERT_TRUE(stores().begin_stand_in());
  primary_.is_away = false;  // in the middle of it: the lock is where the files are that are read
  stores().put(lock, base::as_bytes("lock"));
  EXPECT_TRUE(far_.files->find_size(lock));
  EXPECT_EQ(primary_.files->find_size(lock), std::nullopt);
  EXPECT_EQ(read_pack(pack, 4), "pack");
  EXPECT_EQ(far_.reads, 1);
  try {
    stores().put(pack, base::as_bytes("pack"));
    ADD_FAILURE();
  } catch (const base::IoError& error) {
    EXPECT_TRUE(error.transient());
  }
  EXPECT_THROW(stores().begin_draft(Kind::data, 1), base::IoError);
  EXPECT_THROW(stores().remove(pack), base::IoError);
  stores().remove(lock);
  EXPECT_EQ(far_.files->find_size(lock), std::nullopt);
  stores().end_stand_in();
  EXPECT_NO_THROW(stores().put(pack, base::as_bytes("pack")));
  for (Place* place : {&primary_, &far_, &near_}) place->is_away = true;
  EXPECT_FALSE(stores().begin_stand_in());
}

TEST_F(MirrorStoreTest, HealsTheFilesOfEveryKindFromAWholeCopy) {
  put_everywhere(Kind::config, "config");
  for (const Kind kind : {Kind::key, Kind::data, Kind::index, Kind::snapshot}) {
    const std::string content = std::string("content of a ") + kind_name(kind);
    const Name name = put_everywhere(kind, content);
    rot(primary_, name);
    rot(near_, name);
    EXPECT_TRUE(stores().heal(name, is(name)));
    for (Place* place : {&primary_, &far_, &near_})
      EXPECT_EQ(base::as_text(place->files->get(name, 100)), content);
    EXPECT_EQ(repairs_.size(), 2u);
    EXPECT_THAT(repairs_[0], HasSubstr("repaired " + to_string(name)));
    repairs_.clear();
    // Nothing is wrong any more.
    EXPECT_TRUE(stores().heal(name, is(name)));
    EXPECT_THAT(repairs_, IsEmpty());
    // Missing at the primary; what a mirror lacks waits for its turn.
    primary_.files->remove(name);
    near_.files->remove(name);
    EXPECT_TRUE(stores().heal(name, is(name)));
    EXPECT_EQ(read(name), content);
    EXPECT_EQ(near_.files->find_size(name), std::nullopt);
    repairs_.clear();
  }
}

TEST_F(MirrorStoreTest, HealsTheConfigByWhichMirrorsAreKnown) {
  const Name config = put_everywhere(Kind::config, "config");
  put_everywhere(Kind::key, "key");
  near_.files->put(config, base::as_bytes("another"));
  rot(primary_, config);
  const auto is_config = [](base::ByteView bytes) { return base::as_text(bytes) == "config"; };
  EXPECT_TRUE(stores().heal(config, is_config));
  EXPECT_EQ(read(config), "config");
  EXPECT_EQ(base::as_text(near_.files->get(config, 10)), "another") << "it may be another's";
  primary_.files->remove(config);
  EXPECT_TRUE(stores().heal(config, is_config));
  EXPECT_EQ(read(config), "config");
}

// A disk that is not mounted is not filled with a copy.
TEST_F(MirrorStoreTest, AnEmptyPlaceIsNotHealed) {
  const Name config = put_everywhere(Kind::config, "config");
  const Name pack = put_everywhere(Kind::data, "pack");
  EXPECT_EQ(read(config), "config");
  primary_.files->remove(config);
  primary_.files->remove(pack);
  EXPECT_FALSE(stores().heal(pack, is(pack)));
  EXPECT_FALSE(stores().heal(config, [](base::ByteView) { return true; }));
  EXPECT_EQ(primary_.files->find_size(pack), std::nullopt);
}

TEST_F(MirrorStoreTest, WithoutAWholeCopyNothingIsChanged) {
  put_everywhere(Kind::config, "config");
  const Name pack = put_everywhere(Kind::data, "pack");
  for (Place* place : {&primary_, &far_, &near_}) rot(*place, pack);
  const std::string rotten = read(pack);
  EXPECT_FALSE(stores().heal(pack, is(pack)));
  EXPECT_EQ(read(pack), rotten);
  EXPECT_THAT(repairs_, IsEmpty());
}

TEST_F(MirrorStoreTest, APrimaryThatCannotBeRepairedIsToldSo) {
  put_everywhere(Kind::config, "config");
  Name pack = put_everywhere(Kind::data, "pack");
  rot(primary_, pack);
  primary_.store->before_each([](const test::StoreCall& call) {
    if (call.op == test::StoreOp::put) throw base::IoError("read-only", 0);
  });
  EXPECT_FALSE(stores().heal(pack, is(pack)));
  EXPECT_THAT(repairs_, IsEmpty());
  // But where any copy will do, another one is read from now on.
  pack.any_copy = true;
  near_.is_away = true;
  EXPECT_TRUE(stores().heal(pack, is(pack)));
}

// A prune that believed a mirror would remove what the newest snapshots need.
TEST_F(MirrorStoreTest, WhileSomebodyWritesAMirrorsListsAreNotBelieved) {
  put_everywhere(Kind::config, "config");
  const Name snapshot = put_everywhere(Kind::snapshot, "snapshot");
  const Name pack = put_everywhere(Kind::data, "pack");
  EXPECT_EQ(read(snapshot), "snapshot");
  auto strictly = stores().strictly();
  primary_.is_away = true;
  EXPECT_THROW(stores().list(Kind::snapshot, [](const FileInfo&) {}), base::IoError);
  EXPECT_THROW(read(snapshot), base::IoError);
  EXPECT_EQ(read_pack(pack, 4), "pack");
  strictly.reset();
  EXPECT_EQ(read(snapshot), "snapshot");
}

}  // namespace
}  // namespace davit::store
