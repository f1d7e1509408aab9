#include "jobs/restore_volume.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/errors.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/files.h"
#include "base/log.h"
#include "jobs/either_stop.h"
#include "jobs/waiting.h"

namespace davit::jobs {

using volumes::State;
using volumes::Volume;

namespace {

// Tries of a restore that meets a store's or a system's passing fault.
constexpr int kTries = 4;
constexpr std::chrono::seconds kFirstPause{1}, kLongestPause{60};

// Throws the same once more, with what a person can do about it where that is known: what fails here for want of room
// is what is restored.
[[noreturn]] void rethrow_with_advice(const Context& context, const base::IoError& error) {
  if (error.number() != ENOSPC && error.number() != EDQUOT) throw error;
  throw base::IoError(std::string(error.what()) + "; make room on the file system of " + context.data_directory +
                      (error.number() == EDQUOT ? ", or raise the quota" : ""), error.number());
}

// All that can be read, oldest first, and one that cannot.
struct Snapshots {
  std::vector<repo::Snapshot> readable;
  std::optional<base::Id> damaged;
};

Snapshots load_snapshots(const repo::Repository& repository) {
  Snapshots all;
  for (auto& file : repository.load_snapshots([&](const base::Id& id, const std::string& reason) {
         spdlog::warn("the snapshot file {} cannot be read: {}", id.short_hex(), reason);
         all.damaged = id;
       })) {
    file.snapshot.id = file.id;
    all.readable.push_back(std::move(file.snapshot));
  }
  return all;
}

// The snapshot that is meant; nothing for `auto` when there is certainly none. A file that cannot be read may be the
// newest snapshot of any volume: nothing older passes for "the newest" then, and nothing at all for "there is none".
std::optional<repo::Snapshot> find_meant(const Reference& reference, const repo::Repository& repository,
                                         const std::string& own_host) {
  const Snapshots all = load_snapshots(repository);
  std::optional<repo::Snapshot> found;
  try {
    found = resolve(reference, all.readable, own_host);
  } catch (const base::NotFound&) {
    if (!all.damaged) throw;
  }
  if (!all.damaged) return found;
  const bool by_id = found && (!reference.id_prefix.empty() ||
                               (reference.may_be_id && name_of(*found, reference.subject) != reference.volume));
  if (by_id) return found;
  throw base::Corrupt("the snapshot file " + all.damaged->short_hex() + " of the repository cannot be read, and it may "
                      "be the one that is meant: run `davit check`" +
                      (found ? "; the newest of " + reference.volume + " that can be read is " +
                                   reference.volume + "@" + found->id.short_hex()
                             : ""));
}

volumes::OptionMap load_saved_options(repo::Repository& repository, const repo::Snapshot& snapshot) {
  const auto bytes = restore::find_small_file(repository, snapshot.tree, kVolumeFile, 1 << 20);
  return bytes ? parse_volume_file(*bytes) : volumes::OptionMap{};
}

restore::Result restore_into(Context& context, repo::Repository& repository, const repo::Snapshot& snapshot,
                             const std::string& path, const std::string& directory, const std::string& cache_uuid,
                             std::stop_token stop, Job& job) {
  job.set_phase("reading the index");
  repository.refresh_index();
  const base::Fd root = base::open_file(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  restore::Options options;
  for (auto* counter : {&job.progress.files_done, &job.progress.bytes_done, &job.progress.errors}) *counter = 0;
  // Every snapshot of ours says how much it holds; a foreign one may not, and then there is no percentage.
  job.progress.files_total = snapshot.summary ? snapshot.summary->total_files_processed : 0;
  job.progress.bytes_total = snapshot.summary ? snapshot.summary->total_bytes_processed : 0;
  options.progress = &job.progress;
  options.stop = stop;
  job.set_phase("restoring");
  try {
    options.scan_cache_path = context.scan_cache_path(repository, cache_uuid);
    return restore::restore_tree(repository, snapshot.tree, path, root.get(), options);
  } catch (const base::IoError& error) {
    rethrow_with_advice(context, error);
  }
}

}  // namespace

std::optional<Resolved> resolve_reference(Context& context, const std::string& text, const std::string& volume) {
  const Reference reference = parse_reference(text, volume, context.zone());
  const std::string own_host = context.host();
  // Its last backup may still be on the way: that is the newest, and it is waited for.
  const bool newest = !reference.at && reference.id_prefix.empty() &&
                      (reference.host.empty() || reference.host == own_host);
  if (newest) {
    std::optional<Volume> latest;
    for (const auto& removed : context.registry.list_removed())
      if (removed.name == reference.volume && (!latest || removed.removed_at > latest->removed_at)) latest = removed;
    if (latest) return Resolved{"", kVolumesPath + latest->name, latest->options, latest->uuid};
  }
  const auto repository = context.repository.get();
  context.repository.check_not_exclusively_locked();
  const auto mirrors = context.repository.find_mirrors(*repository);
  const uint64_t stood_in = mirrors ? mirrors->stood_in() : 0;
  const auto snapshot = find_meant(reference, *repository, own_host);
  if (!snapshot && mirrors && mirrors->stood_in() != stood_in)
    throw base::IoError("the repository " + repository->store().describe() + " is away, and a mirror without snapshots of " +
                        volume + " does not prove that there are none: try again", 0, true);
  if (!snapshot) return std::nullopt;
  Resolved resolved;
  resolved.snapshot = snapshot->id.hex();
  if (volume_of(*snapshot).empty())
    throw base::UsageError("the snapshot " + snapshot->id.short_hex() + " is not one of a volume");
  resolved.path = snapshot->paths[0];
  repository->refresh_index();
  try {
    resolved.saved_options = load_saved_options(*repository, *snapshot);
  } catch (const base::Error& error) {
    // No lock is held: a prune may have moved it since the index was read.
    spdlog::debug("the options of {} are looked for again: {}", snapshot->id.short_hex(), error.what());
    repository->refresh_index();
    resolved.saved_options = load_saved_options(*repository, *snapshot);
  }
  return resolved;
}

repo::Snapshot find_snapshot(Context& context, const repo::Repository& repository, const std::string& text,
                             Subject subject) {
  const Reference reference = parse_reference(text, "", context.zone(), subject);
  if (reference.automatic) throw base::UsageError("auto needs a new volume; name a volume or a snapshot");
  return *find_meant(reference, repository, context.host());
}

namespace {

restore::Result restore_once(Context& context, const std::string& uuid, const RepositoryAccess::Hold& hold, Job& job) {
  auto volume = context.registry.find_uuid(uuid);
  if (!volume) throw base::NotFound("the volume was removed");
  const auto& repository = hold.repository();
  repo::Snapshot snapshot;
  if (volume->source_snapshot.empty()) {
    hold.settle();  // what follows is remembered
    const Reference newest{.host = context.host(), .volume = volume->source_path.substr(9)};
    const auto mirrors = context.repository.find_mirrors(*repository);
    const uint64_t stood_in = mirrors ? mirrors->stood_in() : 0;
    snapshot = *resolve(newest, load_snapshots(*repository).readable, context.host());
    if (mirrors && mirrors->stood_in() != stood_in)
      throw base::IoError("the repository " + repository->store().describe() +
                          " is away, and a mirror may not have the newest snapshot yet", 0, true);
    // Written down, so that a restart restores the same one.
    volume = context.registry.update(uuid, [&](Volume& record) {
      record.source_snapshot = snapshot.id.hex();
      record.waits_for.clear();
    });
  } else {
    const auto id = base::Id::parse(volume->source_snapshot);
    if (!id) throw base::Corrupt("the record of volume " + volume->name + " names no snapshot");
    snapshot = repository->load_snapshot(*id);
  }
  const EitherStop stop(job.stop.get_token(), hold.lost());
  const std::string directory = context.registry.prepare_staging(uuid, [&] { return stop.get().stop_requested(); });
  auto result =
      restore_into(context, *repository, snapshot, volume->source_path, directory, uuid, stop.get(), job);
  base::fault_point("restore:written");
  if (job.stop.stop_requested()) throw base::Cancelled();
  context.registry.make_ready(uuid);
  spdlog::info("restored volume {} from {}: {} files, {} in {:.1f} s{}", volume->name, snapshot.id.hex().substr(0, 8),
               result.files, base::human_size(result.bytes), job.seconds(),
               result.problem_count ? "; " + std::to_string(result.problem_count) + " problems, the first: " +
                                          result.problems.front()
                                    : "");
  return result;
}

}  // namespace

restore::Result restore_volume(Context& context, const std::string& volume_uuid, Job& job,
                               const std::function<void(const std::string&, std::stop_token)>& wait_for_backup) {
  auto volume = context.registry.find_uuid(volume_uuid);
  if (!volume || volume->state != State::restoring) throw base::NotFound("there is nothing to restore any more");
  const std::string name = volume->name;
  auto pause = kFirstPause;
  for (int attempt = 1;; ++attempt) {
    std::unique_ptr<RepositoryAccess::Hold> hold;
    // What is restored is verified, with or without a lock; what fails may have failed for want of one.
    const auto is_lost = [&] {
      try {
        if (hold) hold->settle();
      } catch (const base::Error&) {
        return true;
      }
      return hold && hold->lost().stop_requested();
    };
    try {
      if (!volume->waits_for.empty()) {
        job.set_phase("waiting for the last backup of " + name);
        wait_for_backup(volume->waits_for, job.stop.get_token());
      }
      hold = wait_for_repository(context, job, "a restore", RepositoryAccess::When::begun);
      return restore_once(context, volume_uuid, *hold, job);
    } catch (const base::Cancelled&) {
      if (job.stop.stop_requested() || !is_lost()) throw;
      spdlog::warn("restoring volume {} begins again: the lock on the repository was lost", name);
    } catch (const base::Error& error) {
      if (job.stop.stop_requested()) throw base::Cancelled();
      const auto* io = dynamic_cast<const base::IoError*>(&error);
      const bool may_pass = io && io->transient() && attempt < kTries;
      if (!may_pass && !is_lost()) {
        if (context.registry.find_uuid(volume_uuid)) context.registry.set_failed(volume_uuid, error.what());
        spdlog::error("restoring volume {} failed: {}", name, error.what());
        throw;
      }
      spdlog::warn("restoring volume {} failed and is tried again: {}", name, error.what());
    }
    hold.reset();
    job.pause(std::exchange(pause, std::min(pause * 4, kLongestPause)));
  }
}

restore::Result restore_in_place(Context& context, const Volume& volume, const repo::Snapshot& snapshot, Job& job,
                                 const std::function<void()>& before_replacing) {
  const auto hold = context.repository.hold_shared(
      job.stop.get_token(), [&](const std::string& why) { job.set_phase(why); }, RepositoryAccess::Use::read);
  const EitherStop stop(job.stop.get_token(), hold->lost());
  const std::string directory =
      context.registry.prepare_replacement(volume.uuid, [&] { return stop.get().stop_requested(); });
  try {
    const auto result = restore_into(context, *hold->repository(), snapshot, snapshot.paths[0], directory, volume.uuid,
                                     stop.get(), job);
    if (job.stop.stop_requested()) throw base::Cancelled();
    before_replacing();
    base::fault_point("restore:written");
    context.registry.replace(volume.uuid);
    context.registry.sweep([&] { return job.stop.stop_requested(); });
    return result;
  } catch (...) {
    context.registry.abandon_replacement(volume.uuid);
    context.registry.sweep([&] { return job.stop.stop_requested(); });
    if (!job.stop.stop_requested()) hold->check();  // a lost lock is why
    throw;
  }
}

}  // namespace davit::jobs
