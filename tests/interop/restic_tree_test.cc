// Trees between us and the stock restic, both ways.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <functional>

#include "repo/tree.h"
#include "support/restic.h"
#include "support/skip.h"
#include "support/tree_maker.h"
#include "support/tree_manifest.h"
#include "support/volume_fixture.h"

namespace davit {
namespace {

using test::Restic;
using test::VolumeFixture;

class ResticTrees : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!Restic::is_installed()) DAVIT_SKIP("no restic");
    if (::geteuid() != 0) DAVIT_SKIP("restic restores owners as root only");
  }
  Restic restic() const {
    return Restic(fixture_.repository_path(), VolumeFixture::kPassword);
  }
  void expect_good_check() {
    const auto run = restic().run({"check", "--read-data"});
    EXPECT_EQ(run.exit_code, 0) << run.output;
  }
  // Of the one snapshot that is newest.
  repo::Snapshot newest() {
    fixture_.reopen();
    return fixture_.repository().load_snapshots().back().snapshot;
  }

  VolumeFixture fixture_{VolumeFixture::Kind::real};
};

// What restic 0.14 can restore: no paths over PATH_MAX, no raw link targets, no attributes of
// symlinks.
test::TreeSpec restic_spec() {
  test::TreeSpec spec;
  spec.deep_levels = 5;
  spec.odd_link_targets = false;
  spec.trusted_xattrs = false;
  return spec;
}

test::ManifestOptions restic_manifest() {
  test::ManifestOptions options;
  options.special_links = false;
  return options;
}

TEST_F(ResticTrees, ResticChecksAndRestoresWhatWeSaved) {
  test::make_tree(fixture_.volume("v"), restic_spec());
  ASSERT_EQ(::chmod(fixture_.volume("v").c_str(), 0700), 0);
  fixture_.save("v");
  expect_good_check();
  const std::string target = fixture_.path() + "/restored";
  const auto run = restic().run({"restore", "latest", "--target", target});
  ASSERT_EQ(run.exit_code, 0) << run.output;
  EXPECT_EQ(
      test::manifest_difference(test::tree_manifest(fixture_.volume("v"), restic_manifest()),
                                test::tree_manifest(target + "/volumes/v", restic_manifest())),
      "");
}

TEST_F(ResticTrees, ResticChecksATreeThatIsTooDeepForItToRestore) {
  test::make_tree(fixture_.volume("v"));
  fixture_.save("v");
  expect_good_check();
}

TEST_F(ResticTrees, WeRestoreWhatResticSaved) {
  test::make_tree(fixture_.volume("v"), restic_spec());
  const auto run = restic().run({"backup", fixture_.volume("v")});
  ASSERT_EQ(run.exit_code, 0) << run.output;
  const auto restored = fixture_.restore(newest().tree, fixture_.volume("v"), "back");
  EXPECT_EQ(restored.problem_count, 0u) << restored.problems.at(0);
  // Links of fifos, too: restic writes no count for them, but the same inode.
  EXPECT_EQ(test::manifest_difference(test::tree_manifest(fixture_.volume("v")),
                                      test::tree_manifest(fixture_.volume("back"))),
            "");
}

// Both snapshots' nodes side by side. Old restics store names of users and every device ID; nothing
// else may differ.
void expect_same_nodes(const repo::Repository& repository, const base::Id& ours,
                       const base::Id& theirs, const std::string& path) {
  auto load = [&](const base::Id& id) {
    return repo::parse_tree(repository.load_blob(repo::BlobType::tree, id));
  };
  std::vector<repo::Node> a = load(ours), b = load(theirs);
  ASSERT_EQ(a.size(), b.size()) << path;
  for (size_t i = 0; i < a.size(); ++i) {
    const std::string here = path + "/" + a[i].name;
    if (a[i].subtree && b[i].subtree)
      expect_same_nodes(repository, *a[i].subtree, *b[i].subtree, here);
    EXPECT_EQ(a[i].device_id != 0, a[i].links > 1 || a[i].type == repo::NodeType::fifo) << here;
    if (a[i].device_id != 0) {
      EXPECT_EQ(a[i].device_id, b[i].device_id) << here;
    }
    for (repo::Node* node : {&a[i], &b[i]}) {
      node->user.clear();
      node->group.clear();
      node->device_id = 0;
      node->subtree.reset();
      // restic 0.14 reads those of the link's target.
      if (node->type == repo::NodeType::symlink) node->xattrs.clear();
    }
    EXPECT_EQ(a[i], b[i]) << here;
  }
}

TEST_F(ResticTrees, OurNodesAreThoseThatResticWrites) {
  test::TreeSpec spec = restic_spec();
  spec.trusted_xattrs = true;
  test::make_tree(fixture_.volume("v"), spec);
  const std::string path = fixture_.volume("v");
  const auto saved = fixture_.save("v", {}, {}, path);
  const auto run = restic().run({"backup", "--force", "--json", path}, {"TZ=UTC"});
  ASSERT_EQ(run.exit_code, 0) << run.output;
  // The same chunks: nothing of the files is stored again.
  EXPECT_NE(run.output.find("\"data_blobs\":0,"), std::string::npos) << run.output;
  const repo::Snapshot theirs = newest();
  const auto subtree = [&](base::Id tree) {
    for (size_t from = 1; from <= path.size();) {
      const size_t slash = std::min(path.find('/', from), path.size());
      const std::string name = path.substr(from, slash - from);
      for (const repo::Node& node :
           repo::parse_tree(fixture_.repository().load_blob(repo::BlobType::tree, tree)))
        if (node.name == name) tree = *node.subtree;
      from = slash + 1;
    }
    return tree;
  };
  expect_same_nodes(fixture_.repository(), subtree(saved.result.tree), subtree(theirs.tree), "");
}

TEST_F(ResticTrees, ResticFindsOurFilesUnmodifiedAndWeFindIts) {
  test::make_tree(fixture_.volume("v"), restic_spec());
  const std::string path = fixture_.volume("v");
  const auto saved = fixture_.save("v", {}, {}, path);
  const auto run = restic().run({"backup", "--json", "--parent", saved.snapshot.hex(), path});
  ASSERT_EQ(run.exit_code, 0) << run.output;
  EXPECT_NE(run.output.find("\"files_new\":0,\"files_changed\":0,\"files_unmodified\":" +
                            std::to_string(saved.result.total_files) + ","),
            std::string::npos)
      << run.output;

  // Files that changed within 2 s of restic's start would be read again; ours waits for no clock,
  // so age them.
  fixture_.reopen();
  auto snapshots = fixture_.repository().load_snapshots();
  repo::Snapshot later = snapshots.back().snapshot;
  later.time.time += std::chrono::hours(1);
  archive::Options options;
  options.parent = fixture_.repository().save_snapshot(later);
  const auto again = fixture_.save("v", options, {}, path);
  EXPECT_EQ(again.result.files_unmodified, again.result.total_files);
  EXPECT_EQ(again.result.total_files, saved.result.total_files);
}

// Each line of the list is judged by restic and by us.
TEST_F(ResticTrees, OurExcludesAreRestics) {
  const std::string root = fixture_.volume("volume");
  std::vector<std::string> paths{
      "a",     "a.txt",   "b/a",   "b/a.txt", "b/c/a",     "b/c/d/e.log",      "c/b/a/x", "cache/y",
      "x y/z", "d/[z]/f", "d/*/f", "foo/bar", "foo/x/bar", "foo/x/y/bar/deep", "keep.log"};
  for (const std::string& path : paths) {
    const std::string full = root + "/" + path;
    base::make_directories(full.substr(0, full.rfind('/')));
    base::write_file_atomic(full, base::as_bytes("x"));
  }
  const std::vector<std::string> lists{"a",
                                       "/a",
                                       "b/a",
                                       "/b/a",
                                       "*.log",
                                       "/*.log",
                                       "b/*",
                                       "/b/*/a",
                                       "b/**",
                                       "/b/**",
                                       "**/a",
                                       "/foo/**/bar",
                                       "foo/**",
                                       "[a-b]",
                                       "[^a]",
                                       "?",
                                       "*.log\n!keep.log",
                                       "b\n!b/a",
                                       "!a\na",
                                       "c/b/",
                                       "x y",
                                       "d/\\[z\\]",
                                       "d/\\*",
                                       "/**/a",
                                       "foo/*/bar",
                                       "**"};
  int number = 0;
  for (const std::string& list : lists) {
    // restic anchors at the file system's root.
    std::string anchored;
    for (size_t from = 0; from < list.size();) {
      const size_t end = std::min(list.find('\n', from), list.size());
      const std::string line = list.substr(from, end - from);
      anchored += (line[0] == '/' ? root + line : line) + "\n";
      from = end + 1;
    }
    const std::string file = fixture_.path() + "/list-" + std::to_string(number++);
    base::write_file_atomic(file, base::as_bytes(anchored));
    const auto run = restic().run({"backup", "--exclude-file", file, root});
    ASSERT_EQ(run.exit_code, 0) << run.output;
    archive::Options options;
    options.excludes = archive::Excludes::parse(list);
    const auto ours = fixture_.save("volume", options, {}, root);
    const auto listing = [&](const base::Id& tree) {
      std::string text;
      const std::function<void(const base::Id&, const std::string&)> add =
          [&](const base::Id& id, const std::string& above) {
            for (const repo::Node& node :
                 repo::parse_tree(fixture_.repository().load_blob(repo::BlobType::tree, id))) {
              text += above + "/" + node.name + "\n";
              if (node.subtree) add(*node.subtree, above + "/" + node.name);
            }
          };
      add(tree, "");
      return text;
    };
    const base::Id theirs = [&] {
      fixture_.reopen();
      const auto snapshots = fixture_.repository().load_snapshots();
      return std::find_if(snapshots.rbegin(), snapshots.rend(),
                          [](const auto& one) { return one.snapshot.hostname != "test"; })
          ->snapshot.tree;
    }();
    if (list == "**") continue;  // restic then leaves out the directories above, too
    EXPECT_EQ(listing(ours.result.tree), listing(theirs)) << list;
  }
}

}  // namespace
}  // namespace davit
