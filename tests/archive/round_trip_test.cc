// Trees go into a repository and come back: nothing of them is lost.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/tree_maker.h"
#include "support/tree_manifest.h"
#include "support/volume_fixture.h"

namespace davit {
namespace {

using test::TreeSpec;
using test::VolumeFixture;

void expect_same(const std::string& expected, const std::string& found) {
  EXPECT_EQ(test::manifest_difference(expected, found), "");
}

TreeSpec spec_for_this_user() {
  TreeSpec spec;
  spec.devices = spec.owners = spec.trusted_xattrs = ::geteuid() == 0;
  return spec;
}

TEST(RoundTrip, EverythingInATreeComesBack) {
  VolumeFixture fixture(VolumeFixture::Kind::real);
  TreeSpec spec = spec_for_this_user();
  test::make_tree(fixture.volume("all"), spec);
  ASSERT_EQ(::chmod(fixture.volume("all").c_str(), 02750), 0);
  const auto saved = fixture.save("all");
  EXPECT_EQ(saved.result.unreadable_count, 0u);
  EXPECT_EQ(saved.result.changed_while_read_count, 0u);
  fixture.reopen();
  const auto restored = fixture.restore(saved.result.tree, "all", "back");
  EXPECT_EQ(restored.problem_count, 0u) << (restored.problems.empty() ? "" : restored.problems[0]);
  expect_same(test::tree_manifest(fixture.volume("all")),
              test::tree_manifest(fixture.volume("back")));
}

TEST(RoundTrip, ManySeedsComeBack) {
  for (uint64_t seed = 2; seed < 6; ++seed) {
    VolumeFixture fixture;
    TreeSpec spec = spec_for_this_user();
    spec.seed = seed;
    spec.random_files = 300;
    spec.large = spec.sparse = false;
    test::make_tree(fixture.volume("v"), spec);
    const auto saved = fixture.save("v");
    fixture.restore(saved.result.tree, "v", "back");
    expect_same(test::tree_manifest(fixture.volume("v")),
                test::tree_manifest(fixture.volume("back")));
  }
}

TEST(RoundTrip, HolesStayHoles) {
  VolumeFixture fixture;
  TreeSpec spec = spec_for_this_user();
  test::make_tree(fixture.volume("v"), spec);
  const auto saved = fixture.save("v");
  fixture.restore(saved.result.tree, "v", "back");
  test::ManifestOptions options;
  options.sparse = true;
  expect_same(test::tree_manifest(fixture.volume("v") + "/sparse", options),
              test::tree_manifest(fixture.volume("back") + "/sparse", options));
}

TEST(RoundTrip, TheSameTreeGivesTheSameTreeId) {
  VolumeFixture fixture;
  test::make_tree(fixture.volume("v"), spec_for_this_user());
  const auto first = fixture.save("v");
  const auto second = fixture.save("v");
  EXPECT_EQ(first.result.tree, second.result.tree);
  EXPECT_EQ(second.counts.data_blobs, 0u);
  EXPECT_EQ(second.counts.tree_blobs, 0u);
}

TEST(RoundTrip, ExtraFilesStandBesideTheVolume) {
  VolumeFixture fixture;
  base::make_directories(fixture.volume("v"));
  const base::Bytes bytes = base::to_bytes(base::as_bytes("{\"a\":1}"));
  const auto saved =
      fixture.save("v", {}, {{"/davit/volume.json", bytes}, {"/zz", {}}, {"/volumes/x", bytes}});
  const auto& repository = fixture.repository();
  EXPECT_EQ(restore::find_small_file(repository, saved.result.tree, "/davit/volume.json", 100),
            bytes);
  EXPECT_EQ(restore::find_small_file(repository, saved.result.tree, "/zz", 100), base::Bytes());
  EXPECT_EQ(restore::find_small_file(repository, saved.result.tree, "/volumes/x", 100), bytes);
  EXPECT_EQ(restore::find_small_file(repository, saved.result.tree, "/davit/other", 100),
            std::nullopt);
  EXPECT_EQ(restore::find_small_file(repository, saved.result.tree, "/volumes/v", 100),
            std::nullopt);
  EXPECT_THROW(restore::find_small_file(repository, saved.result.tree, "/davit/volume.json", 3),
               base::Corrupt);
}

TEST(RoundTrip, AnExtraFileInTheVolumesPlaceIsRefused) {
  VolumeFixture fixture;
  base::make_directories(fixture.volume("v"));
  EXPECT_THROW(fixture.save("v", {}, {{"/volumes/v", {}}}), base::UsageError);
}

TEST(RoundTrip, WhatIsExcludedIsNotThere) {
  VolumeFixture fixture;
  for (const char* directory : {"/cache/deep", "/keep/cache"})
    base::make_directories(fixture.volume("v") + directory);
  for (const char* file : {"/cache/deep/x", "/keep/cache/y", "/keep/z.tmp", "/keep/z"})
    base::write_file_atomic(fixture.volume("v") + file, base::as_bytes("x"));
  archive::Options options;
  options.excludes = archive::Excludes::parse("/cache\n*.tmp");
  const auto saved = fixture.save("v", options);
  fixture.restore(saved.result.tree, "v", "back");
  EXPECT_EQ(base::list_directory(fixture.volume("back")), std::vector<std::string>{"keep"});
  EXPECT_TRUE(base::find_file(fixture.volume("back") + "/keep/cache/y"));
  EXPECT_TRUE(base::find_file(fixture.volume("back") + "/keep/z"));
  EXPECT_FALSE(base::find_file(fixture.volume("back") + "/keep/z.tmp"));
}

TEST(RoundTrip, APathThatTheSnapshotLacksIsNotFound) {
  VolumeFixture fixture;
  base::make_directories(fixture.volume("v"));
  const auto saved = fixture.save("v");
  EXPECT_THROW(fixture.restore(saved.result.tree, "other", "back"), base::NotFound);
}

}  // namespace
}  // namespace davit
