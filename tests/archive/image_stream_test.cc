// Image streams go into a repository and come back: nothing of them is lost, and nothing is stored
// twice.
#include "archive/image_stream.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "repo/tree.h"
#include "restore/restorer.h"
#include "support/image_fixture.h"
#include "support/program.h"
#include "support/restic.h"
#include "support/tar_maker.h"
#include "support/test_repository.h"

namespace davit {
namespace {

using test::docker_archive;
using test::ImageFixture;
using test::members_of;
using test::oci_layout;
using test::TarMaker;

std::string noise(size_t size, uint64_t seed) {
  return std::string(base::as_text(test::random_bytes(size, seed)));
}

// A stream without a manifest is no image.
TarMaker with_manifest() {
  TarMaker tar;
  tar.file("config.json", "{}").file("manifest.json", R"([{"Config":"config.json","Layers":[]}])");
  return tar;
}

TEST(ImageStream, ADockerArchiveComesBack) {
  ImageFixture fixture;
  const std::string base = noise(3 << 20, 1);
  const std::string stream =
      docker_archive({base, noise(10'000, 2), base, ""}, "davit/web:20261122T000000Z");
  const auto saved = fixture.save(stream);
  EXPECT_EQ(saved.result.directories, 4u);
  EXPECT_EQ(saved.result.links, 1u);
  EXPECT_EQ(saved.result.files, 4 * 2 + 3 + 3u);
  const std::string back = fixture.load(saved.result.tree);
  EXPECT_EQ(members_of(back), members_of(stream));
}

TEST(ImageStream, AnOciLayoutComesBack) {
  ImageFixture fixture;
  for (const bool with_manifest_json : {true, false}) {
    const std::string stream =
        oci_layout({noise(2'000'000, 3), noise(700, 4)}, "davit/web:1", with_manifest_json);
    const auto saved = fixture.save(stream);
    EXPECT_EQ(members_of(fixture.load(saved.result.tree)), members_of(stream));
  }
}

TEST(ImageStream, NamesOfEveryLengthAndFormComeBack) {
  ImageFixture fixture;
  TarMaker tar = with_manifest();
  for (const size_t length : {98, 99, 100, 101, 102, 154, 155, 156, 157, 200, 255})
    tar.gnu_long('L', std::string(length, 'n')).file("short", std::to_string(length));
  const std::string d50(50, 'd'), e100(100, 'e'), f155(155, 'f');
  for (const std::string& name :
       {d50 + "/" + e100, f155 + "/" + e100, f155 + "/e" + e100, "f" + f155 + "/" + e100,
        f155 + "/g" + e100 + "/" + d50, std::string("caf\xc3\xa9"), std::string("raw\xff\x01")})
    tar.pax({{"path", name}}).file("short", name);
  tar.pax({{"linkpath", "../" + std::string(200, 't')}}).symlink("long-target", "t");
  tar.gnu_long('K', "/" + std::string(300, 'u')).symlink("absolute-target", "t");
  tar.symlink("target-100", std::string(100, 'v'))
      .directory(d50 + "/empty/")
      .file("./dotted", "dot")
      .directory("./");
  const std::string stream = tar.end().bytes();
  const auto saved = fixture.save(stream);
  const std::string back = fixture.load(saved.result.tree);
  auto expected = members_of(stream);
  expected["dotted"] = expected.extract("./dotted").mapped();
  expected.erase(".");
  for (const std::string& implied : {d50, f155, "f" + f155}) expected[implied] = "dir";
  expected[f155 + "/g" + e100] = "dir";
  EXPECT_EQ(members_of(back), expected);
}

// The same stream judged by a reader that we did not write.
TEST(ImageStream, WhatComesBackIsATarForTar) {
  ImageFixture fixture;
  TarMaker tar = with_manifest();
  tar.gnu_long('L', std::string(150, 'n')).file("x", "long");
  tar.file("first", "linked").hard_link("second", "first").symlink("sym", "../out");
  const std::string stream = tar.end().bytes();
  const std::string back = fixture.load(fixture.save(stream).result.tree);
  const std::string file = fixture.path() + "/back.tar", out = fixture.path() + "/out";
  base::write_file_atomic(file, base::as_bytes(back));
  base::make_directories(out);
  const auto unpacked = test::run({"tar", "-xvvf", file, "-C", out});
  ASSERT_EQ(unpacked.exit_code, 0) << unpacked.errors;
  EXPECT_EQ(unpacked.errors, "");
  EXPECT_EQ(base::as_text(base::get_file(out + "/" + std::string(150, 'n'))), "long");
  EXPECT_EQ(base::as_text(base::get_file(out + "/second")), "linked");
  EXPECT_NE(unpacked.output.find("second link to first"), std::string::npos) << unpacked.output;
  EXPECT_NE(unpacked.output.find("sym -> ../out"), std::string::npos) << unpacked.output;
}

TEST(ImageStream, HardLinksComeBackAsLinks) {
  ImageFixture fixture;
  TarMaker tar = with_manifest();
  // The first by name is not the first in the stream, and a link may lead to a link.
  tar.file("m", "content").hard_link("z", "m").hard_link("a", "z").file("other", "content");
  const auto saved = fixture.save(tar.end().bytes());
  auto back = members_of(fixture.load(saved.result.tree));
  EXPECT_EQ(back["a"], "content");
  EXPECT_EQ(back["m"], "= a");
  EXPECT_EQ(back["z"], "= a");
  EXPECT_EQ(back["other"], "content");
}

TEST(ImageStream, PiecesOfAnySizeGiveTheSameTree) {
  ImageFixture fixture;
  const std::string stream = docker_archive({noise(1'500'000, 5), noise(512 << 10, 6)}, "t:1");
  const base::Id tree = fixture.save(stream).result.tree;
  for (const size_t piece : {size_t{511}, size_t{4096}, size_t{100'001}, stream.size()})
    EXPECT_EQ(fixture.save(stream, "web", piece).result.tree, tree) << piece;
  const std::string back = fixture.load(tree);
  for (const size_t piece : {size_t{511}, size_t{4096}, back.size(), 2 * back.size()})
    EXPECT_EQ(fixture.load(tree, "web", piece), back) << piece;
}

// Owners and times differ from one save to the next, though the image does not.
TEST(ImageStream, MetadataOfTheMomentIsNotKept) {
  ImageFixture fixture;
  std::string stream = docker_archive({noise(1000, 7)}, "t:1");
  const base::Id tree = fixture.save(stream).result.tree;
  std::string block = stream.substr(0, 512);
  block.replace(100, 7, "0000700");
  block.replace(108, 7, "0000001");
  block.replace(136, 11, "11111111111");
  test::set_checksum(block);
  stream.replace(0, 512, block);
  EXPECT_EQ(fixture.save(stream).result.tree, tree);
}

TEST(ImageStream, AnUnchangedImageAddsNextToNothing) {
  for (const bool oci : {false, true}) {
    ImageFixture fixture;
    const std::vector<std::string> layers = {noise(40 << 20, 8), noise(24 << 20, 9),
                                             noise(100'000, 10)};
    const auto make = [&](const std::string& tag) {
      return oci ? oci_layout(layers, tag) : docker_archive(layers, tag);
    };
    const auto first = fixture.save(make("davit/web:20261122T000000Z"));
    EXPECT_GT(first.counts.data_added_bytes, 64u << 20);
    const auto second = fixture.save(make("davit/web:20261123T000000Z"));
    EXPECT_LT(second.counts.data_added_bytes, first.counts.data_added_bytes / 100);
    // Another container of the same base image costs its own layer only.
    auto more = layers;
    more.push_back(noise(50'000, 11));
    const auto other =
        fixture.save(oci ? oci_layout(more, "x") : docker_archive(more, "x"), "other");
    EXPECT_LT(other.counts.data_added_bytes, 60'000u);
  }
}

TEST(ImageStream, FilesStandBesideTheImage) {
  ImageFixture fixture;
  const auto saved = fixture.save(
      docker_archive({"layer"}, "t:1"), "shop_db.1", 1000, {},
      {{"container.json", base::to_bytes(base::as_bytes("{\"Id\":1}"))}, {"top.json", {}}});
  const auto find = [&](const std::string& name) {
    return restore::find_small_file(fixture.repository(), saved.result.tree,
                                    "/containers/shop_db.1/" + name, 1000);
  };
  ASSERT_TRUE(find("container.json"));
  EXPECT_EQ(base::as_text(*find("container.json")), "{\"Id\":1}");
  ASSERT_TRUE(find("top.json"));
  EXPECT_TRUE(find("top.json")->empty());
  EXPECT_TRUE(find("image/manifest.json"));
  EXPECT_FALSE(find("networks.json"));

  repo::UploadSession session(fixture.repository());
  const std::string stream = docker_archive({"layer"}, "t:1");
  for (const std::string bad : {"image", "image/x", "a/b"})
    EXPECT_THROW(archive::archive_container(fixture.repository(), session, {"web", {{bad, {}}}, {}},
                                            test::in_pieces(stream, 100), {}),
                 base::UsageError);
  for (const std::string bad : {"", "..", "a/b"})
    EXPECT_THROW(archive::archive_container(fixture.repository(), session, {bad, {}, {}},
                                            test::in_pieces(stream, 100), {}),
                 base::UsageError);
}

TEST(ImageStream, TellsHowFarItIs) {
  ImageFixture fixture;
  base::Progress progress;
  archive::ImageStreamOptions options;
  options.progress = &progress;
  const auto saved =
      fixture.save(docker_archive({noise(2'000'000, 12), "b"}, "t:1"), "web", 1000, options);
  EXPECT_EQ(progress.bytes_done, saved.result.bytes);
  EXPECT_EQ(progress.files_done, saved.result.files);
}

TEST(ImageStream, StopsWhenAsked) {
  ImageFixture fixture;
  const std::string stream = docker_archive({noise(2'000'000, 13)}, "t:1");
  std::stop_source stop;
  archive::ImageStreamOptions options;
  options.stop = stop.get_token();
  repo::UploadSession session(fixture.repository());
  size_t calls = 0;
  auto pieces = test::in_pieces(stream, 1000);
  EXPECT_THROW(archive::archive_container(
                   fixture.repository(), session, {"web", {}, {}},
                   [&] {
                     if (++calls == 500) stop.request_stop();
                     return pieces();
                   },
                   options),
               base::Cancelled);
  EXPECT_LE(calls, 501u);
}

TEST(ImageStream, ResticReadsWhatWasSaved) {
  DAVIT_NEEDS_RESTIC();
  ImageFixture fixture(true);
  TarMaker tar = with_manifest();
  const std::string layer = noise(3 << 20, 14);
  tar.file("one/layer.tar", layer)
      .symlink("two/layer.tar", "../one/layer.tar")
      .hard_link("three.tar", "one/layer.tar");
  fixture.save(tar.end().bytes(), "web", 100'000, {},
               {{"container.json", base::to_bytes(base::as_bytes("{}"))}});
  const test::Restic restic(fixture.repository_path(), ImageFixture::kPassword);
  const auto check = restic.run({"check", "--read-data"});
  EXPECT_EQ(check.exit_code, 0) << check.output;
  const auto listed = restic.run({"ls", "latest"});
  for (const std::string name :
       {"/containers/web/container.json", "/containers/web/image/one/layer.tar",
        "/containers/web/image/two/layer.tar", "/containers/web/image/three.tar"})
    EXPECT_NE(listed.output.find(name), std::string::npos) << listed.output;
  const std::string out = fixture.path() + "/out";
  const auto restored = restic.run({"restore", "latest", "--target", out});
  ASSERT_EQ(restored.exit_code, 0) << restored.output;
  const std::string image = out + "/containers/web/image/";
  EXPECT_EQ(base::as_text(base::get_file(image + "two/layer.tar")), layer);
  struct stat first, second;
  ASSERT_EQ(::stat((image + "one/layer.tar").c_str(), &first), 0);
  ASSERT_EQ(::stat((image + "three.tar").c_str(), &second), 0);
  EXPECT_EQ(first.st_ino, second.st_ino);
}

}  // namespace
}  // namespace davit
