// Streams that somebody made to harm, or that something damaged: refused with a word that says why,
// and no snapshot is made.
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "archive/image_stream.h"
#include "support/image_fixture.h"
#include "support/stream.h"
#include "support/tar_maker.h"
#include "support/test_repository.h"

namespace davit {
namespace {

using nlohmann::json;
using test::blob_of;
using test::digest_of;
using test::docker_archive;
using test::ImageFixture;
using test::oci_layout;
using test::TarMaker;

class HostileImage : public ::testing::Test {
 protected:
  // The words of the refusal, "" where it is saved.
  std::string refusal(const std::string& stream, archive::ImageStreamOptions options = {}) {
    try {
      fixture_.save(stream, "web", 5000, options);
    } catch (const base::Corrupt& error) {
      EXPECT_EQ(fixture_.repository().load_snapshots().size(), saved_);
      return error.what();
    }
    ++saved_;
    return "";
  }
  void expect_refused(const std::string& stream, const std::string& word) {
    const std::string said = refusal(stream);
    EXPECT_NE(said.find(word), std::string::npos) << "said: " << said << "; not: " << word;
  }
  // A good image, and these members.
  static TarMaker image() {
    TarMaker tar;
    tar.file("c.json", "{}").file("manifest.json", R"([{"Config":"c.json","Layers":[]}])");
    return tar;
  }

  ImageFixture fixture_;
  size_t saved_ = 0;
};

TEST_F(HostileImage, NamesThatEscape) {
  for (const std::string name :
       {"../x", "a/../x", "a/..", "..", "/etc/passwd", "/", "a//b", "a/./b", "a/", "."})
    expect_refused(image().file(name, "evil").end().bytes(), "the name '" + name + "'");
  for (const std::string name : {"../", "/abs/", "a/../b/", "//", "a//"})
    expect_refused(image().directory(name).end().bytes(), "the name '" + name + "'");
  expect_refused(image().pax({{"path", std::string(256, 'n')}}).file("x", "").end().bytes(),
                 "no path");
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += "d/";
  expect_refused(image().pax({{"path", deep + "x"}}).file("x", "").end().bytes(), "too deep");
  EXPECT_NE(refusal(image().file("../\x1b[2J", "").end().bytes()).find("'../?[2J'"),
            std::string::npos);
}

TEST_F(HostileImage, MembersThatCannotBeBeside) {
  expect_refused(image().file("a", "1").file("a", "2").end().bytes(), "twice");
  expect_refused(image().file("a", "1").file("./a", "2").end().bytes(), "twice");
  expect_refused(image().file("a", "1").symlink("a", "b").end().bytes(), "twice");
  expect_refused(image().directory("a/").file("a", "1").end().bytes(), "twice");
  expect_refused(image().file("a", "1").file("a/b", "2").end().bytes(),
                 "directory where there is none");
  expect_refused(image().file("a", "1").directory("a/").end().bytes(),
                 "directory where there is none");
  // The classic: a link out, then a file through it.
  expect_refused(image().symlink("a", "/etc").file("a/passwd", "evil").end().bytes(),
                 "directory where there is none");
  EXPECT_EQ(refusal(image().directory("a/").file("a/b", "1").directory("a/").end().bytes()), "");
}

TEST_F(HostileImage, HardLinksToWhatIsNotThere) {
  expect_refused(image().hard_link("a", "b").end().bytes(), "hard link");
  expect_refused(image().hard_link("a", "a").end().bytes(), "hard link");
  expect_refused(image().hard_link("a", "b").file("b", "later").end().bytes(), "hard link");
  expect_refused(image().hard_link("a", "../b").end().bytes(), "no path");
  expect_refused(image().hard_link("a", "/etc/passwd").end().bytes(), "absolute");
  expect_refused(image().directory("d/").hard_link("a", "d").end().bytes(), "hard link");
  expect_refused(image().symlink("s", "/etc/shadow").hard_link("a", "s").end().bytes(),
                 "hard link");
}

TEST_F(HostileImage, TooManyMembers) {
  archive::ImageStreamOptions options;
  options.max_members = 100;
  TarMaker tar = image();
  for (int i = 0; i < 98; ++i) tar.file("f" + std::to_string(i), "");
  EXPECT_EQ(refusal(TarMaker(tar).end().bytes(), options), "");
  EXPECT_NE(refusal(TarMaker(tar).file("one more", "").end().bytes(), options)
                .find("more than 100 members"),
            std::string::npos);
  // Directories that nobody asked for count, too.
  TarMaker deep = image();
  for (int i = 0; i < 20; ++i) deep.file("d" + std::to_string(i) + "/d/d/d/d/f", "");
  EXPECT_NE(refusal(deep.end().bytes(), options).find("more than 100 members"), std::string::npos);
}

// It never ends, so only a limit ends it; and it is not kept.
TEST_F(HostileImage, AMillionMembers) {
  uint64_t number = 0;
  repo::UploadSession session(fixture_.repository());
  try {
    archive::archive_container(
        fixture_.repository(), session, {"web", {}, {}},
        [&] {
          return base::to_bytes(
              base::as_bytes(TarMaker().header("f" + std::to_string(number++), '0', 0).bytes()));
        },
        {});
    FAIL() << "a million members were taken";
  } catch (const base::Corrupt& error) {
    EXPECT_NE(std::string(error.what()).find("more than 100000 members"), std::string::npos);
  }
  EXPECT_LT(number, 100'002u);
}

TEST_F(HostileImage, StreamsThatBreakOff) {
  const std::string stream = oci_layout({std::string(3000, 'x')}, "t:1");
  for (size_t length = 0; length < stream.size(); length += 256)
    EXPECT_NE(refusal(stream.substr(0, length)).find("ends in the middle"), std::string::npos)
        << length;
}

TEST_F(HostileImage, AnImageWithoutItsParts) {
  const auto manifest = [](const std::string& text) {
    return TarMaker()
        .file("c.json", "{}")
        .file("l", "x")
        .directory("d/")
        .file("manifest.json", text)
        .end()
        .bytes();
  };
  EXPECT_EQ(refusal(manifest(R"([{"Config":"c.json","Layers":["l"]}])")), "");
  EXPECT_EQ(refusal(manifest(R"([{"Config":"c.json","Layers":null}])")), "");
  expect_refused(manifest(R"([{"Config":"none","Layers":["l"]}])"), "'none', which is not in it");
  expect_refused(manifest(R"([{"Config":"c.json","Layers":["l","m"]}])"),
                 "'m', which is not in it");
  expect_refused(manifest(R"([{"Config":"c.json","Layers":["d"]}])"), "'d', which is not in it");
  expect_refused(manifest(R"([{"Config":"c.json","Layers":["../l"]}])"),
                 "'../l', which is not in it");
  expect_refused(manifest(R"([{"Config":"c.json","Layers":[1]}])"), "no string");
  for (const std::string bad : {"", "{", "{}", "null", "[1]", "[{}]", "[{\"Config\":1}]"})
    expect_refused(manifest(bad), "manifest.json");
  expect_refused(manifest("[]"), "no image");
  expect_refused(TarMaker().file("layer.tar", "x").end().bytes(),
                 "neither a manifest.json nor an index.json");
  expect_refused(TarMaker().end().bytes(), "neither");
  expect_refused(TarMaker().symlink("manifest.json", "other").file("other", "[]").end().bytes(),
                 "neither");
  expect_refused(manifest("[" + std::string(5 << 20, ' ') + "]"), "manifest.json has 52");
  expect_refused(manifest(std::string(1 << 20, '[')), "manifest.json");
}

TEST_F(HostileImage, LinksToLayersAreFollowedInsideOnly) {
  const auto layer = [](TarMaker tar) {
    return tar.file("c.json", "{}")
        .file("manifest.json", R"([{"Config":"c.json","Layers":["id/layer.tar"]}])")
        .end()
        .bytes();
  };
  EXPECT_EQ(refusal(layer(TarMaker().file("sum.tar", "x").symlink("id/layer.tar", "../sum.tar"))),
            "");
  EXPECT_EQ(refusal(layer(TarMaker()
                              .file("sum.tar", "x")
                              .symlink("id/layer.tar", "../b")
                              .symlink("b", "./sum.tar"))),
            "");
  EXPECT_EQ(refusal(layer(TarMaker().file("d/layer.tar", "x").symlink("id", "d"))), "");
  EXPECT_EQ(refusal(layer(TarMaker().file("sum.tar", "x").hard_link("id/layer.tar", "sum.tar"))),
            "");
  expect_refused(layer(TarMaker().symlink("id/layer.tar", "../sum.tar")), "not in it");
  expect_refused(layer(TarMaker().symlink("id/layer.tar", "/etc/passwd")), "not in it");
  expect_refused(layer(TarMaker().file("sum.tar", "x").symlink("id/layer.tar", "../../sum.tar")),
                 "not in it");
  expect_refused(layer(TarMaker().symlink("id/layer.tar", "layer.tar")), "not in it");
  expect_refused(layer(TarMaker().symlink("id/layer.tar", "a").symlink("id/a", "layer.tar")),
                 "not in it");
  // Others may point wherever they want: they are data.
  EXPECT_EQ(refusal(image().symlink("out", "/etc/passwd").symlink("up", "../../..").end().bytes()),
            "");
}

// ---- OCI

class HostileOci : public HostileImage {
 protected:
  static json descriptor(const std::string& bytes) {
    return {{"mediaType", "x"}, {"digest", digest_of(bytes)}, {"size", bytes.size()}};
  }
  // A manifest whose config and layer are put into the stream, or not.
  std::string manifest(const std::string& name, bool with_parts) {
    const std::string config = "{\"config of\":\"" + name + "\"}", layer = "layer of " + name;
    if (with_parts) put(config), put(layer);
    return json{
        {"schemaVersion", 2}, {"config", descriptor(config)}, {"layers", {descriptor(layer)}}}
        .dump();
  }
  std::string put(const std::string& bytes) {
    tar_.file(blob_of(bytes), bytes);
    return bytes;
  }
  static json index_of(const std::vector<json>& manifests) {
    return {{"schemaVersion", 2}, {"manifests", manifests}};
  }
  std::string stream(const std::vector<json>& tops) {
    return TarMaker(tar_).file("index.json", index_of(tops).dump()).end().bytes();
  }

  TarMaker tar_;
};

TEST_F(HostileOci, OfSeveralPlatformsOneMustBeWhole) {
  const std::string whole = put(manifest("amd64", true));
  const std::string empty = put(manifest("arm64", false));
  const std::string absent = manifest("s390x", false);
  json attestation = descriptor(put("{\"layers\":[],\"config\":{\"digest\":\"sha256:none\"}}"));
  attestation["annotations"] = {{"vnd.docker.reference.type", "attestation-manifest"}};
  const auto top = [&](const std::vector<json>& parts) {
    return descriptor(put(index_of(parts).dump()));
  };
  EXPECT_EQ(refusal(stream({descriptor(whole)})), "");
  const json good = top({descriptor(absent), descriptor(empty), descriptor(whole), attestation});
  EXPECT_EQ(refusal(stream({good})), "");
  EXPECT_EQ(refusal(stream({good, attestation})), "");
  expect_refused(stream({descriptor(empty)}), "is not in it");
  expect_refused(stream({descriptor(absent)}), digest_of(absent));
  expect_refused(stream({top({descriptor(absent), descriptor(empty)})}), "is not in it");
  expect_refused(stream({top({attestation})}), "is not in it");
  expect_refused(stream({good, descriptor(empty)}), "is not in it");
  expect_refused(stream({attestation}), "no image");
  expect_refused(stream({}), "no image");
}

TEST_F(HostileOci, BlobsOfAnotherKindOrSize) {
  const std::string whole = put(manifest("amd64", true));
  json longer = descriptor(whole);
  longer["size"] = whole.size() + 1;
  expect_refused(stream({longer}), "bytes instead of");
  expect_refused(stream({descriptor(put("{\"no\":\"manifest\"}"))}), "is no manifest");
  expect_refused(stream({descriptor(put("no json"))}), "is no manifest");
  for (const json& bad : {json(1), json{{"digest", 5}}, json{{"digest", ""}},
                          json{{"digest", "sha256:../../index.json"}}})
    EXPECT_NE(refusal(stream({bad})), "") << bad;
  for (const std::string bad : {"", "[]", "{}", "{\"manifests\":{}}"})
    expect_refused(TarMaker().file("index.json", bad).end().bytes(), "index.json");
}

// Nobody checks here that a blob is what its name says, so an index may hold itself.
TEST_F(HostileOci, IndexesWithoutEnd) {
  const auto named = [](const std::string& name) { return json{{"digest", "sha256:" + name}}; };
  TarMaker self;
  self.file("blobs/sha256/self", index_of({named("self")}).dump())
      .file("index.json", index_of({named("self")}).dump());
  EXPECT_NE(refusal(self.end().bytes()), "");
  TarMaker chain;
  for (int i = 0; i < 50; ++i)
    chain.file("blobs/sha256/i" + std::to_string(i),
               index_of({named("i" + std::to_string(i + 1))}).dump());
  expect_refused(chain.file("index.json", index_of({named("i0")}).dump()).end().bytes(),
                 "without end");
  // Each level names the next a thousand times: looked at once all the same.
  TarMaker bomb;
  for (int i = 0; i < 4; ++i)
    bomb.file("blobs/sha256/i" + std::to_string(i),
              index_of(std::vector<json>(1000, named("i" + std::to_string(i + 1)))).dump());
  EXPECT_NE(refusal(bomb.file("index.json", index_of({named("i0")}).dump()).end().bytes()), "");
}

// ---- chance

// Whatever is done to a good stream: it is refused as Corrupt, or what is saved comes back as it
// is.
TEST_F(HostileImage, ASweepOfSeededDamage) {
  const std::string streams[] = {
      docker_archive({std::string(2000, 'a'), "b", std::string(2000, 'a')}, "t:1"),
      oci_layout({std::string(900, 'c')}, "t:1"),
      image()
          .gnu_long('L', std::string(200, 'n'))
          .file("x", "1")
          .pax({{"path", "p/q"}, {"size", "4"}})
          .header("y", '0', 4)
          .content("four")
          .hard_link("h", "x")
          .end()
          .bytes()};
  int refused = 0, taken = 0;
  for (uint64_t seed = 1; seed <= 3000; ++seed) {
    test::Stream random(seed);
    std::string stream = streams[random.below(3)];
    for (uint64_t change = 0; change <= random.below(3); ++change) {
      const size_t at = random.below(stream.size()) & ~(random.below(2) ? size_t{511} : size_t{0});
      switch (random.below(4)) {
        case 0:
          stream[at] = static_cast<char>(random.next());
          break;
        case 1: {  // a header's field, with a checksum that is right
          const size_t block_at = at & ~size_t{511};
          if (block_at + 512 > stream.size()) break;
          std::string block = stream.substr(block_at, 512);
          const size_t fields[] = {0, 100, 124, 128, 135, 156, 157, 257, 345};
          block[fields[random.below(9)]] = "05127xgLKS./\0\x80"[random.below(14)];
          test::set_checksum(block);
          stream.replace(block_at, 512, block);
          break;
        }
        case 2:
          stream.erase(at, random.below(3) ? 512 : random.below(2000));
          break;
        default:
          stream.insert(at, stream.substr(random.below(stream.size()) & ~size_t{511}, 512));
      }
    }
    SCOPED_TRACE(seed);
    try {
      const auto saved = fixture_.save(stream, "web", 1 + random.below(4000));
      const std::string back = fixture_.load(saved.result.tree);
      EXPECT_EQ(fixture_.save(back).result.tree, saved.result.tree);
      ++taken;
    } catch (const base::Corrupt&) {
      ++refused;
    }
    if (HasFailure()) return;
  }
  EXPECT_GT(refused, 300);
  EXPECT_GT(taken, 30);
}

}  // namespace
}  // namespace davit
