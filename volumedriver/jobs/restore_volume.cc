#include "jobs/restore_volume.h"

#include <fcntl.h>

#include "base/errors.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/files.h"
#include "base/log.h"
#include "jobs/references.h"

namespace davit::jobs {

using volumes::State;
using volumes::Volume;

namespace {

// Tries of a restore that meets a store's or a system's passing fault.
constexpr int kTries = 3;

std::vector<repo::Snapshot> all_snapshots(const repo::Repository& repository) {
  std::vector<repo::Snapshot> snapshots;
  for (auto& file : repository.load_snapshots([](const base::Id& id, const std::string& reason) {
         spdlog::warn("the snapshot file {} cannot be read: {}", id.short_hex(), reason);
       })) {
    file.snapshot.id = file.id;
    snapshots.push_back(std::move(file.snapshot));
  }
  return snapshots;
}

volumes::OptionMap load_saved_options(repo::Repository& repository, const repo::Snapshot& snapshot) {
  const auto bytes = restore::find_small_file(repository, snapshot.tree, kVolumeFile, 1 << 20);
  return bytes ? parse_volume_file(*bytes) : volumes::OptionMap{};
}

restore::Result restore_into(Context& context, repo::Repository& repository, const repo::Snapshot& snapshot,
                             const std::string& path, const std::string& directory, const std::string& cache_uuid,
                             Job& job) {
  job.set_phase("reading the index");
  repository.refresh_index();
  const base::Fd root = base::open_file(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  restore::Options options;
  options.progress = &job.progress;
  options.stop = job.stop.get_token();
  options.scan_cache_path = context.scan_cache_path(repository, cache_uuid);
  job.set_phase("restoring");
  return restore::restore_tree(repository, snapshot.tree, path, root.get(), options);
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
  bool damaged = false;
  std::vector<repo::Snapshot> snapshots;
  for (auto& file : repository->load_snapshots([&](const base::Id&, const std::string&) { damaged = true; })) {
    file.snapshot.id = file.id;
    snapshots.push_back(std::move(file.snapshot));
  }
  auto snapshot = resolve(reference, snapshots, own_host);
  if (!snapshot) {
    // Only a proven "none" makes an empty volume.
    if (damaged)
      throw base::Corrupt("some snapshot files of the repository cannot be read, so it is not certain that there is "
                          "no snapshot of " + volume + ": run `davit check`");
    return std::nullopt;
  }
  repository->refresh_index();
  Resolved resolved;
  resolved.snapshot = snapshot->id.hex();
  if (volume_of(*snapshot).empty())
    throw base::UsageError("the snapshot " + snapshot->id.short_hex() + " is not one of a volume");
  resolved.path = snapshot->paths[0];
  resolved.saved_options = load_saved_options(*repository, *snapshot);
  return resolved;
}

repo::Snapshot find_snapshot(Context& context, const std::string& text) {
  const Reference reference = parse_reference(text, "", context.zone());
  if (reference.automatic) throw base::UsageError("auto needs a new volume; name a volume or a snapshot");
  return *resolve(reference, all_snapshots(*context.repository.get()), context.host());
}

restore::Result restore_volume(Context& context, const std::string& volume_uuid, Job& job,
                               const std::function<void(const std::string&, std::stop_token)>& wait_for_backup) {
  auto volume = context.registry.find_uuid(volume_uuid);
  if (!volume || volume->state != State::restoring) throw base::NotFound("there is nothing to restore any more");
  for (int attempt = 1;; ++attempt) {
    try {
      if (!volume->waits_for.empty()) {
        job.set_phase("waiting for the last backup of " + volume->name);
        wait_for_backup(volume->waits_for, job.stop.get_token());
      }
      const auto hold = context.repository.hold_shared(job.stop.get_token(),
                                                       [&](const std::string& why) { job.set_phase(why); });
      const auto repository = context.repository.get();
      repo::Snapshot snapshot;
      if (volume->source_snapshot.empty()) {
        const Reference newest{.host = context.host(), .volume = volume->source_path.substr(9)};
        snapshot = *resolve(newest, all_snapshots(*repository), context.host());
        // Written down, so that a restart restores the same one.
        volume = context.registry.update(volume_uuid, [&](Volume& record) {
          record.source_snapshot = snapshot.id.hex();
          record.waits_for.clear();
        });
      } else {
        snapshot = repository->load_snapshot(*base::Id::parse(volume->source_snapshot));
      }
      const std::string directory =
          context.registry.prepare_staging(volume_uuid, [&] { return job.stop.stop_requested(); });
      const auto result =
          restore_into(context, *repository, snapshot, volume->source_path, directory, volume_uuid, job);
      base::fault_point("restore:written");
      if (job.stop.stop_requested()) throw base::Cancelled();
      context.registry.make_ready(volume_uuid);
      spdlog::info("restored volume {} from {}: {} files, {} in {:.1f} s{}", volume->name, snapshot.id.hex().substr(0, 8),
                   result.files, base::human_size(result.bytes), job.seconds(),
                   result.problem_count ? "; " + std::to_string(result.problem_count) + " problems, the first: " +
                                              result.problems.front()
                                        : "");
      return result;
    } catch (const base::Error& error) {
      const auto* io = dynamic_cast<const base::IoError*>(&error);
      if (io && io->transient() && attempt < kTries && !job.stop.stop_requested()) {
        spdlog::warn("restoring volume {} failed and is tried again: {}", volume->name, error.what());
        continue;
      }
      if (context.registry.find_uuid(volume_uuid)) context.registry.set_failed(volume_uuid, error.what());
      spdlog::error("restoring volume {} failed: {}", volume->name, error.what());
      throw;
    }
  }
}

restore::Result restore_in_place(Context& context, const Volume& volume, const repo::Snapshot& snapshot, Job& job) {
  const auto hold = context.repository.hold_shared(job.stop.get_token(),
                                                   [&](const std::string& why) { job.set_phase(why); });
  const auto repository = context.repository.get();
  const std::string directory =
      context.registry.prepare_replacement(volume.uuid, [&] { return job.stop.stop_requested(); });
  try {
    const auto result = restore_into(context, *repository, snapshot, snapshot.paths[0], directory, volume.uuid, job);
    if (job.stop.stop_requested()) throw base::Cancelled();
    base::fault_point("restore:written");
    context.registry.replace(volume.uuid);
    context.registry.sweep([&] { return job.stop.stop_requested(); });
    return result;
  } catch (...) {
    context.registry.abandon_replacement(volume.uuid);
    context.registry.sweep();
    throw;
  }
}

}  // namespace davit::jobs
