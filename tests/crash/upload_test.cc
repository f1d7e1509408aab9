// An upload that dies at any step of the store. Whatever is left, the repository is whole: what an
// index names can be read, a snapshot that is there is complete, and the next run goes on.
#include "repo/upload.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <thread>

#include "base/errors.h"
#include "base/fault.h"
#include "repo/tree.h"
#include "store/open.h"
#include "support/restic.h"
#include "support/temp_dir.h"
#include "support/test_repository.h"

namespace davit::repo {
namespace {

using base::Id;

std::atomic<uint64_t> g_points{0};
uint64_t g_die_at = 0;

base::Bytes content(uint64_t i) {
  return i % 2 ? test::random_bytes(500 + i * 97, i) : test::compressible_bytes(700 + i * 131, i);
}

constexpr uint64_t kBlobs = 60;

// What a backup does, in small: data from two threads, a tree, the snapshot.
Id back_up(Repository& repository) {
  repository.refresh_index();
  UploadSession session(repository, {.pack_size_bytes = 16 << 10, .index_blobs = 15});
  std::vector<Id> ids(kBlobs);
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 2; ++t)
    threads.emplace_back([&, t] {
      for (uint64_t i = t; i < kBlobs; i += 2)
        ids[i] = session.save_blob(BlobType::data, content(i)).id;
    });
  for (auto& thread : threads) thread.join();
  TreeEncoder tree;
  for (uint64_t i = 0; i < kBlobs; ++i) {
    Node node;
    node.name = "file" + std::to_string(100 + i);
    node.mode = go_mode(S_IFREG | 0600);
    node.size = content(i).size();
    node.content = {ids[i]};
    tree.add(node);
  }
  Snapshot snapshot;
  snapshot.tree = session.save_blob(BlobType::tree, tree.finish()).id;
  session.finish();
  snapshot.time = parse_zoned_time("2026-11-22T16:00:00Z");
  snapshot.paths = {"/volumes/data"};
  snapshot.hostname = "host";
  return repository.save_snapshot(snapshot);
}

// Through fresh eyes.
size_t verify(const Repository& as) {
  const auto repository = std::make_unique<Repository>(store::open_store(as.store().describe()),
                                                       as.config(), as.key(), as.key_id());
  const auto snapshots = repository->load_snapshots();
  repository->refresh_index();
  repository->index().for_each([&](const IndexEntry& entry) {
    base::Bytes out;
    EXPECT_NO_THROW(repository->load_blob_from(entry.location, entry.type, entry.id, out));
  });
  for (const auto& file : snapshots) {
    uint64_t i = 0;
    for (const Node& node : parse_tree(repository->load_blob(BlobType::tree, file.snapshot.tree)))
      EXPECT_EQ(repository->load_blob(BlobType::data, node.content.at(0)), content(i++))
          << node.name;
    EXPECT_EQ(i, kBlobs);
  }
  return snapshots.size();
}

// Runs a backup that dies at its Nth step; false once there are not so many.
bool dies_at(Repository& repository, uint64_t step) {
  const pid_t child = ::fork();
  if (child < 0) throw base::Error("cannot fork");
  if (child == 0) {
    g_die_at = step;
    base::fault_hook = [](const char*) {
      if (++g_points == g_die_at) ::_exit(9);
    };
    try {
      back_up(repository);
      ::_exit(0);
    } catch (...) {
      ::_exit(1);
    }
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) != 1) << "step " << step;
  return WEXITSTATUS(status) == 9;
}

TEST(UploadCrash, DyingAtAnyStepLeavesAWholeRepository) {
  const bool soak = std::getenv("DAVIT_SOAK") != nullptr;
  const char* seed_text = std::getenv("DAVIT_SEED");
  const uint64_t seed =
      seed_text != nullptr ? std::strtoull(seed_text, nullptr, 10) : ::time(nullptr) / 86400;
  SCOPED_TRACE("DAVIT_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);

  test::TempDir directory;
  const std::string empty = directory / "empty";
  const auto made = Repository::init(store::open_store(empty), "p");

  uint64_t steps = 0, tried = 0;
  for (uint64_t step = 1;; step += soak ? 1 : 1 + random() % 16) {
    const std::string path = directory / std::to_string(step);
    std::filesystem::copy(empty, path, std::filesystem::copy_options::recursive);
    const auto repository = std::make_unique<Repository>(store::open_store(path), made->config(),
                                                         made->key(), made->key_id());
    const bool died = dies_at(*repository, step);
    const size_t before = verify(*repository);
    EXPECT_LE(before, 1u);
    EXPECT_TRUE(died || before == 1);
    back_up(*repository);
    EXPECT_EQ(verify(*repository), before + 1);
    if (test::Restic::is_installed() && (!died || tried % 5 == 0)) {
      const test::Restic restic(path, "p");
      EXPECT_TRUE(succeeded(restic.ask({"check", "--read-data"})));
      EXPECT_TRUE(succeeded(restic.ask({"prune", "--max-unused", "0"})));  // takes the orphans away
      EXPECT_TRUE(succeeded(restic.ask({"check", "--read-data"})));
    }
    std::filesystem::remove_all(path);
    ++tried;
    if (!died) break;
    steps = step;
  }
  // Chance decides how many packs there are; each has six steps.
  EXPECT_GT(steps, 40u);
}

}  // namespace
}  // namespace davit::repo
