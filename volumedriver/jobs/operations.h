// What a person can ask of the daemon, as plain C++: the command line's half of the floor plan. The control API
// turns JSON into these calls and back. Calls block until the work is done, report through `Emit`, and end early
// with Cancelled when `stop` is requested (work that others wait for too, such as a scheduled backup, goes on).
// Any thread may call anything. Errors are base::Error; their kinds decide the exit code.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/id.h"
#include "jobs/damage.h"
#include "jobs/mirror_book.h"
#include "repo/snapshot.h"
#include "upkeep/check.h"
#include "upkeep/prune.h"
#include "upkeep/read_book.h"
#include "upkeep/repair.h"
#include "upkeep/retention.h"
#include "volumes/registry.h"

namespace davit::jobs {

// Where a job is; emitted a few times a second.
struct ProgressEvent {
  std::string volume;          // "" for work on the repository
  std::string phase;           // waiting, saving, restoring, checking, pruning, …
  uint64_t files_done = 0, bytes_done = 0, files_total = 0, bytes_total = 0;  // totals 0: unknown
  uint64_t errors = 0;
  std::optional<double> fraction;          // 0…1
  std::optional<int64_t> seconds_left;
};
using Emit = std::function<void(const ProgressEvent&)>;

enum class Outcome : uint8_t { ok, partial, failed };
const char* outcome_name(Outcome outcome);

// Of one snapshot: a volume's or a container's.
struct BackupOutcome {
  std::string volume;          // "": of a container
  Outcome outcome = Outcome::ok;
  std::string snapshot;        // hex
  std::string error;           // failed: why
  repo::SnapshotSummary summary;
  std::string consistency;     // live, …
  double seconds = 0;
  std::vector<std::string> problems;  // "path: reason", the first 100
  uint64_t unreadable = 0, changed_while_read = 0;
  std::string container = {};  // "": of a volume
  std::string point = {};      // ID of the point that it is a piece of
};

struct RestoreRequest {
  std::string reference;                  // DESIGN §1
  std::string target;                     // a new volume's name; with in_place the volume to overwrite
  bool in_place = false;                  // saves the volume first, then replaces its content; refused while in use
  volumes::OptionMap options;             // driver options that override the saved ones
};
struct RestoreOutcome {
  std::string volume, snapshot, safety_snapshot;
  uint64_t files = 0, bytes = 0;
  double seconds = 0;
  std::vector<std::string> problems;
};

// A container with its image, volumes and networks.
struct RestoreContainerRequest {
  enum class Volumes : uint8_t { automatic, keep, point };  // automatic: keep; with another name: point
  std::string reference;       // CONTAINER[@…], jobs/references.h
  std::string as = {};         // its new name; "": its own
  Volumes volumes = Volumes::automatic;
  bool publish = true;         // its ports, fixed addresses and aliases
  bool start = false;
  bool dry_run = false;
};
struct RestoreContainerOutcome {
  struct Volume {
    std::string name, saved_name;     // name "": one that the engine makes
    std::string action;               // kept, restored, replaced, new
    std::string snapshot, safety_snapshot;  // hex
  };
  std::string container, id;          // id: the engine's, "" where none was made
  std::string saved_name, snapshot, point, image;
  base::Time time{};                  // of the point
  bool image_loaded = false;          // or is to be; false: the engine has it
  std::vector<Volume> volumes;
  std::vector<std::string> networks;  // that were made, or are to be
  std::vector<std::string> conflicts;  // not empty: nothing was made
  std::vector<std::string> notes;     // what differs from what was saved
  bool dry_run = false, started = false;
  std::string start_error;            // made, but it does not run: why
  double seconds = 0;
};

struct SnapshotInfo {
  base::Id id;
  repo::Snapshot snapshot;
  std::string volume;                     // from its path; "" if it is no volume's
  bool partial = false;
  std::string container = {};             // from its path; "" if it is no container's
  std::string point = {};                 // ID of the point that it belongs to; "": none
};

struct ListedNode {
  std::string path, type, linktarget;     // path below the volume's root, raw bytes
  uint32_t mode = 0;                      // st_mode
  uint32_t uid = 0, gid = 0;
  uint64_t size_bytes = 0;
  base::Time mtime{};
};

// An image that came with a volume, or is to.
struct ImageStatus {
  std::string reference, container;
  std::string state;                      // pending, loaded, failed; or what is just done with it
  std::optional<double> fraction;         // 0…1
  std::string error;                      // failed: why
};
struct VolumeStatus {
  volumes::Volume volume;
  std::vector<ImageStatus> images = {};
  std::optional<base::Time> next_backup;
  std::string schedule;                   // effective
  std::string retention;                  // effective, as text
  std::string tracking = {};              // how its last run found what changed; "": tracking is off
  size_t snapshots = 0;
  std::vector<std::string> damaged = {};  // IDs of its snapshots that cannot be restored as they were saved
  std::optional<ProgressEvent> running;   // a job on it
};
// A container that is committed, or was and has snapshots.
struct ContainerStatus {
  std::string name, id, image;
  std::string state;                      // as the engine says it, or "not committed"; "": it is gone
  std::vector<std::string> volumes;       // of davit, that it uses: it is saved with them
  std::string schedule, retention;        // effective; "": those of its volumes count
  std::string problem;                    // labels that cannot be followed
  volumes::LastBackup last;
  std::optional<base::Time> next;
  size_t snapshots = 0;
  std::vector<std::string> damaged = {};
  std::optional<ProgressEvent> running;
};
// Of the daily work that reads a part of all packs.
struct ScrubStatus {
  std::chrono::seconds period{0};         // within which all is read; 0: never
  upkeep::ReadBook::Coverage coverage;
  std::optional<base::Time> last, next;
  std::string last_error;
};
struct Status {
  std::string version, installation, host, repository, repository_state;  // state: "ok" or why not
  bool snapshots_known = false;           // else nothing is said of how many there are
  bool password_generated = false;        // and not yet exported: tell loudly
  std::vector<VolumeStatus> volumes;
  std::vector<VolumeStatus> removed;      // their last backup is still to be stored
  std::vector<ContainerStatus> containers;
  std::string engine_error;               // why containers cannot be looked at; "": they can, or none is to be
  std::vector<MirrorStatus> mirrors;
  std::vector<std::string> repairs;       // of files that a mirror had whole: the last ones
  std::optional<base::Time> last_prune, next_prune;
  std::string last_prune_error;
  ScrubStatus scrub;
  std::optional<Damage> damage;           // found by the last check or scrub
  base::Time now{};                       // when all this was so
};

struct CheckRequest {
  // All data, or a part of it in restic's words (upkeep/data_subset.h); "": none.
  CheckRequest(bool read_data = false, std::string subset = "") : read_data(read_data), subset(std::move(subset)) {}
  bool read_data;
  std::string subset;
};
struct RepairRequest {
  bool read_data = false;                 // look at all data; else where the last check found damage
  bool forget = false;                    // remove the snapshots that lost something
  bool dry_run = false;
};

struct ForgetRequest {
  std::vector<std::string> targets;       // volume names, references or snapshot IDs; empty: every volume's policy
  std::optional<upkeep::Policy> policy;   // overrides the volumes' own
  bool dry_run = false;
};
struct ForgetGroup {
  std::string volume, host;
  std::string container = {};             // where it is no volume's
  struct Kept {
    SnapshotInfo snapshot;
    std::vector<std::string> reasons;
  };
  std::vector<Kept> keep = {};
  std::vector<SnapshotInfo> remove = {};
};

struct KeyDetails {
  std::string id, user, host, created;
  bool current = false;
};

struct LockDetails {
  std::string id, host, user;
  uint64_t pid = 0;
  base::Time time{};
  bool exclusive = false, stale = false, ours = false;
};

struct SettingValue {
  std::string key, value, origin, description;  // value is "********" for secrets; origin: default, file, environment
};

class Operations {
 public:
  virtual ~Operations() = default;

  // Both empty: every volume and every container that is to be committed. One that is running already is joined. What
  // belongs to the same point (jobs/point_plan.h) is waited for and told too.
  virtual std::vector<BackupOutcome> backup(const std::vector<std::string>& volumes,
                                            const std::vector<std::string>& containers, const Emit& emit,
                                            std::stop_token stop) = 0;
  virtual RestoreOutcome restore(const RestoreRequest& request, const Emit& emit, std::stop_token stop) = 0;
  // Conflicts are told, not thrown. What fails half-way is undone; a container that is made and does not start stays.
  virtual RestoreContainerOutcome restore_container(const RestoreContainerRequest& request, const Emit& emit,
                                                    std::stop_token stop) = 0;
  // Waits until nothing runs on the volume (a restore, a backup, a last backup); throws what it failed with.
  virtual void wait(const std::string& volume, const Emit& emit, std::stop_token stop) = 0;

  // `volume` and `host` empty: all.
  virtual std::vector<SnapshotInfo> snapshots(const std::string& volume, const std::string& host) = 0;
  virtual void list_files(const std::string& reference, const std::string& below, bool recursive,
                          const std::function<void(const ListedNode&)>& each) = 0;
  virtual Status status() = 0;
  // Makes the repository that the settings name. Needed once, and only where they name another than the embedded
  // default: an empty place that appears by mistake must never pass for a repository without snapshots.
  virtual std::string init_repository() = 0;  // its ID

  virtual std::vector<ForgetGroup> forget(const ForgetRequest& request) = 0;
  virtual upkeep::PrunePlan prune(bool dry_run, const Emit& emit, std::stop_token stop) = 0;
  virtual upkeep::CheckReport check(const CheckRequest& request, const Emit& emit, std::stop_token stop) = 0;
  virtual upkeep::RepairReport repair(const RepairRequest& request, const Emit& emit, std::stop_token stop) = 0;

  virtual std::vector<KeyDetails> key_list() = 0;
  virtual std::string key_add(const std::string& new_password) = 0;      // returns the key's ID
  virtual void key_remove(const std::string& id_prefix) = 0;
  virtual void key_passwd(const std::string& new_password) = 0;          // adds, switches the daemon, removes the old
  virtual std::string key_export() = 0;                                   // the password in use

  virtual std::vector<LockDetails> locks() = 0;
  // Stale ones, or all; never a lock that this daemon holds. Returns how many went.
  virtual size_t unlock(bool all) = 0;

  virtual std::vector<SettingValue> settings() = 0;
  // Value nothing: back to the default. Takes effect at once; throws UsageError for an unknown key or bad value.
  virtual void set_setting(const std::string& key, const std::optional<std::string>& value) = 0;
  virtual void set_volume_option(const std::string& volume, const std::string& key,
                                 const std::optional<std::string>& value) = 0;

  // As the settings name them.
  virtual std::vector<MirrorStatus> mirrors() = 0;
  // Brings them up to date now; how each one is then.
  virtual std::vector<MirrorStatus> sync_mirrors(const Emit& emit, std::stop_token stop) = 0;
  // A mirror that was seen before and is empty may be filled anew. NotFound.
  virtual void accept_mirror(const std::string& place) = 0;
};

}  // namespace davit::jobs
