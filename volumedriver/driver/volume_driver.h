// The driver over the registry of volumes. What takes long (restores, last backups, deleting) is
// asked of Background; this decides what a call means in each state, and whom it waits for.
//
// A create that is repeated, even while the first is under way, is the same create; one with other
// options is refused. Mount ids are not counted: engines repeat and lose them (docs/protocol.md),
// so who uses a volume is asked of the engine, and unmounting ends nothing. They only tell of a
// container that is just starting, which the engine does not name yet.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "driver/driver.h"
#include "driver/options.h"
#include "volumes/registry.h"

namespace davit::driver {

// What the driver needs from the jobs. Any thread may call anything; nothing here takes long but
// what has a budget.
class Background {
 public:
  virtual ~Background() = default;

  // What a `from` means right now.
  struct Source {
    std::string snapshot;        // hex ID; "" while `waits_for` has not been saved
    std::string path;            // in the snapshot, "/volumes/NAME"
    volumes::OptionMap options;  // saved with it
    std::string waits_for;       // UUID of the removed volume whose last backup comes first
  };
  // Nothing only for "auto", and only with proof that there is no snapshot of `volume`. Else
  // throws, within the budget, what the user must know.
  virtual std::optional<Source> resolve(const std::string& reference, const std::string& volume,
                                        const Budget& budget) = 0;

  // Begins (or joins) the restore of a volume whose record is `restoring`.
  virtual void start_restore(const std::string& uuid) = 0;
  struct Progress {
    std::string phase;  // "waiting for the last backup of pgdata", "" for the restore itself
    std::optional<double> fraction;  // 0…1
    std::optional<int64_t> seconds_left;
  };
  // Waits until no restore of this volume runs (into a new one, or in place), or the budget is spent.
  // Nothing when none runs: the registry says how it ended. Throws Cancelled.
  virtual std::optional<Progress> wait_restore(const std::string& uuid, const Budget& budget) = 0;
  // Tells it to end, and waits a moment until it no longer writes.
  virtual void cancel_restore(const std::string& uuid) = 0;

  // What an engine was told, and what it told: for whoever wants to replace a volume's content.
  virtual void volume_is_mounted(const std::string& uuid, const std::string& id) = 0;
  virtual void volume_is_unmounted(const std::string& uuid, const std::string& id) = 0;

  // Saves a removed volume, and drops it from the registry once that is done; tried again until it
  // works.
  virtual void start_last_backup(const std::string& uuid) = 0;
  // Calls Registry::sweep() in the background.
  virtual void start_sweep() = 0;

  // For schedules and history. Called after the fact, once.
  virtual void volume_was_made(const std::string& name) = 0;
  virtual void volume_was_removed(const volumes::Volume& volume) = 0;

  // The setting for volumes without the option final-backup.
  virtual bool final_backup_by_default() = 0;
  // The setting for volumes without the option images.
  virtual bool images_by_default() = 0;

  // What `docker volume inspect` shows beside the state.
  virtual std::map<std::string, std::string> status_of(const volumes::Volume& volume) = 0;
};

class VolumeDriver : public Driver {
 public:
  VolumeDriver(volumes::Registry& registry, Background& background, CheckSchedule check_schedule)
      : registry_(registry), background_(background), check_schedule_(std::move(check_schedule)) {}

  void create(const std::string& name, const volumes::OptionMap& options, Budget budget) override;
  void remove(const std::string& name) override;
  std::string mount(const std::string& name, const std::string& id, Budget budget) override;
  void unmount(const std::string& name, const std::string& id) override;
  std::string path(const std::string& name) override;
  std::optional<VolumeInfo> get(const std::string& name) override;
  std::vector<VolumeInfo> list() override;

 private:
  struct Creation;

  void create_alone(const std::string& name, const volumes::OptionMap& given, const Budget& budget);
  void make_empty(const std::string& name, const volumes::OptionMap& given);
  void join(const Creation& creation, const std::string& name, const Budget& budget);
  std::string directory_of_ready(const volumes::Volume& volume) const;

  volumes::Registry& registry_;
  Background& background_;
  const CheckSchedule check_schedule_;

  std::mutex mutex_;  // protects what follows
  std::condition_variable_any ended_;
  std::map<std::string, std::shared_ptr<Creation>> creations_;  // under way, by name
  std::multiset<std::string> removals_;                         // under way
};

}  // namespace davit::driver
