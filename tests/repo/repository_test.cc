#include "repo/repository.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "base/errors.h"
#include "repo/keyring.h"
#include "repo/upload.h"
#include "support/fault_store.h"
#include "support/memory_store.h"
#include "support/test_repository.h"

namespace davit::repo {
namespace {

using base::Id;
using store::Kind;
using store::Name;

size_t count(store::Store& store, Kind kind) {
  size_t files = 0;
  store.list(kind, [&](const store::FileInfo&) { ++files; });
  return files;
}

TEST(Repository, IsOpenedWithThePasswordThatMadeIt) {
  const auto store = std::make_shared<test::MemoryStore>();
  EXPECT_THROW(Repository::open(store, "open sesame"), base::NoRepository);
  const auto made = Repository::init(store, "open sesame");
  const auto opened = Repository::open(store, "open sesame");
  EXPECT_EQ(opened->id(), made->id());
  EXPECT_EQ(opened->key(), made->key());
  EXPECT_EQ(opened->key_id(), made->key_id());
  EXPECT_EQ(opened->config(), made->config());
  EXPECT_FALSE(made->id().is_zero());
  EXPECT_THROW(Repository::open(store, "open barley"), base::WrongPassword);
  EXPECT_THROW(Repository::init(store, "open sesame"), base::Conflict);
}

TEST(Repository, AKilledInitIsCompleted) {
  const auto memory = std::make_shared<test::MemoryStore>();
  const auto store = std::make_shared<test::FaultStore>(memory);
  store->before_each([](const test::StoreCall& call) {
    if (call.op == test::StoreOp::put && call.name.kind == Kind::config)
      throw base::IoError("killed", 0);
  });
  EXPECT_THROW(Repository::init(store, "one"), base::IoError);
  EXPECT_EQ(count(*memory, Kind::key), 1u);
  EXPECT_THROW(Repository::init(memory, "another"), base::Conflict);
  const auto made = Repository::init(memory, "one");
  EXPECT_EQ(count(*memory, Kind::key), 1u);
  EXPECT_EQ(Repository::open(memory, "one")->id(), made->id());
}

TEST(Repository, IsNeverMadeOverTheRestsOfAnother) {
  for (const Kind kind : {Kind::snapshot, Kind::index, Kind::data}) {
    const auto store = std::make_shared<test::MemoryStore>();
    store->put({kind, Id{{1}}}, base::as_bytes("x"));
    EXPECT_THROW(Repository::init(store, "p"), base::Conflict);
    EXPECT_EQ(count(*store, Kind::key), 0u);
  }
}

TEST(Keyring, HasAsManyPasswordsAsOneLikes) {
  const auto store = std::make_shared<test::MemoryStore>();
  const auto made = Repository::init(store, "first");
  const Id second = add_key(*store, made->key(), "second", "me", "here");
  EXPECT_THROW(add_key(*store, made->key(), "", "me", "here"), base::UsageError);
  const auto opened = Repository::open(store, "second");
  EXPECT_EQ(opened->key(), made->key());
  EXPECT_EQ(opened->key_id(), second);

  const auto keys = list_keys(*store);
  ASSERT_EQ(keys.size(), 2u);
  const auto& mine = keys[0].id == second ? keys[0] : keys[1];
  EXPECT_EQ(mine.user, "me");
  EXPECT_EQ(mine.host, "here");

  EXPECT_THROW(remove_key(*store, second.hex(), second), base::Conflict);
  EXPECT_THROW(remove_key(*store, "", second), base::UsageError);
  EXPECT_THROW(remove_key(*store, "xyz", second), base::NotFound);
  remove_key(*store, made->key_id().hex().substr(0, 16), second);
  EXPECT_THROW(remove_key(*store, second.hex(), Id{}), base::Conflict);  // the last one
  EXPECT_THROW(Repository::open(store, "first"), base::WrongPassword);
  EXPECT_NO_THROW(Repository::open(store, "second"));
}

TEST(Keyring, ADamagedKeyLocksNobodyElseOut) {
  const auto store = std::make_shared<test::MemoryStore>();
  const auto made = Repository::init(store, "first");
  const Id second = add_key(*store, made->key(), "second", "me", "here");
  store->damage({Kind::key, made->key_id()}, [](base::Bytes& bytes) { bytes[10] ^= 1; });
  store->put({Kind::key, Id{{7}}}, base::as_bytes("no key at all"));
  EXPECT_EQ(Repository::open(store, "second")->key_id(), second);
  EXPECT_THROW(Repository::open(store, "first"), base::WrongPassword);
  EXPECT_EQ(list_keys(*store).size(), 3u);
}

TEST(Repository, ReadsAnyCopyThatIsWhole) {
  const auto store = std::make_shared<test::MemoryStore>();
  const auto repository = test::make_repository(store);
  const auto content = test::compressible_bytes(100'000, 1);
  Id id;
  for (int copy = 0; copy < 3; ++copy) {
    UploadSession session(*repository);
    id = session.save_blob(BlobType::data, content).id;
    if (copy > 0) session.save_blob(BlobType::data, id, content, true);
    session.finish();
  }
  const auto copies = repository->index().find_all(BlobType::data, id);
  ASSERT_EQ(copies.size(), 3u);
  EXPECT_EQ(repository->load_blob(BlobType::data, id), content);
  store->remove({Kind::data, copies[0].pack});
  store->damage({Kind::data, copies[1].pack},
                [&](base::Bytes& bytes) { bytes[copies[1].offset + 20] ^= 1; });
  EXPECT_EQ(repository->load_blob(BlobType::data, id), content);
  store->damage({Kind::data, copies[2].pack}, [](base::Bytes& bytes) { bytes.resize(50); });
  try {
    repository->load_blob(BlobType::data, id);
    FAIL();
  } catch (const base::Corrupt& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr(copies[2].pack.hex()));
  }
  EXPECT_THROW(repository->load_blob(BlobType::tree, id), base::NotFound);
}

TEST(Repository, RefusesABlobThatIsAnother) {
  const auto repository = test::make_repository();
  UploadSession session(*repository);
  const Id one = session.save_blob(BlobType::data, test::random_bytes(1000, 1)).id;
  session.finish();
  const auto location = *repository->index().find(BlobType::data, one);
  base::Bytes out;
  EXPECT_THROW(repository->load_blob_from(location, BlobType::data, Id{{9}}, out), base::Corrupt);
  auto wrong = location;
  wrong.plain_length += 1;
  EXPECT_THROW(repository->load_blob_from(wrong, BlobType::data, one, out), base::Corrupt);
  wrong = location;
  wrong.plain_length = 0;
  EXPECT_THROW(repository->load_blob_from(wrong, BlobType::data, one, out), base::Corrupt);
  wrong = location;
  wrong.length = 31;
  EXPECT_THROW(repository->load_blob_from(wrong, BlobType::data, one, out), base::Corrupt);
  repository->load_blob_from(location, BlobType::data, one, out);
  EXPECT_EQ(out, test::random_bytes(1000, 1));
}

TEST(Repository, RefreshingFollowsWhatOthersAddAndRemove) {
  const auto store = std::make_shared<test::MemoryStore>();
  const auto ours = test::make_repository(store), theirs = test::make_repository(store->another());
  std::vector<Id> blobs;
  for (uint64_t i = 0; i < 5; ++i) {
    UploadSession session(*theirs);
    blobs.push_back(session.save_blob(BlobType::data, test::random_bytes(100, i)).id);
    session.finish();
  }
  ours->refresh_index();
  for (const Id& blob : blobs) EXPECT_TRUE(ours->index().contains(BlobType::data, blob));
  EXPECT_EQ(ours->index().files().size(), 5u);

  const Id file = ours->index().files().front();
  const Id pack = ours->index().packs_of(file).front();
  store->remove({Kind::index, file});
  ours->refresh_index();
  EXPECT_EQ(ours->index().files().size(), 4u);
  ours->index().for_each([&](const IndexEntry& entry) { EXPECT_NE(entry.location.pack, pack); });
}

TEST(Repository, RefreshingReadsEachIndexFileOnce) {
  const auto store = std::make_shared<test::FaultStore>(std::make_shared<test::MemoryStore>());
  const auto ours = test::make_repository(store), theirs = test::make_repository(store);
  UploadSession session(*theirs);
  session.save_blob(BlobType::data, test::random_bytes(100, 1));
  session.finish();
  ours->refresh_index();
  const uint64_t before = store->calls();
  ours->refresh_index();
  EXPECT_EQ(store->calls(), before + 1);  // the listing
}

// The story: another prunes while we load: it writes a new index file and removes the one we have
// listed.
TEST(Repository, RefreshingStartsAgainWhenAnIndexFileVanishes) {
  const auto memory = std::make_shared<test::MemoryStore>();
  const auto store = std::make_shared<test::FaultStore>(memory);
  const auto ours = test::make_repository(store), theirs = test::make_repository(memory);
  UploadSession session(*theirs);
  const Id blob = session.save_blob(BlobType::data, test::random_bytes(100, 1)).id;
  session.finish();
  const Id old = theirs->index().files().front();
  bool replaced = false;
  store->before_each([&](const test::StoreCall& call) {
    if (call.op != test::StoreOp::get || std::exchange(replaced, true)) return;
    const auto json = theirs->load_unpacked(Kind::index, old);
    theirs->save_unpacked(Kind::index, json);
    memory->remove({Kind::index, old});
  });
  ours->refresh_index();
  EXPECT_TRUE(replaced);
  EXPECT_TRUE(ours->index().contains(BlobType::data, blob));
  EXPECT_FALSE(ours->index().has_file(old));
}

TEST(Repository, ADamagedIndexFileIsNamed) {
  const auto store = std::make_shared<test::MemoryStore>();
  const auto repository = test::make_repository(store);
  const Id file =
      repository->save_unpacked(Kind::index, base::as_bytes(R"({"packs":[{"id":"xyz"}]})"));
  try {
    repository->refresh_index();
    FAIL();
  } catch (const base::Corrupt& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr(file.hex()));
  }
  store->damage({Kind::index, file}, [](base::Bytes& bytes) { bytes.back() ^= 1; });
  EXPECT_THROW(repository->refresh_index(), base::Corrupt);
}

Snapshot snapshot(std::string_view time, std::string host) {
  Snapshot snapshot;
  snapshot.time = parse_zoned_time(time);
  snapshot.tree = Id{{1, 2, 3}};
  snapshot.paths = {"/volumes/a"};
  snapshot.hostname = std::move(host);
  return snapshot;
}

TEST(Repository, GivesSnapshotsOldestFirstAndReadsEachOnce) {
  const auto store = std::make_shared<test::FaultStore>(std::make_shared<test::MemoryStore>());
  const auto ours = test::make_repository(store), theirs = test::make_repository(store);
  const Id third = theirs->save_snapshot(snapshot("2026-11-22T12:00:00Z", "c"));
  const Id first = theirs->save_snapshot(snapshot("2026-11-22T12:00:00+02:00", "a"));
  const Id second = theirs->save_snapshot(snapshot("2026-11-22T11:00:00Z", "b"));
  auto files = ours->load_snapshots();
  ASSERT_EQ(files.size(), 3u);
  EXPECT_EQ(files[0].id, first);
  EXPECT_EQ(files[1].id, second);
  EXPECT_EQ(files[2].id, third);
  EXPECT_EQ(files[0].snapshot.hostname, "a");
  EXPECT_EQ(files[0].snapshot.id, first);

  const uint64_t before = store->calls();
  EXPECT_EQ(ours->load_snapshots().size(), 3u);
  EXPECT_EQ(store->calls(), before + 1);
  store->remove({Kind::snapshot, second});
  EXPECT_EQ(ours->load_snapshots().size(), 2u);
  EXPECT_THROW(ours->load_snapshot(second), base::NotFound);
}

TEST(Repository, LeavesOutADamagedSnapshotOnlyWhereItIsHeardOf) {
  const auto memory = std::make_shared<test::MemoryStore>();
  const auto store = std::make_shared<test::FaultStore>(memory);
  const auto repository = test::make_repository(store);
  const Id good = repository->save_snapshot(snapshot("2026-11-22T12:00:00Z", "a"));
  const Id bad = repository->save_unpacked(Kind::snapshot, base::as_bytes("{\"time\":1}"));
  EXPECT_THROW(repository->load_snapshots(), base::Corrupt);
  std::map<Id, std::string> errors;
  const auto files =
      repository->load_snapshots([&](const Id& id, const std::string& why) { errors[id] = why; });
  ASSERT_EQ(files.size(), 1u);
  EXPECT_EQ(files[0].id, good);
  EXPECT_EQ(errors.size(), 1u);
  EXPECT_FALSE(errors[bad].empty());

  // A store that cannot be read is no damaged snapshot: "there are none" must never be guessed.
  const auto cold = test::make_repository(store);
  store->fail_call(store->calls() + 2);
  EXPECT_THROW(cold->load_snapshots([](const Id&, const std::string&) {}), base::IoError);
}

TEST(Repository, UnpackedFilesAreBoundToTheirNames) {
  const auto store = std::make_shared<test::MemoryStore>();
  const auto repository = test::make_repository(store);
  const Id a = repository->save_unpacked(Kind::snapshot, base::as_bytes("{\"a\":1}"));
  const Id b = repository->save_unpacked(Kind::snapshot, base::as_bytes("{\"b\":1}"));
  EXPECT_EQ(base::as_text(repository->load_unpacked(Kind::snapshot, a)), "{\"a\":1}");
  store->put({Kind::snapshot, a}, store->get({Kind::snapshot, b}, 10'000));
  EXPECT_THROW(repository->load_unpacked(Kind::snapshot, a), base::Corrupt);
  EXPECT_THROW(repository->load_unpacked(Kind::lock, b), base::NotFound);
}

TEST(Compression, HasResticsWords) {
  EXPECT_EQ(parse_compression("auto"), Compression::automatic);
  EXPECT_EQ(parse_compression("off"), Compression::off);
  EXPECT_EQ(parse_compression("max"), Compression::max);
  EXPECT_THROW(parse_compression("best"), base::UsageError);
}

}  // namespace
}  // namespace davit::repo
