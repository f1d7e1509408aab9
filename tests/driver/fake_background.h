// The jobs, as the volume driver sees them, for its tests: they do nothing but remember what was
// asked.
#pragma once

#include <functional>
#include <latch>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/synchronized.h"
#include "driver/volume_driver.h"

namespace davit::driver {

// Restores end when the test says so.
class FakeBackground : public Background {
 public:
  explicit FakeBackground(volumes::Registry& registry) : registry_(registry) {}

  std::optional<Source> resolve(const std::string& reference, const std::string& volume,
                                const Budget&) override {
    note("resolve " + reference + " for " + volume);
    if (resolving) resolving->wait();
    if (failure) std::rethrow_exception(failure);
    return source;
  }
  void start_restore(const std::string& uuid) override { note("restore " + name_of(uuid)); }
  std::optional<Progress> wait_restore(const std::string& uuid, const Budget& budget) override {
    if (const auto act = std::exchange(on_wait, nullptr)) act(uuid);
    if (running && !budget.stop.stop_requested()) return running;
    return std::nullopt;
  }
  void cancel_restore(const std::string& uuid) override { note("cancel " + name_of(uuid)); }
  void volume_is_mounted(const std::string& uuid, const std::string& id) override {
    mounts.lock()->insert(name_of(uuid) + " for " + id);
  }
  void volume_is_unmounted(const std::string& uuid, const std::string& id) override {
    mounts.lock()->erase(name_of(uuid) + " for " + id);
  }
  void start_last_backup(const std::string& uuid) override { note("last backup " + name_of(uuid)); }
  void start_sweep() override { note("sweep"); }
  void volume_was_made(const std::string& name) override { note("made " + name); }
  void volume_was_removed(const volumes::Volume& volume) override {
    note("removed " + volume.name);
  }
  bool final_backup_by_default() override { return final_backup_default; }
  bool images_by_default() override { return images_default; }
  bool final_backup_default = true;
  bool images_default = true;
  std::map<std::string, std::string> status_of(const volumes::Volume&) override {
    if (failure) std::rethrow_exception(failure);
    return {{"last backup", "never"}};
  }

  std::vector<std::string> take_notes() {
    return notes_.with([](auto& notes) { return std::exchange(notes, {}); });
  }

  base::Synchronized<std::set<std::string>> mounts;
  std::optional<Source> source;
  std::optional<Progress> running;
  std::exception_ptr failure;
  std::function<void(const std::string& uuid)> on_wait;  // once
  std::latch* resolving = nullptr;

 private:
  void note(const std::string& what) {
    notes_.with([&](auto& notes) { notes.push_back(what); });
  }
  std::string name_of(const std::string& uuid) {
    const auto volume = registry_.find_uuid(uuid);
    return volume ? volume->name : "?";
  }
  volumes::Registry& registry_;
  base::Synchronized<std::vector<std::string>> notes_;
};

}  // namespace davit::driver
