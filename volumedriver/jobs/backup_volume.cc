#include "jobs/backup_volume.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "archive/archiver.h"
#include "base/errors.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/log.h"
#include "jobs/either_stop.h"
#include "jobs/forget.h"
#include "jobs/quorum.h"
#include "jobs/references.h"
#include "jobs/saving.h"
#include "repo/tree.h"

namespace davit::jobs {

using volumes::Volume;

namespace {

// Whether both root trees name the same volume with the same content: directories above it may have changed.
bool hold_the_same(const repo::Repository& repository, const base::Id& one, const base::Id& other) {
  if (one == other) return true;
  const auto nodes = [&](const base::Id& id) {
    return repo::parse_tree(repository.load_blob(repo::BlobType::tree, id));
  };
  const auto is_same = [](const repo::Node& a, const repo::Node& b) {
    return a.name == b.name && a.subtree && a.subtree == b.subtree;
  };
  const auto a = nodes(one), b = nodes(other);
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), is_same);
}

// Each try is a point of its own.
std::vector<std::string> tags_but_point(const repo::Snapshot& snapshot) {
  std::vector<std::string> tags = snapshot.tags;
  std::erase(tags, point_tag(point_of(snapshot)));
  return tags;
}

// The last backup of a removed volume is tried again until it is whole: a former try that came to the same.
std::optional<repo::Snapshot> find_former_try(const repo::Repository& repository, const repo::Snapshot& snapshot) {
  for (auto& [id, former] : repository.load_snapshots([](const auto&, const auto&) {}))
    if (former.time.time == snapshot.time.time && former.hostname == snapshot.hostname &&
        former.paths == snapshot.paths && tags_but_point(former) == tags_but_point(snapshot) &&
        hold_the_same(repository, former.tree, snapshot.tree)) {
      former.id = id;
      return std::move(former);
    }
  return std::nullopt;
}

std::string first_problems(const archive::Result& result) {
  std::string text = std::to_string(result.unreadable_count) + " files could not be read";
  if (!result.unreadable.empty())
    text += ", the first: " + result.unreadable[0].path + ": " + result.unreadable[0].reason;
  return text;
}

// Whether what was read is still the volume's data. A volume that was removed without a last backup is being deleted,
// perhaps while we read: what vanished before our eyes must not pass for a whole volume.
bool is_still_its_data(const Context& context, const Volume& volume, int directory) {
  const auto record = context.registry.find_uuid(volume.uuid);
  struct stat opened;
  if (!record || ::fstat(directory, &opened) != 0) return false;
  // The record may be a moment behind the data, which moves aside first.
  for (const auto state : {volumes::State::ready, volumes::State::removed}) {
    Volume place = *record;
    place.state = state;
    struct stat there;
    if (::lstat(context.registry.directory(place).c_str(), &there) == 0 && there.st_dev == opened.st_dev &&
        there.st_ino == opened.st_ino)
      return true;
  }
  return false;
}

BackupOutcome run(Context& context, const BackupRequest& request, const Volume& volume,
                  const RepositoryAccess::Hold& hold, Job& job) {
  const base::Time began = context.clock.now();
  const PointMark point = request.point ? *request.point : make_point(began);
  BackupOutcome outcome;
  outcome.volume = volume.name;
  outcome.point = point.id;

  const auto& repository = hold.repository();
  const EitherStop stop(job.stop.get_token(), hold.lost());
  job.set_phase("reading the index");
  repository->refresh_index();

  const std::string path = kVolumesPath + volume.name;
  const std::string directory = context.registry.directory(volume);
  const base::Fd root = base::open_file(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  const base::Fd parent = base::open_file(context.registry.volumes_directory(), O_RDONLY | O_DIRECTORY);

  archive::Source source;
  source.directory = root.get();
  source.parent = parent.get();
  source.path = path;
  source.device = volume.device;
  source.extras.push_back({kVolumeFile, encode_volume_file(volume)});
  archive::Options options;
  if (const auto exclude = volume.options.find("exclude"); exclude != volume.options.end())
    options.excludes = archive::Excludes::parse(exclude->second);
  options.scan_cache_path = context.scan_cache_path(*repository, volume.uuid);
  const Tracking::Run tracked = context.tracking.begin(context.settings, context.clock, *repository, volume.uuid,
                                                       root.get(), options.scan_cache_path);
  tracked.apply(options);
  options.parent = find_parent(*repository, context.host(), path);
  options.progress = &job.progress;
  options.stop = stop.get();
  for (auto* counter : {&job.progress.files_done, &job.progress.bytes_done, &job.progress.errors}) *counter = 0;
  job.progress.files_total = volume.last_backup.files;
  job.progress.bytes_total = volume.last_backup.bytes;

  job.set_phase("saving");
  repo::UploadSession session(*repository, upload_options(context, hold, stop.get()));
  const archive::Result result = archive::archive_tree(*repository, session, source, options);
  session.finish();
  // From here on everything that the snapshot will name is in the repository.
  base::fault_point("backup:finished");
  hold.check();
  if (job.stop.stop_requested()) throw base::Cancelled();
  if (!is_still_its_data(context, volume, root.get()))
    throw base::Conflict("the volume " + volume.name + " was removed while it was saved: no snapshot was made");

  repo::Snapshot snapshot = new_snapshot(context, point, path);
  snapshot.parent = options.parent;
  snapshot.tree = result.tree;
  snapshot.excludes = options.excludes.lines();
  snapshot.tags.insert(snapshot.tags.end(), request.tags.begin(), request.tags.end());
  if (result.unreadable_count > 0) snapshot.tags.push_back(kTagPartial);
  repo::SnapshotSummary summary = summarise(context, began, session.counts());
  summary.files_new = result.files_new;
  summary.files_changed = result.files_changed;
  summary.files_unmodified = result.files_unmodified;
  summary.dirs_new = result.dirs_new;
  summary.dirs_changed = result.dirs_changed;
  summary.dirs_unmodified = result.dirs_unmodified;
  summary.total_files_processed = result.total_files;
  summary.total_bytes_processed = result.total_bytes;
  snapshot.summary = summary;
  const auto former = request.is_tried_again ? find_former_try(*repository, snapshot) : std::nullopt;
  const base::Id id = former ? former->id : repository->save_snapshot(snapshot);
  if (former) outcome.point = point_of(*former);
  base::fault_point("backup:snapshot_saved");
  archive::commit_scan_cache(options.scan_cache_path);
  context.tracking.finish(tracked, context.clock, *repository, root.get(), options.scan_cache_path, result);

  outcome.outcome = result.unreadable_count > 0 ? Outcome::partial : Outcome::ok;
  outcome.snapshot = id.hex();
  outcome.summary = summary;
  outcome.consistency = "live";
  outcome.unreadable = result.unreadable_count;
  outcome.changed_while_read = result.changed_while_read_count;
  for (const auto& problem : result.unreadable) outcome.problems.push_back(problem.path + ": " + problem.reason);
  for (const auto& problem : result.changed_while_read)
    outcome.problems.push_back(problem.path + ": " + problem.reason);
  if (outcome.outcome == Outcome::partial) outcome.error = first_problems(result);
  outcome.seconds = job.seconds();
  return outcome;
}

// Changes the record of a volume that may be gone by now.
void note(Context& context, const Volume& volume, const std::function<void(volumes::LastBackup&)>& change) {
  try {
    context.registry.note(volume.uuid, [&](Volume& record) { change(record.last_backup); });
  } catch (const base::NotFound&) {
  }
}

// The backup is stored whatever becomes of this; a failure is told, and tried again after the next run.
void apply_retention(Context& context, const Volume& volume, const RepositoryAccess::Hold& hold, BackupOutcome& outcome) {
  const auto now = context.registry.find_uuid(volume.uuid);
  if (!now || now->state != volumes::State::ready) return;  // removed meanwhile: all stay as they were
  try {
    forget_group(hold, decide_by_policy(context, *hold.repository(), now->name, context.policy(now->options)));
  } catch (const base::Error& error) {
    const std::string why = std::string("retention failed: ") + error.what();
    spdlog::warn("volume {}: {}", now->name, why);
    outcome.problems.push_back(why);
    if (outcome.error.empty()) outcome.error = why;
    note(context, volume, [&](volumes::LastBackup& last) { last.error = outcome.error; });
  }
}

}  // namespace

std::optional<base::Id> find_parent(const repo::Repository& repository, const std::string& host,
                                    const std::string& path) {
  std::optional<base::Id> parent;
  for (const auto& file : repository.load_snapshots([](const auto&, const auto&) {}))
    if (file.snapshot.hostname == host && file.snapshot.paths == std::vector{path}) parent = file.id;
  return parent;
}

BackupOutcome backup_volume(Context& context, const BackupRequest& request, Job& job) {
  auto volume = context.registry.find_uuid(request.volume_uuid);
  if (!volume) throw base::NotFound("the volume is gone");
  if (volume->state != volumes::State::ready && volume->state != volumes::State::removed)
    throw base::Conflict("the volume " + volume->name + " is " + volumes::state_name(volume->state) +
                         ": there is nothing whole to save");
  const base::Time attempted = context.clock.now();
  // Before anything else, so that a run that ends the process is not made up for again and again at once.
  note(context, *volume, [&](volumes::LastBackup& last) { last.attempted = attempted; });
  BackupOutcome outcome;
  std::unique_ptr<RepositoryAccess::Hold> hold;
  try {
    const auto work = [&](const RepositoryAccess::Hold& begun) {
      try {
        outcome = run(context, request, *volume, begun, job);
      } catch (const base::Cancelled&) {
        if (!job.stop.stop_requested()) begun.check();  // that was why
        throw;
      }
    };
    hold = context.repository.work_under(
        job.stop.get_token(), [&](const std::string& why) { job.set_phase(why); }, RepositoryAccess::Use::write, work);
  } catch (...) {
    const std::string why = base::current_message();
    note(context, *volume, [&](volumes::LastBackup& last) { last.error = why; });
    throw;
  }
  note(context, *volume, [&](volumes::LastBackup& last) {
    last.succeeded = request.point ? request.point->time : attempted;
    last.snapshot = outcome.snapshot;
    last.consistency = outcome.consistency;
    last.partial = outcome.outcome == Outcome::partial;
    last.files = outcome.summary.total_files_processed;
    last.bytes = outcome.summary.total_bytes_processed;
    last.error = outcome.error;
  });
  spdlog::info("saved volume {} as {}: {} files, {}, {} new{}", volume->name, outcome.snapshot.substr(0, 8),
               outcome.summary.total_files_processed, base::human_size(outcome.summary.total_bytes_processed),
               base::human_size(outcome.summary.data_added_packed), outcome.error.empty() ? "" : "; " + outcome.error);
  if (const std::string how = context.tracking.note(volume->uuid); !how.empty())
    spdlog::info("volume {}: {}", volume->name, how);
  if (request.apply_retention) {
    job.set_phase("applying retention");
    apply_retention(context, *volume, *hold, outcome);
  }
  hold.reset();
  try {
    wait_for_quorum(context, outcome.snapshot, [&](const std::string& why) { job.set_phase(why); }, job.stop.get_token());
  } catch (const base::Error& error) {
    note(context, *volume, [&](volumes::LastBackup& last) { last.error = error.what(); });
    throw;
  }
  return outcome;
}

}  // namespace davit::jobs
