// What the calls of the registry and its recovery share: the table, the files beneath it, and the
// right to change one volume.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "volumes/registry.h"

namespace davit::volumes {

inline constexpr std::string_view kRecordSuffix = ".json";
inline constexpr std::string_view kDroppedSuffix = ".dropped";

// Whether there is anything of that name, a dangling link too.
bool exists(const std::string& path);

struct Entry {
  Volume volume;
  bool busy = true;    // a call is at work on it; only that call may change it
  bool known = false;  // its record is durable
};

struct Registry::Impl {
  const std::string data;
  const base::Clock& clock;
  const std::string registry = data + "/registry", volumes = data + "/volumes",
                    staging = data + "/staging", removed = data + "/removed";
  uint64_t device = 0;

  mutable std::mutex mutex;      // protects what follows; never held during I/O
  std::condition_variable idle;  // an entry is no longer busy, or gone
  std::map<std::string, Entry> by_uuid;
  std::map<std::string, std::string>
      names;  // of volumes that are not removed; the claim is made before the record

  std::map<std::string, std::string>
      replacing;  // volume -> directory in staging; no name is used twice

  std::mutex sweeping;  // one at a time deletes dropped data

  Impl(std::string data_directory, const base::Clock& the_clock)
      : data(std::move(data_directory)), clock(the_clock) {}

  std::string record_path(const std::string& uuid) const {
    return registry + "/" + uuid + std::string(kRecordSuffix);
  }
  std::string dropped_path(const std::string& uuid) const {
    return removed + "/" + uuid + std::string(kDroppedSuffix);
  }
  std::string staging_path(const std::string& uuid) const { return staging + "/" + uuid; }
  std::string removed_path(const std::string& uuid) const { return removed + "/" + uuid; }

  void write(const Volume& volume) const;
  // Where the record decides nothing (a rename did, or it is history): a full disk undoes nothing.
  void note(const Volume& volume) const;

  // registry_recovery.cc
  void load();
  void settle(Volume volume);
};

// The right to change one volume: from take() to the end of its scope no other call is at work on
// it.
class Claim {
 public:
  Claim(std::mutex& mutex, std::condition_variable& idle, std::map<std::string, Entry>& table,
        std::map<std::string, std::string>& names, const std::string& uuid)
      : mutex_(mutex), idle_(idle), table_(table), names_(names), uuid_(uuid) {
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [&] {
      const auto found = table_.find(uuid_);
      return found == table_.end() || !found->second.busy;
    });
    const auto found = table_.find(uuid_);
    if (found == table_.end()) return;
    found->second.busy = true;
    volume_ = found->second.volume;
  }
  ~Claim() {
    if (!volume_) return;
    {
      std::lock_guard lock(mutex_);
      table_.at(uuid_).busy = false;
    }
    idle_.notify_all();
  }
  Claim(const Claim&) = delete;
  Claim& operator=(const Claim&) = delete;

  // Nothing when there is no such volume (any more). As it was when the claim began: change a copy,
  // then publish().
  const std::optional<Volume>& volume() const { return volume_; }

  void publish(const Volume& changed) {
    std::lock_guard lock(mutex_);
    table_.at(uuid_).volume = changed;
    if (changed.state == State::removed) free_name(changed.name);
  }
  void forget() {
    {
      std::lock_guard lock(mutex_);
      free_name(volume_->name);
      table_.erase(uuid_);
    }
    volume_.reset();
    idle_.notify_all();
  }

 private:
  void free_name(const std::string& name) {
    const auto found = names_.find(name);
    if (found != names_.end() && found->second == uuid_) names_.erase(found);
  }

  std::mutex& mutex_;
  std::condition_variable& idle_;
  std::map<std::string, Entry>& table_;
  std::map<std::string, std::string>& names_;
  const std::string uuid_;
  std::optional<Volume> volume_;
};

}  // namespace davit::volumes
