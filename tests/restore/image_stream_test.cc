// An image out of a snapshot: in order, whole, of the length that was told, or not at all.
#include "restore/image_stream.h"

#include <gtest/gtest.h>

#include "repo/tree.h"
#include "support/fault_store.h"
#include "support/image_fixture.h"
#include "support/made_repository.h"
#include "support/tar_maker.h"
#include "support/test_repository.h"

namespace davit {
namespace {

using test::docker_archive;
using test::ImageFixture;
using test::members_of;

std::string noise(size_t size, uint64_t seed) {
  return std::string(base::as_text(test::random_bytes(size, seed)));
}

std::string read_all(restore::ImageStream& stream, size_t piece = 1 << 16) {
  std::string all;
  base::Bytes buffer(piece);
  while (const size_t count = stream.read(buffer))
    all.append(reinterpret_cast<const char*>(buffer.data()), count);
  return all;
}

class ImageOut : public ::testing::Test {
 protected:
  restore::ImageStream open(const base::Id& tree, restore::ImageStreamOptions options = {}) {
    return restore::ImageStream(fixture_.repository(), tree, "/containers/web/image", options);
  }
  ImageFixture fixture_;
};

TEST_F(ImageOut, CanBeReadAgainFromAnyPoint) {
  const auto saved = fixture_.save(docker_archive({noise(5 << 20, 1), noise(700, 2)}, "t:1"));
  base::Progress progress;
  restore::ImageStreamOptions options;
  options.progress = &progress;
  auto stream = open(saved.result.tree, options);
  const std::string whole = read_all(stream);
  EXPECT_EQ(whole.size(), stream.size_bytes());
  EXPECT_EQ(progress.bytes_done, saved.result.bytes);
  EXPECT_EQ(progress.bytes_total, saved.result.bytes);
  EXPECT_EQ(progress.files_done, progress.files_total);
  base::Bytes buffer(1000);
  EXPECT_EQ(stream.read(buffer), 0u);
  for (const size_t stop : {size_t{0}, size_t{100}, size_t{600}, whole.size() / 2, whole.size()}) {
    stream.rewind();
    base::Bytes part(stop + 1);
    size_t filled = 0;
    while (filled < stop) {
      const size_t count = stream.read(std::span(part).subspan(filled, stop - filled));
      ASSERT_GT(count, 0u);
      filled += count;
    }
    EXPECT_EQ(std::string_view(whole).substr(0, stop),
              base::as_text(base::ByteView(part).first(stop)));
    stream.rewind();
    EXPECT_EQ(read_all(stream), whole) << stop;
    EXPECT_EQ(progress.bytes_done, saved.result.bytes);
  }
}

// Far more than is read ahead: pieces come in order all the same.
TEST_F(ImageOut, MoreThanIsReadAhead) {
  std::vector<std::string> layers;
  for (uint64_t i = 0; i < 30; ++i) layers.push_back(noise((3 << 20) + 17 * i, 100 + i));
  const std::string in = docker_archive(layers, "t:1");
  const auto saved = fixture_.save(in);
  auto stream = open(saved.result.tree);
  EXPECT_EQ(members_of(read_all(stream, 333'333)), members_of(in));
}

TEST_F(ImageOut, LeavingInTheMiddleLeavesNothingBehind) {
  const auto saved = fixture_.save(docker_archive({noise(20 << 20, 3)}, "t:1"));
  for (size_t count : {0, 1, 512, 5'000'000}) {
    auto stream = open(saved.result.tree);
    base::Bytes buffer(count);
    stream.read(buffer);
  }  // threads are joined here
}

TEST_F(ImageOut, StopsWhenAsked) {
  const auto saved = fixture_.save(docker_archive({noise(20 << 20, 4)}, "t:1"));
  std::stop_source stop;
  restore::ImageStreamOptions options;
  options.stop = stop.get_token();
  auto stream = open(saved.result.tree, options);
  base::Bytes buffer(10'000);
  EXPECT_GT(stream.read(buffer), 0u);
  stop.request_stop();
  EXPECT_THROW(stream.read(buffer), base::Cancelled);
  EXPECT_THROW(open(saved.result.tree, options), base::Cancelled);
}

TEST_F(ImageOut, NoImageIsNotFound) {
  const auto saved = fixture_.save(docker_archive({"x"}, "t:1"));
  const auto at = [&](const std::string& path) {
    return restore::ImageStream(fixture_.repository(), saved.result.tree, path, {}).size_bytes();
  };
  EXPECT_GT(at("/containers/web/image"), 0u);
  EXPECT_THROW(at("/containers/other/image"), base::NotFound);
  EXPECT_THROW(at("/containers/web/image/manifest.json"), base::NotFound);
  EXPECT_THROW(at("/containers/web/none"), base::NotFound);
}

// ---- a damaged or hostile repository

class HostileImageOut : public ImageOut {
 protected:
  HostileImageOut() {
    repo::UploadSession session(fixture_.repository());
    blob_ = session.save_blob(repo::BlobType::data, base::as_bytes("evil")).id;
    session.finish();
  }
  repo::Node file(const std::string& name, uint64_t size = 4) const {
    repo::Node node;
    node.name = name;
    node.mode = repo::go_mode(S_IFREG | 0600);
    node.size = size;
    node.content = {blob_};
    return node;
  }
  base::Id put(const std::vector<repo::Node>& nodes) {
    repo::TreeEncoder encoder;
    for (const repo::Node& node : nodes) encoder.add(node);
    repo::UploadSession session(fixture_.repository());
    const base::Id id = session.save_blob(repo::BlobType::tree, encoder.finish()).id;
    session.finish();
    return id;
  }
  static repo::Node directory(const std::string& name, const base::Id& tree) {
    repo::Node node;
    node.name = name;
    node.type = repo::NodeType::dir;
    node.mode = repo::go_mode(S_IFDIR | 0700);
    node.subtree = tree;
    return node;
  }
  void expect_refused(const std::vector<repo::Node>& nodes, const std::string& word) {
    const base::Id root = put(
        {directory("containers", put({directory("web", put({directory("image", put(nodes))}))}))});
    try {
      auto stream = open(root);
      read_all(stream);
      FAIL() << "was read; should say " << word;
    } catch (const base::Corrupt& error) {
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
    }
  }
  base::Id blob_;
};

TEST_F(HostileImageOut, NodesThatNoImageHas) {
  repo::Node device = file("dev");
  device.type = repo::NodeType::dev;
  device.content.clear();
  expect_refused({device}, "no file, directory or link");
  expect_refused({file("f", 5)}, "another size");
  expect_refused({file("f", 0)}, "another size");
  repo::Node lacking = file("f");
  lacking.content = {base::Id{}};
  expect_refused({lacking}, "lacks its blob");
  base::Id tree = put({file("f")});
  for (int depth = 0; depth < 150; ++depth) tree = put({directory("d", tree)});
  expect_refused({directory("d", tree)}, "too deep");
}

TEST(DamagedImageOut, ALostOrDamagedPackIsAnError) {
  auto memory = std::make_shared<test::MemoryStore>();
  const auto repository = test::make_repository(memory);
  repo::UploadSession session(*repository);
  const std::string in = docker_archive({noise(40 << 20, 5)}, "t:1");
  const auto saved = archive::archive_container(*repository, session, {"web", {}, {}},
                                                test::in_pieces(in, 1 << 20), {});
  session.finish();
  restore::ImageStream stream(*repository, saved.tree, "/containers/web/image", {});
  const std::string whole = read_all(stream);
  EXPECT_EQ(members_of(whole), members_of(in));
  // Without one of the packs the stream breaks off, and never ends well.
  int broken = 0;
  for (const base::Id& pack : test::ids_of(*memory, store::Kind::data)) {
    const base::Bytes bytes = memory->get({store::Kind::data, pack}, 1 << 30);
    memory->remove({store::Kind::data, pack});
    stream.rewind();
    try {
      EXPECT_EQ(read_all(stream), whole);  // only trees were in it
    } catch (const base::Corrupt& error) {
      ++broken;
      EXPECT_NE(std::string(error.what()).find("pack"), std::string::npos) << error.what();
    }
    memory->put({store::Kind::data, pack}, bytes);
  }
  EXPECT_GT(broken, 1);
  stream.rewind();
  EXPECT_EQ(read_all(stream), whole);
}

}  // namespace
}  // namespace davit
