// Our repositories under two restics, 0.14 (or the one in PATH) and 0.18, and theirs under us.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "store/open.h"
#include "support/loop_mount.h"
#include "support/program.h"
#include "support/restic.h"
#include "support/skip.h"
#include "support/tree_maker.h"
#include "support/tree_manifest.h"
#include "support/volume_fixture.h"
#include "upkeep/check.h"
#include "upkeep/prune.h"

namespace davit {
namespace {

using test::manifest_difference;
using test::Restic;
using test::succeeded;
using test::tree_manifest;
using test::VolumeFixture;
using Version = test::ResticVersion;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class ResticVersions : public testing::TestWithParam<Version> {
 protected:
  void SetUp() override {
    DAVIT_NEEDS_RESTIC_VERSION(GetParam());
    if (::geteuid() != 0) DAVIT_SKIP("only root can restore owners");
  }
  static bool is_018() { return GetParam() == Version::v018; }

  // What restic can save: no paths over PATH_MAX; before 0.16 no raw targets of symlinks.
  static test::TreeSpec spec(uint64_t seed) {
    test::TreeSpec spec;
    spec.seed = seed;
    spec.deep_levels = 5;
    spec.odd_link_targets = is_018();
    return spec;
  }
  // And what it can restore: links of regular files only; 0.14 no attributes of symlinks.
  static test::ManifestOptions restorable() {
    test::ManifestOptions options;
    options.special_links = false;
    options.symlink_details = is_018();
    return options;
  }
  static std::vector<std::string> errors(repo::Repository& repository) {
    upkeep::CheckOptions options;
    options.read_data = true;
    return upkeep::check(repository, options).errors;
  }

  VolumeFixture fixture{VolumeFixture::Kind::real};
  Restic restic{fixture.repository_path(), VolumeFixture::kPassword,
                test::restic_program(GetParam())};
};

INSTANTIATE_TEST_SUITE_P(Under, ResticVersions, testing::ValuesIn(test::kResticVersions),
                         test::version_name);

TEST_P(ResticVersions, ChecksRestoresAndPrunesOurs) {
  const std::string volume = fixture.volume("v");
  test::TreeSpec what = spec(1);
  what.trusted_xattrs = is_018();  // 0.14 gives those of a symlink to its target
  what.sparse = is_018();          // and writes the holes
  test::make_tree(volume, what);
  ASSERT_EQ(::chmod(volume.c_str(), 01770), 0);
  const auto first = fixture.save("v", {}, {{"/davit/volume.json", {'{', '}'}}});
  // Another tree, much of it the same.
  base::remove_tree(volume + "/content");
  what.seed = 2;
  test::make_tree(fixture.volume("more"), what);
  ASSERT_EQ(::rename(fixture.volume("more").c_str(), (volume + "/more").c_str()), 0);
  fixture.save("v");
  ASSERT_TRUE(succeeded(restic.ask({"check", "--read-data"})));

  const std::string restored = fixture.path() + "/restored";
  const std::string before = tree_manifest(volume, restorable());
  std::vector<std::string> restore{"restore", "latest", "--target", restored};
  if (is_018()) restore.push_back("--sparse");
  ASSERT_TRUE(succeeded(restic.ask(restore)));
  EXPECT_EQ(manifest_difference(before, tree_manifest(restored + "/volumes/v", restorable())), "");

  ASSERT_TRUE(succeeded(restic.ask({"forget", first.snapshot.hex()})));
  const auto prune = restic.ask({"prune", "--max-unused", "0"});
  ASSERT_TRUE(succeeded(prune));
  const auto check = restic.ask({"check", "--read-data"});
  EXPECT_TRUE(succeeded(check));
  EXPECT_THAT(check.output, HasSubstr("no errors were found"));
  fixture.reopen();
  EXPECT_THAT(errors(fixture.repository()), IsEmpty());
  const auto left = fixture.repository().load_snapshots();
  ASSERT_EQ(left.size(), 1u);
  const auto back = fixture.restore(left[0].snapshot.tree, "v", "back");
  EXPECT_THAT(back.problems, IsEmpty());
  EXPECT_EQ(manifest_difference(tree_manifest(volume), tree_manifest(fixture.volume("back"))), "");
}

TEST_P(ResticVersions, IsCheckedPrunedAndRestoredByUs) {
  const std::string directory = fixture.path() + "/theirs";
  const Restic theirs(directory, VolumeFixture::kPassword, test::restic_program(GetParam()));
  ASSERT_TRUE(succeeded(theirs.ask({"init"})));
  const std::string volume = fixture.volume("v");
  test::make_tree(volume, spec(3));
  ASSERT_TRUE(succeeded(theirs.ask({"backup", volume})));
  base::remove_tree(volume + "/random");
  base::remove_tree(volume + "/content");
  test::make_tree(fixture.volume("more"), spec(4));
  ASSERT_EQ(::rename(fixture.volume("more").c_str(), (volume + "/more").c_str()), 0);
  ASSERT_TRUE(succeeded(theirs.ask({"backup", volume})));
  const auto repository =
      repo::Repository::open(store::open_store(directory), VolumeFixture::kPassword);
  repository->refresh_index();
  EXPECT_THAT(errors(*repository), IsEmpty());
  ASSERT_TRUE(succeeded(theirs.ask({"forget", repository->load_snapshots().at(0).id.hex()})));
  upkeep::PruneOptions options;
  options.max_unused_ratio = 0;
  upkeep::PrunePlan plan = upkeep::plan_prune(*repository, options);
  const auto snapshots = repository->load_snapshots();
  ASSERT_EQ(snapshots.size(), 1u);
  EXPECT_GT(plan.bytes_unused, 0u);
  upkeep::execute_prune(*repository, std::move(plan), options,
                        [](const std::function<void()>& work) { work(); });
  const auto check = theirs.ask({"check", "--read-data"});
  EXPECT_TRUE(succeeded(check));
  EXPECT_THAT(check.output, HasSubstr("no errors were found"));
  repository->refresh_index();
  EXPECT_THAT(errors(*repository), IsEmpty());

  base::make_directories(fixture.volume("back"));
  const base::Fd back = base::open_file(fixture.volume("back"), O_RDONLY | O_DIRECTORY);
  const auto restored =
      restore::restore_tree(*repository, snapshots.back().snapshot.tree, volume, back.get(), {});
  EXPECT_THAT(restored.problems, IsEmpty());
  // All that it saved, more than it can restore itself: 0.14 takes for a symlink's attributes those
  // of its target.
  test::ManifestOptions saved;
  saved.symlink_details = is_018();
  EXPECT_EQ(manifest_difference(tree_manifest(volume, saved),
                                tree_manifest(fixture.volume("back"), saved)),
            "");
}

// What 0.14 does not have.
class Restic018 : public ResticVersions {};
INSTANTIATE_TEST_SUITE_P(Only, Restic018, testing::Values(Version::v018), test::version_name);

// It decodes and encodes trees again: they must be byte for byte what it would write.
TEST_P(Restic018, FindsNothingToRewriteOrRepair) {
  test::make_tree(fixture.volume("v"), {.seed = 5});
  fixture.save("v", {}, {{"/davit/volume.json", {'{', '}'}}});
  const auto dry_run = restic.ask({"rewrite", "--dry-run", "--exclude", "nomatch"});
  EXPECT_TRUE(succeeded(dry_run));
  EXPECT_THAT(dry_run.output + dry_run.errors, Not(HasSubstr("cannot encode tree")));
  // It makes a snapshot of the same tree, since ours here has no summary.
  EXPECT_TRUE(succeeded(restic.ask({"rewrite", "--exclude", "nomatch"})));
  const auto snapshots = fixture.repository().load_snapshots();
  ASSERT_EQ(snapshots.size(), 2u);
  EXPECT_EQ(snapshots[0].snapshot.tree, snapshots[1].snapshot.tree);
  const auto repair = restic.ask({"repair", "snapshots", "--dry-run"});
  EXPECT_TRUE(succeeded(repair));
  EXPECT_THAT(repair.output, HasSubstr("no snapshots would be modified"));
  EXPECT_THAT(repair.output, Not(HasSubstr("incorrect size")));
}

// `restic backup` in a root file system that has our volumes at /volumes, libraries, and no passwd.
constexpr const char* kInChroot = R"(
set -e
root=$1 volumes=$2 repository=$3 program=$4
shift 4
mount -t tmpfs none "$root"
mkdir "$root/volumes" "$root/repository" "$root/usr" "$root/tmp"
mount --bind "$volumes" "$root/volumes"
mount --bind "$repository" "$root/repository"
mount --bind /usr "$root/usr"
for directory in lib lib64; do
  if [ -L "/$directory" ]; then cp -P "/$directory" "$root/$directory"
  else mkdir "$root/$directory" && mount --bind "/$directory" "$root/$directory"; fi
done
cp "$program" "$root/restic"
exec chroot "$root" /restic -r /repository --no-cache "$@"
)";

// The whole of what we write, byte for byte: the same path (/volumes/v), the same directories above
// it, the root tree among them. Without extra files, since no real file has their metadata, and
// with the volume's st_dev as device of hard links, where jobs give a number of the volume's own.
TEST_P(Restic018, AddsNothingToWhatWeSaved) {
  DAVIT_NEEDS_MOUNTS();
  test::TreeSpec what = spec(6);
  test::make_tree(fixture.volume("v"), what);
  const auto saved = fixture.save("v");
  const std::string root = fixture.path() + "/root";
  base::make_directories(root);
  test::Program program(
      {"unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", kInChroot, "sh", root,
       fixture.path() + "/volumes", fixture.repository_path(), test::restic_018(), "backup",
       "--force", "--json", "/volumes/v"},
      {{"RESTIC_PASSWORD", VolumeFixture::kPassword},
       {"RESTIC_FEATURES", "device-id-for-hardlinks=true"},
       {"RESTIC_PROGRESS_FPS", "0"},
       {"TZ", "UTC"}});
  const auto outcome = program.wait();
  ASSERT_TRUE(succeeded(outcome));
  EXPECT_THAT(outcome.output, HasSubstr("\"data_blobs\":0,"));
  EXPECT_THAT(outcome.output, HasSubstr("\"tree_blobs\":0,"));
  EXPECT_THAT(outcome.output, HasSubstr("\"data_added\":0,"));
  const auto snapshots = fixture.repository().load_snapshots();
  ASSERT_EQ(snapshots.size(), 2u);
  EXPECT_EQ(snapshots[1].snapshot.tree, saved.result.tree);
}

}  // namespace
}  // namespace davit
