// Repositories that we make under the real restic, and restic's under us.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <set>

#include "base/errors.h"
#include "base/files.h"
#include "repo/keyring.h"
#include "repo/tree.h"
#include "repo/upload.h"
#include "store/open.h"
#include "support/restic.h"
#include "support/temp_dir.h"
#include "support/test_repository.h"

namespace davit::repo {
namespace {

using base::Id;
using testing::HasSubstr;

constexpr const char* kPassword = "correct horse";

struct InteropRepo : testing::Test {
  void SetUp() override { DAVIT_NEEDS_RESTIC(); }

  std::shared_ptr<store::Store> open_store() { return store::open_store(directory / "repository"); }
  std::unique_ptr<Repository> open(const char* password = kPassword) {
    return Repository::open(open_store(), password);
  }
  void write(const std::string& name, const base::Bytes& content) {
    std::ofstream(directory / name, std::ios::binary)
        .write(reinterpret_cast<const char*>(content.data()),
               static_cast<std::streamsize>(content.size()));
  }

  test::TempDir directory;
  test::Restic restic{directory / "repository", kPassword};
};

// A snapshot of one directory with these files, each cut into pieces of `piece` bytes.
Id save_files(Repository& repository, UploadSession& session,
              const std::map<std::string, base::Bytes>& files, size_t piece) {
  TreeEncoder tree;
  for (const auto& [name, content] : files) {
    Node node;
    node.name = name;
    node.mode = go_mode(S_IFREG | 0640);
    node.size = content.size();
    node.links = 1;
    for (size_t at = 0; at < content.size(); at += piece)
      node.content.push_back(
          session
              .save_blob(BlobType::data,
                         base::ByteView(content).subspan(at, std::min(piece, content.size() - at)))
              .id);
    tree.add(node);
  }
  Snapshot snapshot;
  snapshot.tree = session.save_blob(BlobType::tree, tree.finish()).id;
  session.finish();
  snapshot.time = parse_zoned_time("2026-11-22T16:00:00.5+01:00");
  snapshot.paths = {"/volumes/data"};
  snapshot.hostname = "host";
  snapshot.username = "root";
  snapshot.tags = {"one", "two"};
  return repository.save_snapshot(snapshot);
}

TEST_F(InteropRepo, ResticOpensAnEmptyRepositoryOfOurs) {
  const auto ours = Repository::init(open_store(), kPassword);
  const auto config = restic.ask({"cat", "config"});
  ASSERT_TRUE(succeeded(config));
  EXPECT_THAT(config.output, HasSubstr(ours->id().hex()));
  EXPECT_THAT(config.output, HasSubstr(ours->config().chunker_polynomial.format()));
  EXPECT_TRUE(succeeded(restic.ask({"check", "--read-data"})));
  EXPECT_NE(test::Restic(directory / "repository", "wrong").ask({"cat", "config"}).exit_code, 0);
}

TEST_F(InteropRepo, ResticChecksAndRestoresWhatWeUploaded) {
  const auto ours = Repository::init(open_store(), kPassword);
  for (const Compression compression :
       {Compression::automatic, Compression::off, Compression::max}) {
    ours->set_compression(compression);
    const uint64_t seed = 10 * static_cast<uint64_t>(compression);
    std::map<std::string, base::Bytes> files{
        {"big", test::random_bytes(3'000'000, seed + 1)},
        {"empty", {}},
        {"one byte", test::random_bytes(1, seed + 2)},
        {"rows", test::compressible_bytes(2'000'000, seed + 3)}};
    // Small packs, so that there are many, and several index files.
    UploadSession session(*ours, {.pack_size_bytes = 64 << 10, .index_blobs = 30});
    const Id snapshot = save_files(*ours, session, files, 20'001);
    const auto check = restic.ask({"check", "--read-data"});
    EXPECT_TRUE(succeeded(check));
    EXPECT_THAT(check.output, HasSubstr("no errors were found"));

    const std::string target = directory / ("restored-" + std::to_string(seed));
    ASSERT_TRUE(succeeded(restic.ask({"restore", snapshot.hex(), "--target", target})));
    for (const auto& [name, content] : files)
      EXPECT_EQ(base::get_file(target + "/" + name, 1 << 30), content) << name;
  }
  const auto list = restic.ask({"snapshots", "--json"});
  EXPECT_THAT(list.output, testing::AllOf(HasSubstr("/volumes/data"), HasSubstr("\"two\""),
                                          HasSubstr("2026-11-22T16:00:00.5+01:00")));
  // It repacks and removes; we see what it left.
  ASSERT_TRUE(succeeded(restic.ask({"forget", "latest"})));
  ASSERT_TRUE(succeeded(restic.ask({"prune", "--max-unused", "0"})));
  ASSERT_TRUE(succeeded(restic.ask({"check", "--read-data", "--check-unused"})));
  ours->refresh_index();
  EXPECT_EQ(ours->load_snapshots().size(), 2u);
  size_t blobs = 0;
  ours->index().for_each([&](const IndexEntry& entry) {
    ++blobs;
    EXPECT_NO_THROW(ours->load_blob(entry.type, entry.id));
  });
  EXPECT_GT(blobs, 400u);
}

TEST_F(InteropRepo, LargeBlobsAndFullPacksPassToo) {
  const auto ours = Repository::init(open_store(), kPassword);
  const std::map<std::string, base::Bytes> files{{"a", test::random_bytes(20 << 20, 1)},
                                                 {"b", test::compressible_bytes(20 << 20, 2)}};
  UploadSession session(*ours);
  save_files(*ours, session, files, 7 << 20);
  EXPECT_TRUE(succeeded(restic.ask({"check", "--read-data"})));
}

TEST_F(InteropRepo, PasswordsOfEitherOpenForBoth) {
  const auto ours = Repository::init(open_store(), kPassword);
  base::write_file_atomic(directory / "new", base::as_bytes("theirs\n"));
  ASSERT_TRUE(succeeded(restic.ask({"key", "add", "--new-password-file", directory / "new"})));
  const auto opened = open("theirs");
  EXPECT_EQ(opened->key().encrypt, ours->key().encrypt);  // old ones clamp the rest of it
  EXPECT_EQ(opened->id(), ours->id());

  const Id added = add_key(*open_store(), ours->key(), "of ours", "me", "here");
  const test::Restic with_ours(directory / "repository", "of ours");
  const auto list = with_ours.ask({"key", "list"});
  ASSERT_TRUE(succeeded(list));
  for (const auto& key : list_keys(*open_store()))
    EXPECT_THAT(list.output, HasSubstr(key.id.hex().substr(0, 8)));
  EXPECT_EQ(list_keys(*open_store()).size(), 3u);

  remove_key(*open_store(), opened->key_id().hex().substr(0, 12), ours->key_id());
  EXPECT_NE(test::Restic(directory / "repository", "theirs").ask({"cat", "config"}).exit_code, 0);
  ASSERT_TRUE(succeeded(restic.ask({"key", "remove", added.hex()})));
  EXPECT_THROW(open("of ours"), base::WrongPassword);
  ASSERT_TRUE(succeeded(restic.ask({"key", "passwd", "--new-password-file", directory / "new"})));
  EXPECT_THROW(open(), base::WrongPassword);
  EXPECT_NO_THROW(open("theirs"));
}

TEST_F(InteropRepo, WeReadAllThatResticWrote) {
  ASSERT_TRUE(succeeded(restic.ask({"init"})));
  base::make_directories(directory / "source/deep/er");
  write("source/big", test::random_bytes(20 << 20, 1));
  write("source/deep/rows", test::compressible_bytes(3 << 20, 2));
  for (int i = 0; i < 200; ++i)
    write("source/deep/er/" + std::to_string(i),
          test::compressible_bytes(1000 + i, static_cast<uint64_t>(i)));
  ASSERT_TRUE(succeeded(restic.ask({"backup", "--host", "theirs", directory / "source"})));
  write("source/more", test::compressible_bytes(1 << 20, 3));
  ASSERT_TRUE(succeeded(restic.ask(
      {"backup", "--host", "theirs", "--tag", "x", "--compression", "off", directory / "source"})));

  const auto ours = open();
  ours->refresh_index();
  EXPECT_EQ(ours->index().files().size(), 2u);
  size_t compressed = 0, plain = 0;
  ours->index().for_each([&](const IndexEntry& entry) {
    ++(entry.location.plain_length != 0 ? compressed : plain);
    base::Bytes out;
    EXPECT_NO_THROW(ours->load_blob_from(entry.location, entry.type, entry.id, out))
        << entry.id.hex();
  });
  EXPECT_GT(compressed, 200u);
  EXPECT_GE(plain, 1u);
  const auto snapshots = ours->load_snapshots();
  ASSERT_EQ(snapshots.size(), 2u);
  EXPECT_EQ(snapshots[1].snapshot.parent, snapshots[0].id);
  EXPECT_EQ(snapshots[1].snapshot.tags, std::vector<std::string>{"x"});

  // Down to the file, byte for byte.
  Id tree = snapshots[1].snapshot.tree;
  std::vector<Node> found;
  while (found.empty()) {
    for (auto& node : parse_tree(ours->load_blob(BlobType::tree, tree))) {
      if (node.name == "big" || node.name == "more")
        found.push_back(node);
      else if (node.subtree && found.empty())
        tree = *node.subtree;
    }
  }
  ASSERT_EQ(found.size(), 2u);
  for (const auto& node : found) {
    base::Bytes content;
    for (const Id& blob : node.content)
      base::append(content, ours->load_blob(BlobType::data, blob));
    EXPECT_EQ(content, base::get_file(directory / ("source/" + node.name), 1 << 30)) << node.name;
  }
}

TEST_F(InteropRepo, BothWriteAtTheSameTime) {
  const auto ours = Repository::init(open_store(), kPassword);
  base::make_directories(directory / "source");
  write("source/big", test::random_bytes(30 << 20, 77));
  const auto theirs = restic.start({"backup", directory / "source"});
  for (uint64_t round = 0; round < 5; ++round) {
    ours->refresh_index();
    UploadSession session(*ours);
    save_files(*ours, session, {{"f", test::random_bytes(500'000, round)}}, 100'000);
  }
  EXPECT_TRUE(succeeded(theirs->wait()));
  EXPECT_TRUE(succeeded(restic.ask({"check", "--read-data"})));
  EXPECT_EQ(ours->load_snapshots().size(), 6u);
}

}  // namespace
}  // namespace davit::repo
