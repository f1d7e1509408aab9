// What a person or the planner starts and waits for: prune, backup, restore.
#include <algorithm>
#include <tuple>

#include "base/errors.h"
#include "base/log.h"
#include "jobs/either_stop.h"
#include "jobs/manager.h"
#include "jobs/references.h"
#include "jobs/watch.h"
#include "volumes/name.h"

namespace davit::jobs {

using volumes::State;
using volumes::Volume;

// ------------------------------------------------------------------------------------------------- prune

void Manager::run_prune(Job& job, upkeep::PrunePlan* report) {
  UpkeepRun last = last_prune();
  last.attempted = context_.clock.now();
  save_upkeep_run(prune_path(), last);
  try {
    prune_once(job, report);
    last.succeeded = last.attempted;
    last.error.clear();
    save_upkeep_run(prune_path(), last);
  } catch (const base::Cancelled&) {
    throw;
  } catch (const std::exception& error) {
    last.error = error.what();
    save_upkeep_run(prune_path(), last);
    spdlog::error("pruning failed: {}", error.what());
    ping(nullptr, PingEvent::failure, std::string("pruning failed: ") + error.what());
    throw;
  }
}

void Manager::prune_once(Job& job, upkeep::PrunePlan* report) {
  // One request to stop for both phases: told to, or either lock lost.
  std::stop_source stop;
  const auto request = [&stop] { stop.request_stop(); };
  const std::stop_callback on_stop(job.stop.get_token(), request);
  upkeep::PruneOptions options;
  options.progress = &job.progress;
  options.stop = stop.get_token();
  options.reserve = [this](uint64_t bytes) {
    return context_.upload.reserve(bytes, std::chrono::steady_clock::now());
  };
  try {
    // The plan only reads: it may begin before the lock has settled.
    upkeep::PrunePlan plan;
    auto hold = context_.repository.work_under(
        job.stop.get_token(), [&job](const std::string& why) { job.set_phase(why); }, RepositoryAccess::Use::write,
        [&](const RepositoryAccess::Hold& begun) {
          job.set_phase("finding what is used");
          const EitherStop either(job.stop.get_token(), begun.lost());
          begun.repository()->refresh_index();
          plan = upkeep::plan_prune(*begun.repository(), {.progress = &job.progress, .stop = either.get()});
        });
    const auto repository = hold->repository();
    const std::stop_callback on_lost(hold->lost(), request);
    if (report) *report = plan;
    if (!plan.empty()) {
      job.set_phase("pruning");
      upkeep::execute_prune(*repository, plan, options, [&](const std::function<void()>& second_phase) {
        hold->check();
        hold.reset();
        context_.repository.with_exclusive(
            job.stop.get_token(), repository,
            [&](std::stop_token exclusive_lost) {
              job.set_phase("pruning");
              const std::stop_callback on_exclusive_lost(exclusive_lost, request);
              const auto noted = context_.repository.note_prune(*repository);
              second_phase();
            },
            [&job](const std::string& why) { job.set_phase(why); });
      });
    }
    context_.repository.mirror_book().changed();
    spdlog::info("pruned the repository: {} freed, {} of {} packs rewritten", base::human_size(plan.bytes_freed),
                 plan.packs_repacked, plan.packs_total);
  } catch (const base::Cancelled&) {
    if (job.stop.stop_requested()) throw;
    throw base::IoError("the lock on the repository was lost while it was pruned: prune again", 0, true);
  }
}

upkeep::PrunePlan Manager::prune(bool dry_run, const Emit& emit, std::stop_token stop) {
  auto plan = std::make_shared<upkeep::PrunePlan>();
  const auto work = [this, plan, dry_run](Job& job) {
    if (!dry_run) {
      run_prune(job, plan.get());
      return;
    }
    const auto hold = hold_for(job, RepositoryAccess::Use::read);
    hold->repository()->refresh_index();
    job.set_phase("finding what is used");
    *plan = upkeep::plan_prune(*hold->repository(), {.progress = &job.progress, .stop = job.stop.get_token()});
  };
  watch(queue_.submit(dry_run ? "prune dry run" : kPrune, kPrune, JobClass::upkeep, work), "", emit, stop);
  return *plan;
}

// --------------------------------------------------------------------------------------- backup and restore

Volume Manager::get_volume(const std::string& name) const {
  auto volume = context_.registry.find(name);
  if (!volume) {
    std::string known;
    for (const auto& each : context_.registry.list()) known += (known.empty() ? "" : ", ") + each.name;
    throw base::NotFound("there is no volume " + name + (known.empty() ? "; there is none yet" : "; there are: " + known));
  }
  return *volume;
}

RestoreOutcome Manager::restore(const RestoreRequest& request, const Emit& emit, std::stop_token stop) {
  const auto began = std::chrono::steady_clock::now();
  RestoreOutcome outcome = request.in_place ? restore_over(request, emit, stop) : restore_new(request, emit, stop);
  outcome.volume = request.target;
  outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  return outcome;
}

namespace {

RestoreOutcome describe(const restore::Result& result) {
  RestoreOutcome outcome;
  outcome.files = result.files;
  outcome.bytes = result.bytes;
  outcome.problems = result.problems;
  return outcome;
}

}  // namespace

RestoreOutcome Manager::restore_new(const RestoreRequest& request, const Emit& emit, std::stop_token stop) {
  volumes::validate_name(request.target);
  hooks_.validate_options(request.options, request.target);
  const auto resolved = resolve(request.reference, request.target);
  if (!resolved) throw base::NotFound("there is no snapshot of " + request.target);
  const volumes::OptionMap options = hooks_.merge_options(resolved->saved_options, request.options, request.target);
  const Volume volume = context_.registry.create(request.target, State::restoring, options, [&](Volume& record) {
    record.requested = request.options;
    record.requested["from"] = request.reference;
    record.source_snapshot = resolved->snapshot;
    record.source_path = resolved->path;
    record.waits_for = resolved->waits_for;
    record.images_owed = hooks_.wants_images(request.options, images_by_default());
  });
  volume_was_made(request.target);
  const auto result = std::make_shared<restore::Result>();
  watch(start_restore(volume.uuid, result), request.target, emit, stop);
  RestoreOutcome outcome = describe(*result);
  const auto restored = context_.registry.find_uuid(volume.uuid);
  outcome.snapshot = restored ? restored->source_snapshot : resolved->snapshot;
  return outcome;
}

RestoreOutcome Manager::restore_over(const RestoreRequest& request, const Emit& emit, std::stop_token stop) {
  return replace_volume(request, emit, stop, [](const std::string&) {});
}

RestoreOutcome Manager::replace_volume(const RestoreRequest& request, const Emit& emit, std::stop_token stop,
                                       const std::function<void(const std::string&)>& saved) {
  const Volume volume = get_volume(request.target);
  if (volume.state != State::ready)
    throw base::Conflict("the volume " + volume.name + " is " + volumes::state_name(volume.state));
  if (!request.options.empty())
    throw base::UsageError("options go with a new volume; change those of an existing one with "
                           "davit config set --volume " + volume.name);
  const repo::Snapshot snapshot = find_snapshot(context_, *context_.repository.get(), request.reference);
  if (volume_of(snapshot).empty()) throw base::UsageError("the snapshot is not one of a volume");
  refuse_if_in_use(volume);
  // What is there now can be had back. A backup that runs already may have begun before the last change.
  if (const auto running = queue_.find(volume.uuid)) {
    try {
      watch(running, volume.name, emit, stop);
    } catch (const base::Error& error) {
      spdlog::info("before volume {} is restored, a {} of it failed: {}", volume.name, running->what, error.what());
    }
  }
  const auto backup = submit_backup(volume,
                                    {.volume_uuid = volume.uuid,
                                     .tags = {kTagSafety},
                                     .point = make_point(context_.clock.now()),
                                     .apply_retention = false},
                                    By::person, true);
  watch(backup.job, volume.name, emit, stop);
  const BackupOutcome* const safety = &backup.run->outcome;
  if (safety->outcome != Outcome::ok)
    throw base::Conflict("nothing was changed, because not all of what is in " + volume.name + " now can be saved: " +
                         safety->error + ". Restore into a new volume instead (--as NEW)");
  saved(safety->snapshot);
  const auto result = std::make_shared<restore::Result>();
  const auto job = queue_.submit(
      volume.uuid, "restore", JobClass::restore,
      [this, volume, snapshot, result](Job& job) {
        const auto refuse = [&] { refuse_if_in_use(volume); };
        refuse();
        *result = restore_in_place(context_, volume, snapshot, job, refuse);
      },
      true);
  if (job->what != "restore") throw base::Conflict("another job runs on " + volume.name + ": try again");
  watch(job, volume.name, emit, stop);
  RestoreOutcome outcome = describe(*result);
  outcome.snapshot = snapshot.id.hex();
  outcome.safety_snapshot = safety->snapshot;
  return outcome;
}

void Manager::refuse_if_in_use(const Volume& volume) {
  if (context_.engine == nullptr)
    throw base::Conflict("no engine can be asked who uses " + volume.name +
                         ": set DOCKER_HOST, or restore into a new volume");
  std::string users;
  for (const auto& container : context_.engine->containers_using(volume.name))
    if (container.is_running()) users += (users.empty() ? "" : ", ") + container.name;
  if (!users.empty())
    throw base::Conflict("the volume " + volume.name + " is in use by " + users +
                         ": stop it first, or restore into a new volume (--as NEW)");
  if (mounts_.is_fresh(volume.uuid))
    throw base::Conflict("the volume " + volume.name + " was mounted a moment ago, so a container that uses it may be "
                         "just starting: try again in " + std::to_string(volumes::Mounts::kStarting.count()) +
                         " minutes, or restore into a new volume (--as NEW)");
}

void Manager::wait(const std::string& name, const Emit& emit, std::stop_token stop) {
  // A volume that was just removed is waited for until its last backup is stored.
  std::optional<Volume> volume = context_.registry.find(name);
  if (!volume)
    for (const auto& removed : context_.registry.list_removed())
      if (removed.name == name) volume = removed;
  if (!volume) volume = get_volume(name);  // throws, naming what there is
  const bool was_removed = volume->state == State::removed;
  while (const auto job = queue_.find(volume->uuid)) {
    try {
      watch(job, name, emit, stop);
    } catch (const base::Error&) {
      // The backup that a removal interrupted counts for nothing: the last one does.
      if (!was_removed || job->what == kLastBackup) throw;
    }
  }
  const auto now = context_.registry.find_uuid(volume->uuid);
  if (now && now->state == State::failed)
    throw base::Error("the restore of " + name + " failed: " + now->error);
  // What came with it: that an image could not be loaded fails nothing (status tells).
  for (std::shared_ptr<Job> job; (job = images_.find_job(volume->uuid));) {
    try {
      watch(job, name, emit, stop);
    } catch (const base::Error& error) {
      spdlog::debug("an image of volume {}: {}", name, error.what());
    }
  }
  if (const auto failure = last_backups_.failure(volume->uuid))
    throw base::Error("the last backup of " + name + " failed and will be tried again: " + *failure);
}

}  // namespace davit::jobs
