// What the volume driver needs from the jobs: an adapter between two floors that do not know each other.
#pragma once

#include "driver/volume_driver.h"
#include "jobs/manager.h"

namespace davit::daemon {

class Restores : public driver::Background {
 public:
  Restores(jobs::Manager& manager, std::function<void()> sweep) : manager_(manager), sweep_(std::move(sweep)) {}

  std::optional<Source> resolve(const std::string& reference, const std::string& volume,
                                const driver::Budget& budget) override;
  void start_restore(const std::string& uuid) override { manager_.start_restore(uuid); }
  std::optional<Progress> wait_restore(const std::string& uuid, const driver::Budget& budget) override;
  void cancel_restore(const std::string& uuid) override { manager_.cancel(uuid); }
  void volume_is_mounted(const std::string& uuid, const std::string& id) override {
    manager_.mounts().mounted(uuid, id);
  }
  void volume_is_unmounted(const std::string& uuid, const std::string& id) override {
    manager_.mounts().unmounted(uuid, id);
  }
  void start_last_backup(const std::string& uuid) override { manager_.start_last_backup(uuid); }
  void start_sweep() override { sweep_(); }
  void volume_was_made(const std::string& name) override { manager_.volume_was_made(name); }
  void volume_was_removed(const volumes::Volume& volume) override { manager_.volume_was_removed(volume); }
  bool final_backup_by_default() override { return manager_.final_backup_by_default(); }
  bool images_by_default() override { return manager_.images_by_default(); }
  std::map<std::string, std::string> status_of(const volumes::Volume& volume) override {
    return manager_.status_of(volume);
  }

 private:
  jobs::Manager& manager_;
  const std::function<void()> sweep_;
};

}  // namespace davit::daemon
