// Our prune and check, and two real restics, 0.14 (or the one in PATH) and 0.18, on the same
// repositories.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <optional>
#include <random>
#include <thread>

#include "base/crew.h"
#include "base/errors.h"
#include "repo/lock.h"
#include "store/open.h"
#include "support/made_repository.h"
#include "support/restic.h"
#include "support/temp_dir.h"
#include "upkeep/check.h"
#include "upkeep/prune.h"

namespace davit {
namespace {

namespace fs = std::filesystem;
using store::Kind;
using test::Files;
using test::noise;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Files files_below(const fs::path& directory) {
  Files files;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream in(entry.path(), std::ios::binary);
    files[entry.path().lexically_relative(directory)] =
        std::string(std::istreambuf_iterator<char>(in), {});
  }
  return files;
}

void write_files(const fs::path& directory, const Files& files) {
  fs::remove_all(directory);
  for (const auto& [path, content] : files) {
    fs::create_directories((directory / path).parent_path());
    std::ofstream(directory / path, std::ios::binary) << content;
  }
}

Files mix(uint64_t seed, int count) {
  std::mt19937_64 random(seed);
  Files files;
  for (int i = 0; i < count; ++i) {
    const std::string name = "d" + std::to_string(random() % 5) + "/f" + std::to_string(i);
    // Files that several seeds share, files of one seed, and one of several chunks.
    const uint64_t content = random() % 2 ? i : seed * 1000 + i;
    files[name] = noise(content, i == 7 ? 3'000'000 : 1 + random() % 60'000);
  }
  return files;
}

class UpkeepInterop : public ::testing::TestWithParam<test::ResticVersion> {
 protected:
  void SetUp() override {
    DAVIT_NEEDS_RESTIC_VERSION(GetParam());
    restic_.emplace(path_, "password", test::restic_program(GetParam()));
  }
  // What it says; throws that where it fails.
  std::string run_restic(std::vector<std::string> arguments) {
    const test::Outcome outcome = restic_->ask(std::move(arguments));
    if (outcome.exit_code != 0) throw base::Error(outcome.output + outcome.errors);
    return outcome.output;
  }
  std::unique_ptr<repo::Repository> open() {
    return repo::Repository::open(store::open_store(path_), "password");
  }
  std::unique_ptr<repo::Repository> init() {
    return repo::Repository::init(store::open_store(path_), "password");
  }
  static void prune(repo::Repository& repository) {
    repository.refresh_index();
    execute_prune(repository, upkeep::plan_prune(repository, {}), {},
                  [](const auto& second_phase) { second_phase(); });
  }
  static std::vector<std::string> errors(repo::Repository& repository) {
    upkeep::CheckOptions options;
    options.read_data = true;
    return check(repository, options).errors;
  }
  Files restic_restore(const std::string& snapshot, const std::string& below = "") {
    const fs::path target = directory_ / "restored";
    fs::remove_all(target);
    run_restic({"restore", snapshot, "--target", target.string()});
    return files_below(target / below);
  }
  // A snapshot of the files made by restic; returns its ID.
  std::string restic_backup(const Files& files, const std::string& name = "source") {
    const fs::path source = directory_ / name;
    write_files(source, files);
    const std::string text = run_restic({"backup", "--json", "--host", "made", source.string()});
    const std::string key = "\"snapshot_id\":\"";
    const size_t at = text.rfind(key);
    return text.substr(at + key.size(), text.find('"', at + key.size()) - at - key.size());
  }

  test::TempDir directory_;
  std::string path_ = directory_ / "repository";
  std::optional<test::Restic> restic_;
};
INSTANTIATE_TEST_SUITE_P(With, UpkeepInterop, ::testing::ValuesIn(test::kResticVersions),
                         test::version_name);

TEST_P(UpkeepInterop, ResticChecksAndRestoresWhatWePruned) {
  const auto repository = init();
  std::vector<base::Id> all;
  std::map<base::Id, Files> kept;
  for (uint64_t seed = 0; seed < 8; ++seed) {
    const Files files = mix(seed, 30);
    const base::Id id = test::save_files(*repository, files, test::packs_of(1 << 20), 40'000);
    if (seed % 3 == 0)
      kept[id] = files;
    else
      repository->store().remove({Kind::snapshot, id});
  }
  prune(*repository);
  EXPECT_THAT(run_restic({"check", "--read-data", "--check-unused"}),
              HasSubstr("no errors were found"));
  EXPECT_THAT(errors(*repository), IsEmpty());
  for (const auto& [id, files] : kept) EXPECT_EQ(restic_restore(id.hex()), files);
  // Nothing is left for restic to do.
  EXPECT_THAT(run_restic({"prune"}), ContainsRegex("total prune: +0 blobs"));
}

TEST_P(UpkeepInterop, WePruneWhatResticWrote) {
  run_restic({"init"});
  std::map<std::string, Files> kept;
  for (uint64_t seed = 0; seed < 6; ++seed) {
    const Files files = mix(seed, 30);
    const std::string id = restic_backup(files);
    if (seed % 2)
      kept[id] = files;
    else
      run_restic({"forget", id});
  }
  const auto repository = open();
  EXPECT_THAT(errors(*repository), IsEmpty());
  prune(*repository);
  EXPECT_THAT(errors(*repository), IsEmpty());
  EXPECT_THAT(run_restic({"check", "--read-data", "--check-unused"}),
              HasSubstr("no errors were found"));
  const std::string below = (directory_ / "source").substr(1);
  for (const auto& [id, files] : kept) EXPECT_EQ(restic_restore(id, below), files);
  // And restic goes on with it: all data is known.
  EXPECT_THAT(run_restic({"backup", "--json", "--force", "--host", "made", directory_ / "source"}),
              HasSubstr("\"data_blobs\":0,"));
}

TEST_P(UpkeepInterop, WeCheckWhatResticPrunedOfOurs) {
  const auto repository = init();
  std::map<base::Id, Files> kept;
  for (uint64_t seed = 0; seed < 6; ++seed) {
    const Files files = mix(seed, 30);
    const base::Id id = test::save_files(*repository, files, test::packs_of(1 << 20), 40'000);
    if (seed % 3 == 0)
      kept[id] = files;
    else
      run_restic({"forget", id.hex()});
  }
  run_restic({"prune"});
  repository->refresh_index();
  EXPECT_THAT(errors(*repository), IsEmpty());
  for (const auto& [id, files] : kept) EXPECT_EQ(test::read_files(*repository, id), files);
  prune(*repository);
  EXPECT_THAT(errors(*repository), IsEmpty());
  run_restic({"check", "--read-data"});
}

// Locks are all that keeps them apart.
TEST_P(UpkeepInterop, BackupsAndPrunesOfBothWorkOnOneRepositoryAtOnce) {
  init();
  const repo::LockTiming quick{.settle = std::chrono::milliseconds(200)};
  const auto take = [&](repo::Repository& repository, repo::LockMode mode) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(3);
    for (;;) {
      try {
        return repo::Lock::take(repository, mode, {.host = "made"}, quick);
      } catch (const base::Locked&) {
        if (std::chrono::steady_clock::now() > deadline) throw;
        std::this_thread::yield();
      }
    }
  };
  std::atomic<int> running{2};
  std::map<std::string, Files> theirs;
  std::map<base::Id, Files> ours;
  int prunes = 0, their_prunes = 0;
  base::Crew crew({});
  // False where a lock of ours was in the way.
  const auto did = [](const auto& work) {
    try {
      work();
      return true;
    } catch (const base::Error& error) {
      if (std::string(error.what()).find("locked") == std::string::npos) throw;
      return false;
    }
  };
  crew.start("restic", [&] {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(3);
    const auto until_done = [&](const auto& work) {
      while (!did(work))
        if (std::chrono::steady_clock::now() > deadline)
          throw base::Error("restic never gets the lock");
    };
    for (uint64_t seed = 0; seed < 6; ++seed) {
      const Files files = mix(seed, 25);
      until_done([&] { theirs[restic_backup(files)] = files; });
      if (did([&] { run_restic({"prune", "--max-unused", "0"}); })) ++their_prunes;
    }
    --running;
    until_done([&] { run_restic({"prune", "--max-unused", "0"}); });
    ++their_prunes;
  });
  crew.start("ours", [&] {
    const auto repository = open();
    for (uint64_t seed = 0; seed < 12; ++seed) {
      const Files files = mix(seed / 2, 25);
      const auto lock = take(*repository, repo::LockMode::shared);
      // Cut as restic cuts them only where one piece is enough; what is shared is shared.
      const auto id = test::save_files(*repository, files, test::packs_of(1 << 20), 512 << 10);
      if (seed % 2)
        ours[id] = files;
      else
        repository->store().remove({Kind::snapshot, id});
      lock->release();
    }
    --running;
  });
  crew.start("prune", [&] {
    const auto repository = open();
    while (running > 0) {
      try {
        const auto shared = take(*repository, repo::LockMode::shared);
        repository->refresh_index();
        execute_prune(*repository, upkeep::plan_prune(*repository, {}), {},
                      [&](const auto& second_phase) {
                        shared->release();
                        const auto exclusive = take(*repository, repo::LockMode::exclusive);
                        second_phase();
                        exclusive->release();
                      });
        ++prunes;
      } catch (const base::Conflict&) {  // restic has pruned between the phases
      }
    }
  });
  crew.join();
  EXPECT_GT(prunes, 0);
  EXPECT_GT(their_prunes, 0);
  const auto repository = open();
  prune(*repository);
  EXPECT_THAT(errors(*repository), IsEmpty());
  run_restic({"check", "--read-data"});
  for (const auto& [id, files] : ours) EXPECT_EQ(test::read_files(*repository, id), files);
  const std::string below = (directory_ / "source").substr(1);
  for (const auto& [id, files] : theirs) EXPECT_EQ(restic_restore(id, below), files);
}

}  // namespace
}  // namespace davit
