// The daemon's rooms wired together as the daemon does it, without its sockets: for tests of the jobs and for the
// program that crash tests kill. Everything is public; the order of the members is the daemon's.
#pragma once

#include <atomic>
#include <map>
#include <string>
#include <vector>

#include "base/clock.h"
#include "driver/volume_driver.h"
#include "jobs/manager.h"
#include "restores.h"
#include "support/fake_engine.h"

namespace davit::test {

struct RoomsOptions {
  const base::Clock* clock = nullptr;  // nullptr: the system's
  std::map<std::string, std::string> environment = {};
  std::string engine_state = {};  // file of the engine's; "": it is new and in memory
  jobs::RepositoryAccess::Timing timing{.lock = {.settle = std::chrono::milliseconds(1)},
                                        .retry = std::chrono::milliseconds(10),
                                        .patience = std::chrono::minutes(10)};
};

class Rooms {
 public:
  explicit Rooms(const std::string& data, RoomsOptions options = {});
  ~Rooms();
  Rooms(const Rooms&) = delete;
  Rooms& operator=(const Rooms&) = delete;

  // As the daemon: the manager, then a sweep.
  void start();

  // ---- verbs, each waits for its end
  void create(const std::string& name, const volumes::OptionMap& options = {});
  jobs::BackupOutcome backup(const std::string& name);
  // Until no job runs on a volume of the name, removed ones of it included. Throws nothing.
  void settle(const std::string& name);
  void settle_container(const std::string& name);
  std::string directory(const std::string& name) const { return data + "/volumes/" + name; }
  void write(const std::string& volume, const std::string& file, const std::string& text) const;
  // "" where there is no such file.
  std::string read(const std::string& volume, const std::string& file) const;
  // Of the volume, oldest first.
  std::vector<jobs::SnapshotInfo> snapshots(const std::string& volume);
  static driver::Budget budget();

  const std::string data;
  base::SystemClock system_clock;
  std::atomic<bool> stopping{false};
  FakeEngine engine;
  jobs::Settings settings;
  volumes::Registry registry;
  jobs::RepositoryAccess repository;
  jobs::Context context;
  jobs::Manager manager;
  daemon::Restores restores;
  driver::VolumeDriver driver;
};

// DATA with a quick repository in it.
void make_data_directory(const std::string& data);

}  // namespace davit::test
