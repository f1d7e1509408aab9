// The volumes of this installation: what exists, in which state, with which options.
//
//   creating ─► ready ─► removed (data kept aside until its last backup is stored, then gone)
//   restoring ─► ready | failed
//
// What a volume is called, its options and its history stand in DATA/registry/UUID.json, replaced
// atomically. Whether it is usable is said by where its data lies, and one rename is the step that
// decides:
//   DATA/staging/UUID          while it is made; worth nothing without its record
//   DATA/volumes/NAME          usable
//   DATA/removed/UUID          removed, its last backup not yet stored
//   DATA/removed/UUID.dropped  worth nothing any more, being deleted
// The record is brought in line afterwards, here or at the next start. So after a kill at any
// instant, or a loss of power, a volume is complete or absent, and none is deleted that was not
// dropped.
//
// Any thread may call anything. Calls about one volume follow one another; those about different
// ones overlap. Returned records are copies.
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
  std::string error;  // of the last attempt; "" when it succeeded
};

// An image that came with the volume's snapshot, and whether the engine has it.
struct ImageLoad {
  enum class State : uint8_t { pending, loaded, failed };

  std::string reference;  // as it was committed: "davit/web:20261122T180000Z"
  std::string container;  // whose image it is
  std::string snapshot;   // hex ID of the container's snapshot
  State state = State::pending;
  std::string error;  // failed: why

  bool operator==(const ImageLoad&) const = default;
};
const char* state_name(ImageLoad::State state);

struct Volume {
  std::string uuid;
  std::string name;
  State state = State::creating;
  OptionMap requested;  // as given at create: tells a repeated create from another one
  OptionMap options;    // effective driver options (given ones, else those saved with the snapshot)
  base::Time created{};
  uint64_t device = 0;          // stable number for hard links
  std::string source_snapshot;  // restoring: hex ID of the snapshot
  std::string source_path;      // restoring: its path in the snapshot, "/volumes/NAME"
  std::string waits_for;  // restoring: UUID of the removed volume whose last backup comes first
  std::string error;      // failed: why
  std::optional<base::Time> removed_at;  // removed
  LastBackup last_backup;
  bool images_owed = false;       // made from a snapshot whose images are to be loaded, and were not looked up yet
  std::vector<ImageLoad> images;  // that are to be loaded, or are
};

class Registry {
 public:
  // Reads DATA/registry and finishes what a crash interrupted: takes each volume for what its place
  // says, and forgets those whose create was not answered. Deletes no data: sweep() does, in the
  // background. Throws Corrupt on a damaged record (nothing is guessed), naming the file. A volume
  // that should be ready and whose directory is missing is `failed` until the directory is back.
  Registry(std::string data_directory, const base::Clock& clock);
  ~Registry();

  // Claims the name; `state` is creating or restoring; `fill` may change the record before it is
  // written. The record is durable when it returns. A crash forgets a volume that is `creating`,
  // but not one that is `restoring`. Throws UsageError for a bad name, Conflict when a volume that
  // is not removed has it, or a directory that no record knows.
  Volume create(const std::string& name, State state, const OptionMap& options,
                const std::function<void(Volume&)>& fill = {});
  // Makes an empty directory for a volume being made (a subvolume on btrfs), wiping what a former
  // try left.
  std::string prepare_staging(const std::string& uuid, const std::function<bool()>& stop = {});
  // creating/restoring -> ready: makes the staged directory visible under its name. Durable, if
  // what is in the directory is: sync that before. Throws NotFound when it was removed meanwhile.
  void make_ready(const std::string& uuid);
  // creating/restoring -> failed; deletes what was staged. Where the record cannot be written (a
  // full disk) it counts in memory, and the next start finds the volume as it was.
  void set_failed(const std::string& uuid, const std::string& why);
  // failed -> restoring: another try.
  void set_restoring(const std::string& uuid);
  // Takes the volume out of the names: its data is moved aside and its time noted. Volumes that
  // were never ready, and those for which `keep_data` is false, are forgotten at once, and their
  // data is left to sweep(). Throws NotFound. What it returns has the state removed; find_uuid()
  // tells whether it is kept.
  Volume remove(const std::string& name, bool keep_data);
  // The same for the volume of this UUID, which must be creating, restoring or failed; one that is
  // gone is no error.
  void abandon(const std::string& uuid);
  // For a ready volume: an empty directory in DATA/staging, of a name of its own, that can take the
  // place of its data. Throws NotFound, Conflict when it is not ready or one is in use already.
  std::string prepare_replacement(const std::string& uuid, const std::function<bool()>& stop = {});
  // Exchanges both in one atomic step; what was the volume's data is left to sweep(). Durable, if
  // what is in the directory is: sync that before.
  void replace(const std::string& uuid);
  // Gives the replacement up, to sweep(). After replace(), and where there is none, it does
  // nothing.
  void abandon_replacement(const std::string& uuid);
  // A removed volume whose last backup is stored (or not wanted): forgets it, then deletes its
  // data. `stop` true ends the deletion early; sweep() goes on with it. One that is gone is no
  // error; Conflict if it is not removed.
  void drop(const std::string& uuid, const std::function<bool()>& stop = {});
  // Deletes data that is worth nothing: dropped, or staged without a record. Takes long: call it in
  // the background, after start, and after remove() and abandon(). What cannot be deleted is logged
  // and tried again the next time.
  void sweep(const std::function<bool()>& stop = {});
  // Changes a record, durably; throws NotFound. `change` must leave uuid, name and state alone and
  // not call update().
  Volume update(const std::string& uuid, const std::function<void(Volume&)>& change);
  // The same for what is worth knowing, but not worth failing for: where the record cannot be
  // written (a full disk) the change counts in memory, and is written with the next one.
  void note(const std::string& uuid, const std::function<void(Volume&)>& change);

  std::optional<Volume> find(const std::string& name) const;  // not removed ones
  std::optional<Volume> find_uuid(const std::string& uuid) const;
  std::vector<Volume> list() const;          // not removed ones, by name
  std::vector<Volume> list_removed() const;  // oldest first

  // Where the data is in this state.
  std::string directory(const Volume& volume) const;
  std::string volumes_directory() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace davit::volumes
