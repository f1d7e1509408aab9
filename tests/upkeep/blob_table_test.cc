#include "upkeep/blob_table.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <thread>

#include "base/files.h"
#include "support/index_world.h"
#include "support/skip.h"

namespace davit::upkeep {
namespace {

using test::IndexWorld;

// The table says the same as a plain index, finds all it has, and nothing else.
void expect_right(IndexWorld& world, const repo::Repository& repository) {
  const auto files = list_ids(repository.store(), store::Kind::index);
  const BlobTable table = BlobTable::load(repository, files);
  const auto plain = test::make_repository(world.memory);
  plain->refresh_index();
  std::vector<IndexWorld::Entry> all;
  for (size_t i = 0; i < table.size(); ++i) {
    const auto& record = table.record(i);
    all.push_back(IndexWorld::entry(table.type(i), record.id, table.location(i)));
    const auto copies = table.find(table.type(i), record.id);
    ASSERT_GE(i, copies.first);
    ASSERT_LT(i, copies.first + copies.count);
    ASSERT_EQ(table.copies_of(i).first, copies.first);
    ASSERT_EQ(table.copies_of(i).count, copies.count);
    base::Id other = record.id;
    other.bytes[31] ^= 1;
    ASSERT_TRUE(table.find(table.type(i), other).empty());
  }
  std::sort(all.begin(), all.end());
  ASSERT_EQ(all, IndexWorld::all_of(plain->index()));
  ASSERT_EQ(table.files().size(), files.size());
}

TEST(BlobTable, SaysWhatTheIndexFilesSay) {
  IndexWorld world;
  expect_right(world, *world.open());
  for (int i = 0; i < 8; ++i) world.add_file(20, 100);
  expect_right(world, *world.open());
  expect_right(world, *test::make_repository(world.store));
  EXPECT_TRUE(base::list_directory(world.directory.path()).empty());
}

TEST(BlobTable, DoesWithoutADirectory) {
  IndexWorld world;
  for (int i = 0; i < 3; ++i) world.add_file(20, 100);
  base::write_file_atomic(world.directory / "file", base::as_bytes("x"));
  const auto repository = test::make_repository(world.store);
  repository->use_index_cache(world.directory / "file");
  expect_right(world, *repository);
}

// Prune is what people run when the disk is full.
TEST(BlobTable, DoesWithoutRoomOnTheDisk) {
  if (::geteuid() != 0) DAVIT_SKIP("mounting needs root");
  IndexWorld world;
  for (int i = 0; i < 8; ++i) world.add_file(20, 100);
  const std::string small = world.directory / "small";
  base::make_directories(small);
  bool is_mounted = false;
  // In a thread: the name space is its own, and ends with it.
  std::thread([&] {
    is_mounted = ::unshare(CLONE_NEWNS) == 0 &&
                 ::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                 ::mount("tmpfs", small.c_str(), "tmpfs", 0, "size=64k") == 0;
    if (!is_mounted) return;
    const auto repository = test::make_repository(world.store);
    repository->use_index_cache(small);
    expect_right(world, *repository);
  }).join();
  if (!is_mounted) DAVIT_SKIP("no mounts here");
}

}  // namespace
}  // namespace davit::upkeep
