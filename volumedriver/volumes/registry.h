// The volumes of this installation: what exists, in which state, with which options. One small file a volume
// (DATA/registry/UUID.json), replaced atomically, so every change is one durable step; directories follow by rename.
//
//   creating ─► ready ─► removed (data kept aside until its last backup is stored, then gone)
//   restoring ─► ready | failed
//
// The data: DATA/volumes/NAME when usable; DATA/staging/UUID while it is made; DATA/removed/UUID once removed.
// Any thread may call anything. Returned records are copies.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"

namespace davit::volumes {

using OptionMap = std::map<std::string, std::string>;

enum class State : uint8_t { creating, restoring, ready, failed, removed };
const char* state_name(State state);

// What the last run of a kind did; kept with the volume, shown in Status.
struct LastBackup {
  std::optional<base::Time> attempted, succeeded;
  std::string snapshot;     // hex ID, of the last success
  std::string consistency;  // live, snapshot, paused, fuzzy
  bool partial = false;
  uint64_t files = 0, bytes = 0;
  std::string error;        // of the last attempt; "" when it succeeded
};

struct Volume {
  std::string uuid;
  std::string name;
  State state = State::creating;
  OptionMap options;              // effective driver options (given ones, else those saved with the snapshot)
  base::Time created{};
  uint64_t device = 0;            // stable number for hard links
  std::string source_snapshot;    // restoring: hex ID of the snapshot
  std::string source_path;        // restoring: its path in the snapshot, "/volumes/NAME"
  std::string waits_for;          // restoring: UUID of the removed volume whose last backup comes first
  std::string error;              // failed: why
  std::optional<base::Time> removed_at;  // removed
  LastBackup last_backup;
};

class Registry {
 public:
  // Reads DATA/registry and finishes what a crash interrupted: a directory that was renamed but not noted, a
  // record without directory. Staging directories without a record are removed. Throws on a damaged record
  // (nothing is guessed), naming the file.
  Registry(std::string data_directory, const base::Clock& clock);
  ~Registry();

  // Claims the name: the record is durable when it returns. Throws Conflict when a volume that is not removed has it.
  Volume create(const std::string& name, State state, const OptionMap& options,
                const std::function<void(Volume&)>& fill = {});
  // creating/restoring -> ready: makes the staged directory visible under its name. Durable.
  void make_ready(const std::string& uuid);
  void set_failed(const std::string& uuid, const std::string& why);
  // Renames the data aside and notes the time. Volumes that were never ready, and those for which `keep_data` is
  // false, are dropped at once (their data is removed in the background by the caller through dropped_directory).
  Volume remove(const std::string& name, bool keep_data);
  // A removed volume whose last backup is stored (or not wanted): forget it and delete its data.
  void drop(const std::string& uuid, const std::function<bool()>& stop = {});
  // Changes a record under the lock, durably; throws NotFound.
  Volume update(const std::string& uuid, const std::function<void(Volume&)>& change);

  std::optional<Volume> find(const std::string& name) const;        // not removed ones
  std::optional<Volume> find_uuid(const std::string& uuid) const;
  std::vector<Volume> list() const;                                  // not removed ones, by name
  std::vector<Volume> list_removed() const;

  // Where the data is in this state.
  std::string directory(const Volume& volume) const;
  std::string volumes_directory() const;
  // Makes an empty directory for a volume being made (a subvolume on btrfs), wiping what a former try left.
  std::string prepare_staging(const std::string& uuid, const std::function<bool()>& stop = {});

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace davit::volumes
