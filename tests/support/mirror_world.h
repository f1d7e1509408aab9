// What tests of one mirror share: a primary and its mirror, and what brings that up to date.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "jobs/mirror_removals.h"
#include "jobs/mirror_sync.h"
#include "store/open.h"
#include "support/fault_store.h"
#include "support/made_repository.h"
#include "support/memory_store.h"
#include "support/quick_repository.h"
#include "support/temp_dir.h"
#include "upkeep/check.h"
#include "upkeep/prune.h"

namespace davit::jobs {

// A primary and a mirror, in memory but for the mirror of a test that restic reads.
struct MirrorWorld {
  using Kind = store::Kind;
  using Name = store::Name;
  static constexpr Kind kKinds[] = {Kind::config, Kind::key, Kind::data, Kind::index, Kind::snapshot};

  explicit MirrorWorld(std::shared_ptr<store::Store> mirror_files = std::make_shared<test::MemoryStore>(),
                 bool append_only = false)
      : mirror_files(std::move(mirror_files)) {
    // As a repository is made, at the cost of a quick password.
    test::make_quick_repository(directory / "made");
    const auto made = store::open_store(directory / "made");
    files->put(Name{}, base::ByteView(made->get({}, 1 << 20)));
    made->list(Kind::key, [&](const store::FileInfo& file) {
      files->put({Kind::key, file.id}, base::ByteView(made->get({Kind::key, file.id}, 1 << 20)));
    });
    store::MirrorOptions options;
    options.pause = std::chrono::milliseconds(0);
    options.before_remove = [this](const Name& name) { removals->note(name); };
    stores = std::make_shared<store::MirrorStore>(
        store::MirrorStore::Copy{primary},
        std::vector<store::MirrorStore::Copy>{{mirror, false, append_only}}, options);
    repository = repo::Repository::open(stores, test::kQuickPassword);
    book.set({{mirror->describe(), append_only}});
  }

  std::string place() const { return mirror->describe(); }
  base::Id save(uint64_t seed) {
    repository->refresh_index();
    return test::save_files(
        *repository, {{"a/file", test::noise(seed, 30'000)}, {"b", test::noise(seed + 1, 9'000)}},
        test::packs_of(16 << 10));
  }
  // `before`: called when it is about to free what nobody needs.
  void prune(const std::function<void()>& before = [] {}) {
    repository->refresh_index();
    upkeep::PruneOptions options;
    options.max_unused_ratio = 0;
    upkeep::execute_prune(*repository, upkeep::plan_prune(*repository, options), options,
                          [&](const auto& second_phase) {
                            const auto noted =
                                removals->begin_prune(test::ids_of(*stores, Kind::snapshot));
                            before();
                            second_phase();
                          });
  }
  MirrorSyncResult sync() {
    MirrorSyncOptions options;
    options.identity = {.host = "here-1"};
    options.timing.settle = std::chrono::milliseconds(1);
    options.timing.retry = std::chrono::milliseconds(1);
    options.is_ours = [](const repo::LockInfo& info) { return info.lock.hostname == "here-1"; };
    options.clock = &clock;
    options.first = true;
    return sync_mirror(*repository, *stores, 0, book, options);
  }
  // "" where all files are the same.
  std::string difference() {
    std::string text;
    for (const Kind kind : kKinds) {
      std::vector<Name> names{Name{}};
      if (kind != Kind::config) {
        if (test::ids_of(*files, kind) != test::ids_of(*mirror_files, kind)) {
          text += std::string(store::kind_name(kind)) + " files are others; ";
          continue;
        }
        names.clear();
        for (const auto& id : test::ids_of(*files, kind)) names.push_back({kind, id});
      }
      for (const auto& name : names)
        if (files->get(name, 1 << 30) != mirror_files->get(name, 1 << 30))
          text += to_string(name) + " differs; ";
    }
    return text;
  }
  // What is wrong with the mirror as a repository of its own.
  std::vector<std::string> mirror_errors() {
    const auto there = repository->in(mirror_files);
    there->refresh_index();
    upkeep::CheckOptions options;
    options.read_data = true;
    return upkeep::check(*there, options).errors;
  }

  test::TempDir directory;
  base::SystemClock clock;
  std::shared_ptr<test::MemoryStore> files = std::make_shared<test::MemoryStore>();
  std::shared_ptr<store::Store> mirror_files;
  std::shared_ptr<test::FaultStore> primary = std::make_shared<test::FaultStore>(files);
  std::shared_ptr<test::FaultStore> mirror = std::make_shared<test::FaultStore>(mirror_files);
  MirrorBook book{directory / "mirrors"};
  const std::shared_ptr<MirrorRemovals> removals =
      std::make_shared<MirrorRemovals>(book, std::vector{mirror->describe()});
  std::shared_ptr<store::MirrorStore> stores;
  std::unique_ptr<repo::Repository> repository;
};

}  // namespace davit::jobs
