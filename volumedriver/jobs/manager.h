// The daemon's work in one place: starts jobs, joins them, answers the command line. Everything the volume driver
// and the planner ask of the rooms below goes through it.
// Any thread may call anything.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "jobs/backup_volume.h"
#include "jobs/commits.h"
#include "jobs/container_book.h"
#include "jobs/container_watch.h"
#include "jobs/context.h"
#include "jobs/damage.h"
#include "jobs/job_queue.h"
#include "jobs/labels.h"
#include "jobs/last_backups.h"
#include "jobs/load_images.h"
#include "jobs/mirror_watch.h"
#include "jobs/operations.h"
#include "jobs/ping.h"
#include "jobs/restore_container.h"
#include "jobs/point_book.h"
#include "jobs/restore_volume.h"
#include "jobs/volume_snapshots.h"
#include "jobs/upkeep_run.h"
#include "volumes/mounts.h"

namespace davit::jobs {

class Manager : public Operations {
 public:
  struct Hooks {
    // When the planner will save the volume next; from plugin/schedule.
    std::function<std::optional<base::Time>(const volumes::Volume&)> next_backup;
    std::function<std::optional<base::Time>(const std::string& container)> next_commit;
    std::function<std::optional<base::Time>()> next_prune;
    std::function<std::optional<base::Time>()> next_scrub;
    // Options or settings changed: the planner must think again.
    std::function<void()> replan;
    // Throws UsageError for driver options that cannot be.
    std::function<void(const volumes::OptionMap&, const std::string& volume)> validate_options;
    // What a new volume gets: the options saved with the snapshot, under the given ones.
    std::function<volumes::OptionMap(const volumes::OptionMap& saved, const volumes::OptionMap& given,
                                     const std::string& volume)>
        merge_options;
    // Whether a new volume with these options brings the images of its point along.
    std::function<bool(const volumes::OptionMap& given, bool by_default)> wants_images;
  };
  Manager(Context& context, Hooks hooks);
  ~Manager() override;

  // Opens the repository and resumes what the last run left: restores, last backups. Errors are logged; what could
  // not be done is done as soon as it can.
  void start();
  void stop();

  // ---- for the volume driver
  std::optional<Resolved> resolve(const std::string& reference, const std::string& volume);
  // `result`, where given, is filled when the job is done.
  std::shared_ptr<Job> start_restore(const std::string& volume_uuid, std::shared_ptr<restore::Result> result = nullptr);
  void cancel(const std::string& volume_uuid);
  // Saves a removed volume and drops it; retried with growing pauses until it works.
  void start_last_backup(const std::string& volume_uuid);
  void volume_was_made(const std::string& name);
  void volume_was_removed(const volumes::Volume& volume);
  bool final_backup_by_default() const { return context_.settings.flag("DAVIT_FINAL_BACKUP"); }
  bool images_by_default() const { return context_.settings.flag("DAVIT_LOAD_IMAGES"); }
  // A volume that was mounted a moment ago counts as in use: its container may be just starting.
  volumes::Mounts& mounts() { return mounts_; }
  // What `docker volume inspect` shows.
  std::map<std::string, std::string> status_of(const volumes::Volume& volume);
  std::shared_ptr<Job> find_job(const std::string& key) { return queue_.find(key); }

  // Runs something that must not hold up the caller, on a thread of its own; the destructor waits for it. What it
  // throws is logged.
  void run_aside(std::function<void()> work);

  // ---- for the planner. `done` is called once, from any thread: at the end, or at once where nothing can begin.
  // Where something else is under way on the volume (a restore in place), the backup comes right after it. One that a
  // point which began at `due` or later has saved already is done.
  void start_scheduled_backup(const std::string& volume_uuid, std::function<void(bool ok)> done,
                              std::optional<base::Time> due = {});
  void start_scheduled_commit(const std::string& container, std::function<void(bool ok)> done,
                              std::optional<base::Time> due = {});
  // Containers that are committed and use no volume of davit: those with volumes are saved with these.
  struct ScheduledContainer {
    std::string name, schedule;
    base::Time since{};
    std::optional<base::Time> last_attempt, last_success;
  };
  std::vector<ScheduledContainer> scheduled_containers();
  void start_scheduled_prune(std::function<void(bool ok)> done);
  void start_scheduled_scrub(std::function<void(bool ok)> done);
  // Retention of volumes that were removed.
  void start_removed_retention(std::function<void(bool ok)> done);
  UpkeepRun last_prune() const { return load_upkeep_run(prune_path()); }
  UpkeepRun last_scrub() const { return load_upkeep_run(scrub_path()); }
  std::chrono::seconds scrub_period() const;  // 0: never
  UpkeepRun last_removed_retention() const { return load_upkeep_run(retention_path()); }

  // ---- Operations
  std::vector<BackupOutcome> backup(const std::vector<std::string>& volumes, const std::vector<std::string>& containers,
                                    const Emit&, std::stop_token) override;
  RestoreOutcome restore(const RestoreRequest&, const Emit&, std::stop_token) override;
  RestoreContainerOutcome restore_container(const RestoreContainerRequest&, const Emit&, std::stop_token) override;
  void wait(const std::string& volume, const Emit&, std::stop_token) override;
  std::vector<SnapshotInfo> snapshots(const std::string& volume, const std::string& host) override;
  void list_files(const std::string& reference, const std::string& below, bool recursive,
                  const std::function<void(const ListedNode&)>& each) override;
  Status status() override;
  std::string init_repository() override;
  std::vector<ForgetGroup> forget(const ForgetRequest& request) override;
  upkeep::PrunePlan prune(bool dry_run, const Emit&, std::stop_token) override;
  upkeep::CheckReport check(const CheckRequest& request, const Emit&, std::stop_token) override;
  upkeep::RepairReport repair(const RepairRequest& request, const Emit&, std::stop_token) override;
  std::vector<KeyDetails> key_list() override;
  std::string key_add(const std::string& new_password) override;
  void key_remove(const std::string& id_prefix) override;
  void key_passwd(const std::string& new_password) override;
  std::string key_export() override;
  std::vector<LockDetails> locks() override;
  size_t unlock(bool all) override;
  std::vector<SettingValue> settings() override;
  void set_setting(const std::string& key, const std::optional<std::string>& value) override;
  void set_volume_option(const std::string& volume, const std::string& key,
                         const std::optional<std::string>& value) override;
  std::vector<MirrorStatus> mirrors() override;
  std::vector<MirrorStatus> sync_mirrors(const Emit&, std::stop_token) override;
  void accept_mirror(const std::string& place) override;

 private:
  // What jobs are called.
  static constexpr const char* kPrune = "prune";
  static constexpr const char* kCheck = "check";
  static constexpr const char* kScrub = "scrub";
  static constexpr const char* kRepair = "repair";
  static constexpr const char* kBackup = "backup";
  static constexpr const char* kCommit = "commit";
  static constexpr const char* kLastBackup = "last backup";
  static constexpr const char* kMirror = "mirror ";  // and its place

  // What a job of a backup or commit fills in; read it when the job has ended.
  struct Run {
    BackupOutcome outcome;
    std::shared_ptr<PlannedPoint> point;  // nullptr: of its own, or not yet planned
  };
  struct RunningJob {
    std::weak_ptr<Job> job;
    std::shared_ptr<Run> run;
  };
  struct Submitted {
    std::shared_ptr<Job> job;
    std::shared_ptr<Run> run;
  };
  // On whose behalf; a schedule leaves out volumes that are never to be saved by one.
  enum class By : uint8_t { person, schedule };
  // Joins a backup that waits or runs; throws Conflict where another job works on the volume.
  Submitted submit_backup(const volumes::Volume& volume, BackupRequest request, By by, bool first);
  Submitted submit_commit(const std::string& container_id, const std::string& container, By by, bool first);
  // The job of this key that waits or runs, with the run that it fills.
  Submitted join(const std::string& key, const std::string& what, bool first, std::shared_ptr<Run> run,
                 std::function<void(Job&)> work);
  // The jobs that make these pieces; where another job is in the way, after it.
  void submit_piece(const std::shared_ptr<Piece>& piece);
  PlannedPoint plan_point(const volumes::Volume* volume, const engine::Container* container, By by);
  // Begins the piece of job `key` and submits the others of its point.
  PointBook::Begun begin_piece(const std::string& key, Run& run, const std::function<PlannedPoint()>& plan);
  // At the end of the job, when asking again gives a new one: who waited for the piece may do that at once.
  void finish_piece(const Job& job, const std::shared_ptr<Piece>& piece, const BackupOutcome& outcome);
  void fail_piece(const Job& job, const std::shared_ptr<Piece>& piece, std::exception_ptr failure);
  void run_commit(const engine::Container& container, By by, Run& run, Job& job);
  void when_done(const std::shared_ptr<Job>& job, std::function<void(bool)> done);
  void after(const std::string& key, std::function<void()> again);
  BackupOutcome wait_for_piece(const Piece& piece, const Emit& emit, std::stop_token stop);

  CommitMode commit_mode() const { return parse_commit_mode(context_.settings.get("DAVIT_COMMIT")); }
  // All containers of the engine; the book takes note. Throws what the engine does.
  std::vector<engine::Container> list_containers();
  void look_at_containers();
  ContainerWishes wishes_of(const engine::Container& container) const;
  std::set<std::string> volume_names() const;  // of all that are ready
  std::vector<ContainerStatus> container_statuses(const std::vector<SnapshotInfo>& all);
  ForgetGroup decide_known_container(const repo::Repository& repository, const KnownContainer& container,
                                     const std::optional<upkeep::Policy>& policy);
  bool is_point_open(const std::string& id) const { return points_.is_open(id); }

  void run_last_backup(const std::string& volume_uuid, Job& job);
  // To the installation's monitor, and to the volume's own.
  void ping(const volumes::Volume* volume, PingEvent event, const std::string& text);
  // `volume`: nullptr for a container's.
  void ping_outcome(const volumes::Volume* volume, const BackupOutcome& outcome);
  void run_prune(Job& job, upkeep::PrunePlan* report);
  void prune_once(Job& job, upkeep::PrunePlan* report);
  void run_removed_retention(Job& job);
  std::vector<std::string> mirror_places();
  // `again`: where it runs already, once more after that.
  std::shared_ptr<Job> start_mirror_sync(const std::string& place, bool again);
  void run_mirror_sync(const std::string& place, Job& job);
  std::string mirror_state(store::Store& mirror, const std::exception& error);
  void run_scrub(Job& job);
  // A check under a shared lock. What it read is noted, and so is what it found, which the monitors are told.
  upkeep::CheckReport check_once(Job& job, const std::string& by, upkeep::CheckOptions options);
  void note_found(const repo::Repository& repository, const std::string& by, const upkeep::CheckReport& report);
  void repair_once(Job& job, const RepairRequest& request, upkeep::RepairReport& report);
  // Of the repository that is open.
  std::optional<Damage> find_damage() const;
  ScrubStatus scrub_status();
  void refuse_if_in_use(const volumes::Volume& volume);
  RestoreOutcome restore_new(const RestoreRequest& request, const Emit& emit, std::stop_token stop);
  RestoreOutcome restore_over(const RestoreRequest& request, const Emit& emit, std::stop_token stop);
  // In place; `saved` is told the snapshot of what was there, before that goes.
  RestoreOutcome replace_volume(const RestoreRequest& request, const Emit& emit, std::stop_token stop,
                                const std::function<void(const std::string& safety)>& saved);
  VolumeWork volume_work();
  // Those volumes of the container that are just being brought back.
  void wait_for_volumes(const RestoreContainerRequest& request, Job& job);
  void start_undoing_restores();
  void undo_until_done(const std::string& container, Job& job);
  // What restores of the container left half made; on the job that has the container.
  void undo_leftovers(const std::string& container, Job& job);
  void look_at_late_images();
  std::unique_ptr<RepositoryAccess::Hold> hold_for(Job& job,
                                                   RepositoryAccess::Use use = RepositoryAccess::Use::write);
  std::string scrub_path() const { return context_.data_directory + "/state/scrub.json"; }
  std::string packs_read_path() const { return context_.data_directory + "/state/packs-read"; }
  std::string prune_path() const { return context_.data_directory + "/state/prune.json"; }
  std::string retention_path() const { return context_.data_directory + "/state/removed-retention.json"; }
  // Scan caches of volumes that are gone.
  void sweep_caches();
  volumes::Volume get_volume(const std::string& name) const;
  VolumeStatus volume_status(const volumes::Volume& volume, const std::vector<SnapshotInfo>& all);

  struct Aside {
    std::jthread thread;
    std::shared_ptr<std::atomic<bool>> done;
  };

  Context& context_;
  const Hooks hooks_;
  volumes::Mounts mounts_;
  std::stop_source stopping_;                    // of calls that wait without a job
  std::mutex runs_mutex_;
  std::map<std::string, RunningJob> runs_;       // by key of the job: of the one that runs or ran last
  PointBook points_;
  ContainerBook containers_;
  Commits commits_;
  base::Synchronized<std::string> engine_error_;  // of the last look at its containers; "": it answered
  DamageBook damage_;
  std::atomic<uint64_t> checks_{0};              // asked for so far
  Pinger pinger_;
  VolumeSnapshots volume_snapshots_;
  std::mutex aside_mutex_;
  std::vector<Aside> aside_;
  LastBackups last_backups_;                     // its thread submits to the queue, and has ended after stop()
  ImageLoader images_;
  ContainerWatch watch_;                         // its thread has ended after stop(), too
  MirrorWatch mirror_watch_;                     // likewise
  JobQueue queue_;                               // its jobs use everything above: first to go
};

}  // namespace davit::jobs
