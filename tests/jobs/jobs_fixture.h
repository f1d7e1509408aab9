// The daemon's rooms on a data directory with a repository, at a time that the test moves.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "base/errors.h"
#include "base/log.h"
#include "jobs/references.h"
#include "support/fake_clock.h"
#include "support/pause_at.h"
#include "support/quick_repository.h"
#include "support/rooms.h"
#include "support/temp_dir.h"
#include "support/unix_client.h"

namespace davit::jobs {

class JobsFixture : public ::testing::Test {
 protected:
  JobsFixture() {
    // davitd has its logger before it has threads. Two that make it at once are safe, but it is done inside
    // libspdlog.so, where the thread sanitizer does not see it.
    (void)spdlog::default_logger();
    test::make_data_directory(data());
  }

  std::string data() const { return dir_ / "data"; }
  test::Rooms& rooms() {
    if (!rooms_) start();
    return *rooms_;
  }
  Manager& manager() { return rooms().manager; }
  driver::VolumeDriver& driver() { return rooms().driver; }
  volumes::Registry& registry() { return rooms().registry; }

  // As the daemon ends and begins again.
  void stop() { rooms_.reset(); }
  void start() {
    test::RoomsOptions options;
    options.clock = &clock_;
    options.environment = environment_;
    rooms_.emplace(data(), std::move(options));
    rooms_->start();
  }
  // Nothing of it runs any more, and it is gone.
  bool vanishes(const std::string& name) {
    return test::eventually([&] {
      rooms().settle(name);
      for (const auto& volume : registry().list_removed())
        if (volume.name == name) return false;
      return true;
    });
  }
  std::string refusal(const std::function<void()>& call) {
    try {
      call();
    } catch (const base::Error& error) {
      return error.what();
    }
    return "accepted";
  }
  repo::Repository& repository() {
    repository_ = rooms().repository.get();
    repository_->refresh_index();
    return *repository_;
  }
  std::vector<std::string> files_in(const std::string& directory) {
    return base::list_directory(data() + "/" + directory);
  }
  // Damages a snapshot file beneath the repository.
  void damage_snapshot(const std::string& id) {
    const std::string path = data() + "/repository/snapshots/" + id;
    base::remove_file(path);
    base::write_file_atomic(path, base::as_bytes("rotten bytes that nobody sealed"));
  }

  const test::TempDir dir_;
  test::FakeClock clock_;
  std::map<std::string, std::string> environment_;
  std::optional<test::Rooms> rooms_;
  std::shared_ptr<repo::Repository> repository_;
};

}  // namespace davit::jobs
