// Damage in the repository, limits of the target, and the plan.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "repo/tree.h"
#include "restore/plan.h"
#include "store/local_store.h"
#include "support/fault_store.h"
#include "support/test_repository.h"
#include "support/tree_maker.h"
#include "support/tree_manifest.h"
#include "support/volume_fixture.h"

namespace davit {
namespace {

using restore::PackRange;
using restore::plan_ranges;
using restore::WantedBlob;

base::Id id_of(uint8_t value) {
  base::Id id;
  id.bytes.fill(value);
  return id;
}
WantedBlob blob(uint8_t id, uint8_t pack, uint32_t offset, uint32_t length, uint64_t at = 0) {
  return {id_of(id), {id_of(pack), offset, length, 0}, {{nullptr, at}}};
}

TEST(RestorePlan, NeighboursAreReadTogetherAndEachBlobOnce) {
  const auto ranges =
      plan_ranges({blob(1, 9, 200, 50, 10), blob(2, 9, 0, 100), blob(1, 9, 200, 50, 20)});
  ASSERT_EQ(ranges.size(), 1u);
  EXPECT_EQ(ranges[0].offset, 0u);
  EXPECT_EQ(ranges[0].size_bytes, 250u);
  ASSERT_EQ(ranges[0].blobs.size(), 2u);
  ASSERT_EQ(ranges[0].blobs[1].targets.size(), 2u);
  EXPECT_EQ(ranges[0].blobs[1].targets[0].offset, 10u);
  EXPECT_EQ(ranges[0].blobs[1].targets[1].offset, 20u);
}

TEST(RestorePlan, FarApartAreReadApart) {
  const auto ranges = plan_ranges({blob(1, 9, 0, 10), blob(2, 9, 10'000'000, 10)});
  ASSERT_EQ(ranges.size(), 2u);
  EXPECT_EQ(ranges[1].size_bytes, 10u);
}

TEST(RestorePlan, ARangeStaysBelowItsLimitUnlessOneBlobIsLarger) {
  restore::RangeLimits limits;
  limits.max_range_bytes = 100;
  const auto ranges =
      plan_ranges({blob(1, 9, 0, 60), blob(2, 9, 60, 60), blob(3, 9, 120, 500)}, limits);
  ASSERT_EQ(ranges.size(), 3u);
  EXPECT_EQ(ranges[2].size_bytes, 500u);
}

TEST(RestorePlan, PacksComeInTheOrderOfFirstUse) {
  const auto ranges = plan_ranges({blob(1, 7, 0, 10), blob(2, 3, 0, 10), blob(3, 7, 10, 10)});
  ASSERT_EQ(ranges.size(), 2u);
  EXPECT_EQ(ranges[0].pack, id_of(7));
  EXPECT_EQ(ranges[0].blobs.size(), 2u);
}

TEST(RestorePlan, OverlappingBlobsOfADamagedIndexAreReadApart) {
  const auto ranges = plan_ranges({blob(1, 7, 0, 100), blob(2, 7, 50, 100)});
  EXPECT_EQ(ranges.size(), 2u);
}

class Damage : public ::testing::Test {
 protected:
  // Where the content of `name` in the saved volume's root lies.
  repo::BlobLocation locate(const base::Id& root, const std::string& name) {
    auto& repository = fixture_.repository();
    base::Id tree = root;
    for (const char* part : {"volumes", "v"})
      for (const auto& node : repo::parse_tree(repository.load_blob(repo::BlobType::tree, tree)))
        if (node.name == part) tree = *node.subtree;
    for (const auto& node : repo::parse_tree(repository.load_blob(repo::BlobType::tree, tree)))
      if (node.name == name)
        return *repository.index().find(repo::BlobType::data, node.content.at(0));
    throw base::NotFound(name);
  }
  std::string pack_path(const base::Id& pack) {
    return fixture_.repository_path() + "/data/" + pack.hex().substr(0, 2) + "/" + pack.hex();
  }
  void flip(const std::string& path, uint64_t offset) {
    ASSERT_EQ(::chmod(path.c_str(), 0600), 0);
    const base::Fd fd = base::open_file(path, O_RDWR);
    uint8_t byte[1];
    ASSERT_EQ(base::pread_up_to(fd.get(), byte, offset), 1u);
    byte[0] ^= 1;
    base::pwrite_all(fd.get(), byte, offset);
  }
  test::VolumeFixture fixture_;
};

TEST_F(Damage, ADamagedBlobFailsTheRestoreAndNamesTheFile) {
  base::make_directories(fixture_.volume("v"));
  base::write_file_atomic(fixture_.volume("v") + "/file", test::random_bytes(10'000, 1));
  const auto saved = fixture_.save("v");
  const auto location = locate(saved.result.tree, "file");
  flip(pack_path(location.pack), location.offset + 100);
  try {
    fixture_.restore(saved.result.tree, "v", "back");
    FAIL() << "restored damaged content";
  } catch (const base::Corrupt& error) {
    EXPECT_NE(std::string(error.what()).find("file"), std::string::npos) << error.what();
  }
}

TEST_F(Damage, AnotherCopyOfTheBlobServes) {
  base::make_directories(fixture_.volume("v"));
  const base::Bytes content = test::random_bytes(10'000, 1);
  base::write_file_atomic(fixture_.volume("v") + "/file", content);
  const auto saved = fixture_.save("v");
  const auto location = locate(saved.result.tree, "file");
  {
    repo::UploadSession session(fixture_.repository());
    base::Id id;
    for (const auto& node :
         repo::parse_tree(fixture_.repository().load_blob(repo::BlobType::tree, saved.result.tree)))
      id = *node.subtree;
    const base::Id data = session.save_blob(repo::BlobType::data, content).id;
    session.save_blob(repo::BlobType::data, data, content, true);
    session.finish();
  }
  // Whichever copy is tried first, one of the two must do.
  flip(pack_path(location.pack), location.offset + 100);
  fixture_.restore(saved.result.tree, "v", "back");
  EXPECT_EQ(base::get_file(fixture_.volume("back") + "/file"), content);
}

TEST_F(Damage, AMissingPackFailsTheRestore) {
  base::make_directories(fixture_.volume("v"));
  base::write_file_atomic(fixture_.volume("v") + "/file", test::random_bytes(10'000, 1));
  const auto saved = fixture_.save("v");
  ASSERT_EQ(::unlink(pack_path(locate(saved.result.tree, "file").pack).c_str()), 0);
  EXPECT_THROW(fixture_.restore(saved.result.tree, "v", "back"), base::Error);
}

// Wherever a read from the store fails, the restore either throws or is whole.
TEST(RestoreFaults, NoFailedReadGoesUnnoticed) {
  test::TempDir directory;
  const std::string volume = directory / "v";
  test::TreeSpec spec;
  spec.devices = spec.owners = spec.trusted_xattrs = ::geteuid() == 0;
  spec.large = spec.sparse = false;
  spec.random_files = 20;
  spec.wide_entries = 5;
  spec.deep_levels = 2;
  test::make_tree(volume, spec);
  auto faults = std::make_shared<test::FaultStore>(std::make_shared<test::MemoryStore>());
  const auto repository = test::make_repository(faults);
  archive::Result saved;
  {
    const base::Fd root = base::open_file(volume, O_RDONLY | O_DIRECTORY);
    repo::UploadSession session(*repository);
    archive::Source source;
    source.directory = root.get();
    source.path = "/volumes/v";
    saved = archive::archive_tree(*repository, session, source, {});
    session.finish();
  }
  const std::string expected = test::tree_manifest(volume);
  const auto attempt = [&](const std::string& name) {
    base::make_directories(directory / name);
    const base::Fd root = base::open_file(directory / name, O_RDONLY | O_DIRECTORY);
    restore::Options options;
    options.sync = false;
    return restore::restore_tree(*repository, saved.tree, "/volumes/v", root.get(), options);
  };
  const uint64_t before = faults->calls();
  attempt("whole");
  const uint64_t calls = faults->calls() - before;
  EXPECT_EQ(test::manifest_difference(expected, test::tree_manifest(directory / "whole")), "");
  ASSERT_GT(calls, 5u);
  size_t failed = 0;
  for (uint64_t i = 1; i <= calls; i += 1 + calls / 40) {
    faults->fail_call(faults->calls() + i);
    const std::string name = "try" + std::to_string(i);
    try {
      attempt(name);
      EXPECT_EQ(test::manifest_difference(expected, test::tree_manifest(directory / name)), "")
          << i;
    } catch (const base::Error&) {
      ++failed;
    }
    faults->fail_call(0);
  }
  EXPECT_GT(failed, 0u);
}

// Wherever a write to the store fails, the backup throws: a tree that lacks something has no ID.
TEST(ArchiveFaults, NoFailedWriteGoesUnnoticed) {
  test::TempDir directory;
  test::TreeSpec spec;
  spec.devices = spec.owners = spec.trusted_xattrs = ::geteuid() == 0;
  spec.random_files = 20;
  spec.wide_entries = 5;
  spec.deep_levels = 2;
  test::make_tree(directory / "v", spec);
  const base::Fd root = base::open_file(directory / "v", O_RDONLY | O_DIRECTORY);
  uint64_t calls = 4;
  for (uint64_t number = 1; number <= calls; ++number) {
    auto faults = std::make_shared<test::FaultStore>(std::make_shared<test::MemoryStore>());
    const auto repository = test::make_repository(faults);
    const auto run = [&] {
      repo::UploadSession session(*repository, {.pack_size_bytes = 4 << 20});
      archive::Source source;
      source.directory = root.get();
      source.path = "/volumes/v";
      archive::archive_tree(*repository, session, source, {});
      session.finish();
    };
    if (number == 1) {
      const uint64_t before = faults->calls();
      run();
      calls = faults->calls() - before;
      ASSERT_GT(calls, 3u);
      continue;
    }
    const uint64_t failing = faults->calls() + number - 1;
    faults->fail_call(failing);
    try {
      run();
      // How blobs fall into packs is random: this run may have needed fewer calls.
      EXPECT_LT(faults->calls(), failing);
    } catch (const base::IoError&) {
    }
  }
}

}  // namespace
}  // namespace davit
