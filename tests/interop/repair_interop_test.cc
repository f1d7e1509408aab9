// What our repair makes of a damaged repository, under two real restics; and of theirs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <utility>
#include <vector>

#include "base/errors.h"
#include "crypto/sha256.h"
#include "repo/keyring.h"
#include "repo/tree.h"
#include "store/open.h"
#include "support/made_repository.h"
#include "support/restic.h"
#include "support/temp_dir.h"
#include "upkeep/check.h"
#include "upkeep/repair.h"

namespace davit {
namespace {

namespace fs = std::filesystem;
using store::Kind;
using test::Files;
using test::noise;
using test::succeeded;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class RepairInterop : public ::testing::TestWithParam<test::ResticVersion> {
 protected:
  void SetUp() override {
    DAVIT_NEEDS_RESTIC_VERSION(GetParam());
    restic_.emplace(path_, "password", test::restic_program(GetParam()));
  }
  static Files files_below(const fs::path& directory) {
    Files files;
    for (const auto& entry : fs::recursive_directory_iterator(directory)) {
      if (!entry.is_regular_file()) continue;
      std::ifstream in(entry.path(), std::ios::binary);
      files[entry.path().lexically_relative(directory)] =
          std::string(std::istreambuf_iterator<char>(in), {});
    }
    return files;
  }
  Files restore(const base::Id& snapshot, const std::string& below = "") {
    const std::string target = directory_ / "restored";
    fs::remove_all(target);
    EXPECT_TRUE(succeeded(restic_->ask({"restore", snapshot.hex(), "--target", target})));
    return files_below(target + below);
  }
  static void flip(store::Store& store, const store::Name& name, size_t third) {
    base::Bytes bytes = store.get(name, 1 << 30);
    bytes.at(bytes.size() / 3 * third) ^= 0x10;
    store.remove(name);
    store.put(name, bytes);
  }
  static upkeep::RepairReport repair_all(repo::Repository& repository) {
    upkeep::RepairOptions options;
    options.read_data = true;
    options.forget = true;
    options.add_key = [](repo::Repository& each) {
      return repo::add_key(each.store(), each.key(), "password", "root", "made");
    };
    return repair(repository, options);
  }

  test::TempDir directory_;
  std::string path_ = directory_ / "repository";
  std::optional<test::Restic> restic_;
};
INSTANTIATE_TEST_SUITE_P(With, RepairInterop, ::testing::ValuesIn(test::kResticVersions),
                         test::version_name);

TEST_P(RepairInterop, ResticFindsNothingWrongWithWhatWasRepaired) {
  const auto repository = repo::Repository::init(store::open_store(path_), "password");
  auto& store = repository->store();
  std::vector<std::pair<base::Id, Files>> saved;  // the first has the pack of what all share
  for (uint64_t i = 0; i < 6; ++i) {
    const Files files{{"shared/file", noise(1, 60'000)},
                      {"own/" + std::to_string(i), noise(10 + i, 30'000)},
                      {"text", "of snapshot " + std::to_string(i)}};
    saved.emplace_back(test::save_files(*repository, files, test::packs_of(40 << 10)), files);
  }
  // A directory that one snapshot has, by its pack.
  const auto pack_of = [&](size_t number, const std::string& directory) {
    const auto root = repository->load_snapshot(saved.at(number).first).tree;
    for (const auto& node : repo::parse_tree(repository->load_blob(repo::BlobType::tree, root)))
      if (node.name == directory)
        return repository->index().find(repo::BlobType::tree, *node.subtree)->pack;
    throw base::NotFound(directory);
  };
  flip(store, {Kind::data, pack_of(1, "own")}, 1);
  // And the content of a file that one snapshot has.
  const auto content_of = [&](size_t number) {
    std::optional<base::Id> found;
    repository->index().for_each([&](const repo::IndexEntry& entry) {
      const std::string& text = saved.at(number).second.at("text");
      if (entry.id == crypto::sha256(base::as_bytes(text))) found = entry.location.pack;
    });
    return found.value();
  };
  store.remove({Kind::data, content_of(2)});
  flip(store, {Kind::index, test::ids_of(store, Kind::index).at(3)}, 1);
  flip(store, {Kind::snapshot, saved.at(4).first}, 1);
  flip(store, {Kind::key, test::ids_of(store, Kind::key).at(0)}, 2);
  flip(store, store::Name{}, 1);
  ASSERT_FALSE(succeeded(restic_->ask({"check", "--read-data"})));

  const auto report = repair_all(*repository);
  EXPECT_THAT(report.lost, Not(IsEmpty()));
  const auto check = restic_->ask({"check", "--read-data"});
  EXPECT_TRUE(succeeded(check));
  EXPECT_THAT(check.output, HasSubstr("no errors were found"));
  // What nothing was said of is as it was, under restic; the siblings are as we read them.
  std::set<base::Id> named;
  for (const auto& mended : report.snapshots) {
    named.insert(mended.snapshot);
    if (mended.sibling) {
      EXPECT_EQ(restore(*mended.sibling), test::read_files(*repository, *mended.sibling));
    }
  }
  size_t whole = 0;
  for (const auto& [id, files] : saved) {
    if (named.contains(id)) continue;
    EXPECT_EQ(restore(id), files);
    ++whole;
  }
  EXPECT_GT(whole, 0u);
  EXPECT_TRUE(succeeded(restic_->ask({"prune", "--max-unused", "0"})));
  EXPECT_TRUE(succeeded(restic_->ask({"check", "--read-data"})));
}

TEST_P(RepairInterop, WeRepairWhatResticWrote) {
  ASSERT_TRUE(succeeded(restic_->ask({"init"})));
  const std::string source = directory_ / "source";
  Files files;
  for (int i = 0; i < 8; ++i)
    files["d" + std::to_string(i % 3) + "/f" + std::to_string(i)] = noise(i, 200'000);
  for (const auto& [path, content] : files) {
    fs::create_directories(fs::path(source + "/" + path).parent_path());
    std::ofstream(source + "/" + path, std::ios::binary) << content;
  }
  ASSERT_TRUE(succeeded(restic_->ask({"backup", source})));
  const auto repository = repo::Repository::open(store::open_store(path_), "password");
  repository->refresh_index();
  const base::Id pack = [&] {
    std::optional<base::Id> found;
    repository->index().for_each([&](const repo::IndexEntry& entry) {
      if (entry.type == repo::BlobType::data && !found) found = entry.location.pack;
    });
    return *found;
  }();
  flip(repository->store(), {Kind::data, pack}, 1);
  const auto report = repair_all(*repository);
  ASSERT_EQ(report.snapshots.size(), 1u);
  ASSERT_TRUE(report.snapshots[0].sibling);
  ASSERT_EQ(report.lost.size(), 1u);
  EXPECT_TRUE(succeeded(restic_->ask({"check", "--read-data"})));
  const Files restored = restore(*report.snapshots[0].sibling, source);
  ASSERT_EQ(restored.size(), files.size());
  for (const auto& [path, content] : files) {
    if (report.lost[0].path == source + "/" + path) {
      EXPECT_LT(restored.at(path).size(), content.size());
    } else {
      EXPECT_EQ(restored.at(path), content);
    }
  }
}

}  // namespace
}  // namespace davit
