#include "volumes/registry.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <thread>

#include "base/errors.h"
#include "base/fault.h"
#include "base/files.h"
#include "support/fake_clock.h"
#include "support/temp_dir.h"
#include "volumes/record.h"

namespace davit::volumes {
namespace {

using test::TempDir;

class RegistryTest : public ::testing::Test {
 protected:
  Volume make_ready_volume(Registry& registry, const std::string& name,
                           const std::string& content = "x") {
    const Volume volume = registry.create(name, State::creating, {});
    base::write_file_atomic(registry.prepare_staging(volume.uuid) + "/content",
                            base::as_bytes(content));
    registry.make_ready(volume.uuid);
    return *registry.find(name);
  }
  std::string content(const std::string& directory) {
    const auto bytes = base::find_file(directory + "/content");
    return bytes ? std::string(base::as_text(*bytes)) : "none";
  }

  TempDir dir;
  test::FakeClock clock;
};

TEST_F(RegistryTest, VolumeGoesFromCreatingToReadyToRemovedToNothing) {
  Registry registry(dir.path(), clock);
  const Volume made = registry.create("pgdata", State::creating, {{"schedule", "@hourly"}});
  EXPECT_EQ(registry.find("pgdata")->state, State::creating);
  struct stat root;
  ASSERT_EQ(::stat(dir.path().c_str(), &root), 0);
  EXPECT_EQ(made.device, root.st_dev);

  const std::string staging = registry.prepare_staging(made.uuid);
  struct stat status;
  ASSERT_EQ(::stat(staging.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0755u);
  EXPECT_TRUE(base::list_directory(staging).empty());  // else the engine copies nothing up
  registry.make_ready(made.uuid);

  const Volume ready = *registry.find("pgdata");
  EXPECT_EQ(ready.state, State::ready);
  EXPECT_EQ(registry.directory(ready), dir / "volumes/pgdata");
  EXPECT_EQ(ready.options.at("schedule"), "@hourly");

  clock.advance(std::chrono::minutes(5));
  const Volume removed = registry.remove("pgdata", true);
  EXPECT_EQ(removed.removed_at, clock.now());
  EXPECT_FALSE(registry.find("pgdata"));
  ASSERT_EQ(registry.list_removed().size(), 1u);
  EXPECT_EQ(base::list_directory(dir / "removed"), std::vector<std::string>{made.uuid});
  EXPECT_THROW(registry.remove("pgdata", true), base::NotFound);

  registry.drop(made.uuid);
  registry.drop(made.uuid);
  EXPECT_TRUE(registry.list_removed().empty());
  for (const char* place : {"registry", "volumes", "staging", "removed"})
    EXPECT_TRUE(base::list_directory(dir / place).empty()) << place;
}

TEST_F(RegistryTest, EverythingIsThereAgainAfterRestart) {
  Volume before;
  {
    Registry registry(dir.path(), clock);
    make_ready_volume(registry, "a", "of a");
    const Volume restoring =
        registry.create("r", State::restoring, {{"from", "a"}}, [](Volume& volume) {
          volume.source_snapshot = std::string(64, '1');
          volume.source_path = "/volumes/a";
          volume.waits_for = "11111111-2222-4333-8444-555555555555";
          volume.images_owed = true;
        });
    registry.prepare_staging(restoring.uuid);
    before = registry.update(registry.find("a")->uuid, [&](Volume& volume) {
      volume.options["exclude"] = "*.tmp\n/cache \"x\"";
      volume.last_backup = {clock.now(), clock.now(), std::string(64, 'a'), "live", true,
                            12,          3456,        "no\xff room"};
      for (const auto state :
           {ImageLoad::State::pending, ImageLoad::State::loaded, ImageLoad::State::failed})
        volume.images.push_back({"davit/web:1", "Web", std::string(64, 'b'), state, "why"});
    });
    registry.remove("a", true);
    make_ready_volume(registry, "a", "of the second a");
  }
  Registry registry(dir.path(), clock);
  EXPECT_EQ(content(registry.directory(*registry.find("a"))), "of the second a");
  ASSERT_EQ(registry.list_removed().size(), 1u);
  const Volume removed = registry.list_removed()[0];
  EXPECT_EQ(content(registry.directory(removed)), "of a");
  EXPECT_EQ(removed.options, before.options);
  EXPECT_EQ(removed.last_backup.succeeded, before.last_backup.succeeded);
  EXPECT_EQ(removed.last_backup.bytes, 3456u);
  EXPECT_TRUE(removed.last_backup.partial);
  EXPECT_EQ(removed.images.size(), 3u);
  EXPECT_EQ(removed.images, before.images);
  EXPECT_FALSE(removed.images_owed);
  const Volume restoring = *registry.find("r");
  EXPECT_EQ(restoring.state, State::restoring);
  EXPECT_EQ(restoring.source_path, "/volumes/a");
  EXPECT_EQ(restoring.waits_for, "11111111-2222-4333-8444-555555555555");
  EXPECT_TRUE(restoring.images_owed);
}

TEST_F(RegistryTest, NameIsHeldByOneVolume) {
  Registry registry(dir.path(), clock);
  const Volume first = registry.create("a", State::restoring, {});
  EXPECT_THROW(registry.create("a", State::creating, {}), base::Conflict);
  registry.set_failed(first.uuid, "the store is gone");
  EXPECT_EQ(registry.find("a")->error, "the store is gone");
  EXPECT_THROW(registry.create("a", State::creating, {}), base::Conflict);
  registry.remove("a", true);
  EXPECT_TRUE(registry.list_removed().empty());  // never complete: not kept
  registry.create("a", State::creating, {});
}

TEST_F(RegistryTest, DirectoryThatNoRecordKnowsIsNeverTakenOver) {
  base::make_directories(dir / "volumes/stranger");
  Registry registry(dir.path(), clock);
  EXPECT_THROW(registry.create("stranger", State::creating, {}), base::Conflict);
  EXPECT_FALSE(registry.find("stranger"));
  registry.sweep();
  EXPECT_EQ(base::list_directory(dir / "volumes").size(), 1u);
}

TEST_F(RegistryTest, RemovedDataThatIsNotWantedGoesWithTheSweep) {
  Registry registry(dir.path(), clock);
  const Volume volume = make_ready_volume(registry, "a");
  registry.remove("a", false);
  EXPECT_FALSE(registry.find_uuid(volume.uuid));
  EXPECT_EQ(base::list_directory(dir / "removed").size(), 1u);
  const Volume half = registry.create("half", State::restoring, {});
  const std::string staging = registry.prepare_staging(half.uuid);
  base::write_file_atomic(staging + "/f", base::as_bytes("x"));
  registry.sweep();
  EXPECT_TRUE(base::list_directory(dir / "removed").empty());
  EXPECT_EQ(base::list_directory(dir / "staging").size(), 1u);  // still being made
  registry.abandon(half.uuid);
  registry.abandon(half.uuid);
  registry.sweep();
  EXPECT_TRUE(base::list_directory(dir / "staging").empty());
}

TEST_F(RegistryTest, RemovedDataWithoutARecordIsNotDeleted) {
  // As when somebody lost DATA/registry: what is not marked as dropped might be the only copy.
  base::make_directories(dir / "removed/11111111-2222-4333-8444-555555555555/only-copy");
  Registry registry(dir.path(), clock);
  registry.sweep();
  EXPECT_EQ(base::list_directory(dir / "removed").size(), 1u);
}

TEST_F(RegistryTest, FailedRestoreCanBeTriedAnew) {
  Registry registry(dir.path(), clock);
  const Volume volume =
      registry.create("a", State::restoring, {}, [](Volume& v) { v.source_path = "/volumes/a"; });
  base::write_file_atomic(registry.prepare_staging(volume.uuid) + "/half", base::as_bytes("x"));
  registry.set_failed(volume.uuid, "no");
  EXPECT_THROW(registry.make_ready(volume.uuid), base::NotFound);
  registry.set_restoring(volume.uuid);
  EXPECT_TRUE(base::list_directory(registry.prepare_staging(volume.uuid)).empty());
  registry.make_ready(volume.uuid);
  EXPECT_EQ(registry.find("a")->state, State::ready);
  EXPECT_THROW(registry.drop(volume.uuid), base::Conflict);
}

TEST_F(RegistryTest, MissingDirectoryIsAFailureUntilItIsBack) {
  {
    Registry registry(dir.path(), clock);
    make_ready_volume(registry, "a", "kept");
  }
  base::rename_durably(dir / "volumes/a", dir / "elsewhere");
  {
    Registry registry(dir.path(), clock);
    EXPECT_EQ(registry.find("a")->state, State::failed);
    EXPECT_NE(registry.find("a")->error.find("missing"), std::string::npos);
    registry.update(registry.find("a")->uuid,
                    [](Volume& volume) { volume.options["keep-daily"] = "7"; });
  }
  base::rename_durably(dir / "elsewhere", dir / "volumes/a");
  Registry registry(dir.path(), clock);
  EXPECT_EQ(registry.find("a")->state, State::ready);
  EXPECT_EQ(content(registry.directory(*registry.find("a"))), "kept");
}

TEST_F(RegistryTest, DamagedRecordStopsTheStartAndIsNamed) {
  std::string path;
  {
    Registry registry(dir.path(), clock);
    path = dir / ("registry/" + make_ready_volume(registry, "a").uuid + ".json");
  }
  const std::string good(base::as_text(base::get_file(path)));
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
  };
  for (const std::string& bad :
       {std::string(), std::string("{}"), std::string("[1]"), good.substr(0, good.size() / 2),
        replaced("ready", "odd"), replaced("\"a\"", "\"../a\""),
        replaced("\"device\"", "\"devize\""), replaced("\"options\": {}", "\"options\": 7"),
        replaced("2026", "year"), std::string(100'000, '[')}) {
    base::write_file_atomic(path, base::as_bytes(bad));
    try {
      Registry registry(dir.path(), clock);
      FAIL() << bad;
    } catch (const base::Corrupt& error) {
      EXPECT_NE(std::string(error.what()).find(path), std::string::npos) << error.what();
    }
  }
  base::write_file_atomic(path, base::as_bytes(replaced("\"version\": 1", "\"version\": 2")));
  EXPECT_THROW(Registry(dir.path(), clock), base::Unsupported);
  base::write_file_atomic(path, base::as_bytes(good));
  EXPECT_EQ(Registry(dir.path(), clock).list().size(), 1u);
}

TEST_F(RegistryTest, LongestNameWorks) {
  const std::string name(255, 'n');
  Registry registry(dir.path(), clock);
  make_ready_volume(registry, name, "long");
  EXPECT_EQ(content(registry.directory(*registry.find(name))), "long");
  registry.remove(name, true);
  registry.drop(registry.list_removed().at(0).uuid);
}

TEST_F(RegistryTest, FailedWriteLeavesTheVolumeAsItWas) {
  Registry registry(dir.path(), clock);
  const Volume volume = make_ready_volume(registry, "a");
  base::fault_hook = [](const char* point) {
    if (std::string_view(point) == "write_atomic:written") throw base::IoError("planted", ENOSPC);
  };
  EXPECT_THROW(registry.create("b", State::creating, {}), base::IoError);
  EXPECT_THROW(registry.update(volume.uuid, [](Volume& v) { v.options["x"] = "y"; }),
               base::IoError);
  EXPECT_TRUE(registry.find("a")->options.empty());
  // A full disk does not keep anybody from removing.
  registry.remove("a", true);
  base::fault_hook = nullptr;
  EXPECT_FALSE(registry.find("b"));
  EXPECT_EQ(base::list_directory(dir / "registry").size(), 1u);
  EXPECT_EQ(registry.list_removed().size(), 1u);
  Registry again(dir.path(), clock);
  ASSERT_EQ(again.list_removed().size(), 1u);
  EXPECT_TRUE(again.list_removed()[0].removed_at);
}

TEST_F(RegistryTest, ManyThreadsMakeAndRemoveAtOnce) {
  Registry registry(dir.path(), clock);
  std::atomic<int> taken{0}, conflicts{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 12; ++i) {
        make_ready_volume(registry, "own-" + std::to_string(t) + "-" + std::to_string(i));
        try {
          const Volume shared = registry.create("shared", State::creating, {});
          ++taken;
          registry.prepare_staging(shared.uuid);
          registry.make_ready(shared.uuid);
          registry.drop(registry.remove("shared", true).uuid);
        } catch (const base::Conflict&) {
          ++conflicts;
        }
        registry.update(registry.find("own-" + std::to_string(t) + "-0")->uuid,
                        [&](Volume& volume) { volume.options["n"] = std::to_string(i); });
        registry.list();
        registry.sweep();
        if (i % 2)
          registry.remove("own-" + std::to_string(t) + "-" + std::to_string(i), i % 4 == 1);
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(taken, 0);
  EXPECT_EQ(taken + conflicts, 96);
  EXPECT_EQ(registry.list().size(), 48u);
  EXPECT_EQ(registry.list_removed().size(), 24u);
  for (int t = 0; t < 8; ++t)
    EXPECT_EQ(registry.find("own-" + std::to_string(t) + "-0")->options.at("n"), "11");
}

TEST_F(RegistryTest, AReplacementTakesThePlaceOfTheDataInOneStep) {
  Registry registry(dir.path(), clock);
  const Volume volume = make_ready_volume(registry, "pgdata", "old");
  base::write_file_atomic(registry.prepare_replacement(volume.uuid) + "/content",
                          base::as_bytes("new"));
  EXPECT_THROW(registry.prepare_replacement(volume.uuid), base::Conflict);
  registry.sweep();  // must not take what is being made
  registry.replace(volume.uuid);
  EXPECT_EQ(content(registry.directory(volume)), "new");
  registry.sweep();
  EXPECT_TRUE(base::list_directory(dir / "staging").empty());
}

TEST_F(RegistryTest, NoReplacementTakesThePlaceOfAFormerOneThatIsBeingSwept) {
  Registry registry(dir.path(), clock);
  const Volume volume = make_ready_volume(registry, "pgdata", "old");
  const std::string first = registry.prepare_replacement(volume.uuid);
  registry.abandon_replacement(volume.uuid);
  EXPECT_THROW(registry.replace(volume.uuid), base::NotFound);
  const std::string second = registry.prepare_replacement(volume.uuid);
  EXPECT_NE(first, second);
  base::write_file_atomic(second + "/content", base::as_bytes("new"));
  registry.sweep();
  registry.replace(volume.uuid);
  EXPECT_EQ(content(registry.directory(volume)), "new");
}

TEST_F(RegistryTest, AnAbandonedReplacementIsSweptAndTheDataStays) {
  Registry registry(dir.path(), clock);
  const Volume volume = make_ready_volume(registry, "pgdata", "old");
  registry.prepare_replacement(volume.uuid);
  registry.abandon_replacement(volume.uuid);
  registry.sweep();
  EXPECT_TRUE(base::list_directory(dir / "staging").empty());
  EXPECT_EQ(content(registry.directory(volume)), "old");
  EXPECT_THROW(registry.prepare_replacement("no such volume"), base::NotFound);
}

}  // namespace
}  // namespace davit::volumes
