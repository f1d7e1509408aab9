#include "jobs/manager.h"

#include "base/errors.h"
#include "base/fault.h"
#include "base/files.h"
#include "base/log.h"
#include "base/patience.h"
#include "jobs/forget.h"
#include "jobs/ping.h"
#include "jobs/references.h"
#include "jobs/repository_cache.h"
#include "jobs/restore_journal.h"

namespace davit::jobs {

using namespace std::chrono_literals;
using volumes::State;
using volumes::Volume;

namespace {

// Restores run for somebody who waits; a few at once keep the disk busy without starving each other.
constexpr unsigned kRestoresAtOnce = 4;
// Unpacking layers is the engine's own disk's work.
constexpr unsigned kImagesAtOnce = 2;
constexpr unsigned kContainersAtOnce = 2;
constexpr unsigned kMirrorsAtOnce = 4;

}  // namespace

Manager::Manager(Context& context, Hooks hooks)
    : context_(context), hooks_(std::move(hooks)), mounts_(context.clock),
      containers_(context.data_directory + "/state/containers.json", context.clock),
      commits_(context.engine, context.clock, context.data_directory),
      damage_(context.data_directory + "/state/damage.json"),
      last_backups_([this](const std::string& uuid) { start_last_backup(uuid); }),
      images_(context, queue_),
      watch_([this] {
        look_at_containers();
        look_at_late_images();
      }),
      mirror_watch_([this] { return mirror_places(); }, [this](const std::string& place) { start_mirror_sync(place, true); }),
      queue_([this](JobClass job_class) {
        switch (job_class) {
          case JobClass::backup: return static_cast<unsigned>(context_.settings.number("DAVIT_JOBS"));
          case JobClass::restore: return kRestoresAtOnce;
          case JobClass::image: return kImagesAtOnce;
          case JobClass::container: return kContainersAtOnce;
          case JobClass::mirror: return kMirrorsAtOnce;
          case JobClass::upkeep: break;
        }
        return 1u;
      },
      [this](JobClass job_class) {
        const bool waited_for = job_class == JobClass::restore || job_class == JobClass::image || job_class == JobClass::container;
        return !waited_for && context_.settings.get("DAVIT_PRIORITY") == "low";
      }) {
  context_.repository.mirror_book().on_change([this] { mirror_watch_.changed(); });
  // Here, since nobody can ask for a restore yet.
  try {
    RestoreJournal(context_.data_directory).tidy();
  } catch (const base::Error& error) {
    spdlog::warn("cannot clear the journal of restores: {}", error.what());
  }
}

Manager::~Manager() { stop(); }

void Manager::stop() {
  stopping_.request_stop();
  watch_.stop();
  context_.repository.mirror_book().on_change({});
  mirror_watch_.stop();
  last_backups_.stop();
  queue_.stop();
  commits_.stop();
}

void Manager::start() {
  commits_.start();
  try {
    context_.repository.get();
    context_.repository.remove_own_stale_locks();
    context_.repository.tidy();
  } catch (const base::Error& error) {
    spdlog::error("the repository cannot be used: {}", error.what());
  }
  // From now on counts as missed what comes due while davit is down.
  for (const std::string& path : {prune_path(), scrub_path(), retention_path()}) {
    UpkeepRun run = load_upkeep_run(path);
    if (run.since) continue;
    run.since = context_.clock.now();
    save_upkeep_run(path, run);
  }
  for (const auto& volume : context_.registry.list())
    if (volume.state == State::restoring) {
      spdlog::info("going on with the restore of volume {}", volume.name);
      start_restore(volume.uuid);
    }
  for (const auto& volume : context_.registry.list_removed()) start_last_backup(volume.uuid);
  images_.resume();
  start_undoing_restores();
  watch_.start();
  mirror_watch_.start();
  sweep_caches();
}

void Manager::sweep_caches() {
  try {
    const std::string caches = context_.data_directory + "/cache";
    const auto open = context_.repository.find_open();
    const std::string current = open ? cache_directory(context_.data_directory, *open) : "";
    for (const std::string& repository : base::list_directory(caches)) {
      const std::string directory = caches + "/" + repository;
      for (const std::string& file : base::list_directory(directory)) {
        if (file == kCacheFiles) {
          if (open && directory != current) base::remove_tree(directory + "/" + file);
          continue;
        }
        // The index and what is being written of it; a former repository's is of no more use.
        if (file.starts_with("index") && (!open || directory == current)) continue;
        if (!context_.registry.find_uuid(file.substr(0, file.find('.')))) base::remove_file(directory + "/" + file);
      }
    }
  } catch (const base::Error& error) {
    spdlog::warn("cannot clear the cache: {}", error.what());
  }
}

std::unique_ptr<RepositoryAccess::Hold> Manager::hold_for(Job& job, RepositoryAccess::Use use) {
  return context_.repository.hold_shared(
      job.stop.get_token(), [&job](const std::string& why) { job.set_phase(why); }, use);
}

// ------------------------------------------------------------------------------------------- volume driver

std::optional<Resolved> Manager::resolve(const std::string& reference, const std::string& volume) {
  return resolve_reference(context_, reference, volume);
}

std::shared_ptr<Job> Manager::start_restore(const std::string& uuid, std::shared_ptr<restore::Result> result) {
  images_.start(uuid);  // beside it, where the snapshot is known already
  return queue_.submit(uuid, "restore", JobClass::restore, [this, uuid, result](Job& job) {
    auto restored = restore_volume(context_, uuid, job, [this, &job](const std::string& other, std::stop_token stop) {
      while (context_.registry.find_uuid(other)) {
        if (stop.stop_requested()) throw base::Cancelled();
        start_last_backup(other);
        if (const auto backup = queue_.find(other)) {
          backup->wait_until(std::chrono::steady_clock::now() + 500ms, stop);
        } else if (const auto failure = last_backups_.failure(other)) {
          job.set_phase("waiting for the last backup, which failed: " + *failure);
          last_backups_.wait(500ms);
        }
      }
    });
    if (result) *result = std::move(restored);
    images_.start(uuid);
    if (hooks_.replan) hooks_.replan();
  });
}

void Manager::cancel(const std::string& uuid) {
  if (const auto job = queue_.find(uuid)) {
    job->stop.request_stop();
    job->wait_until(std::chrono::steady_clock::now() + 20s);
  }
}

void Manager::start_last_backup(const std::string& uuid) {
  if (last_backups_.is_pausing(uuid)) return;
  const auto job =
      queue_.submit(uuid, kLastBackup, JobClass::backup, [this, uuid](Job& job) { run_last_backup(uuid, job); });
  if (job->what == kLastBackup) return;
  // The volume was removed while it was being saved (what that saves may be older than the removal): this comes next.
  job->when_finished([this, uuid] {
    try {
      start_last_backup(uuid);
    } catch (const base::Error&) {  // davit is stopping; the next start goes on
    }
  });
}

void Manager::run_last_backup(const std::string& uuid, Job& job) {
  const auto volume = context_.registry.find_uuid(uuid);
  if (!volume || volume->state != State::removed) {
    last_backups_.succeeded(uuid);
    return;
  }
  ping(&*volume, PingEvent::start, "");
  try {
    const auto outcome = backup_volume(
        context_,
        {.volume_uuid = uuid, .tags = {kTagFinal}, .point = make_point(*volume->removed_at), .apply_retention = false,
         .is_tried_again = true},
        job);
    if (outcome.outcome == Outcome::partial)
      throw base::IoError("it is partial: " + outcome.error, 0);
    base::fault_point("final:saved");
    ping_outcome(&*volume, outcome);
    // Noted already at the removal, unless the process died in it.
    if (!context_.registry.find(volume->name)) note_removed(context_, volume->name, *volume->removed_at);
    job.set_phase("deleting");
    context_.registry.drop(uuid, [&job] { return job.stop.stop_requested(); });
  } catch (const base::Cancelled&) {
    throw;
  } catch (const std::exception& error) {
    const std::string why = "the last backup of the removed volume " + volume->name + " failed: " + error.what();
    spdlog::error("{}; its data is kept in {}", why, context_.registry.directory(*volume));
    ping(&*volume, PingEvent::failure, why);
    last_backups_.failed(uuid, error.what());
    throw;
  }
  last_backups_.succeeded(uuid);
  sweep_caches();
  spdlog::info("the removed volume {} is saved and gone", volume->name);
}

// What is noted here is about retention only: a failure must not make the engine believe that its call failed.
void Manager::volume_was_made(const std::string& name) {
  try {
    note_made(context_, name);
  } catch (const base::Error& error) {
    spdlog::error("cannot note that volume {} was made: {}", name, error.what());
  }
  if (hooks_.replan) hooks_.replan();
}

void Manager::volume_was_removed(const Volume& volume) {
  // Nothing of it is to be saved, and its data is being deleted: a backup that reads it has no use any more.
  if (!context_.registry.find_uuid(volume.uuid))
    if (const auto job = queue_.find(volume.uuid)) job->stop.request_stop();
  try {
    note_removed(context_, volume.name, context_.clock.now());
  } catch (const base::Error& error) {
    spdlog::error("cannot note that volume {} was removed: {}", volume.name, error.what());
  }
  if (hooks_.replan) hooks_.replan();
}

void Manager::run_aside(std::function<void()> work) {
  std::lock_guard lock(aside_mutex_);
  std::erase_if(aside_, [](Aside& each) { return each.done->load(); });
  auto done = std::make_shared<std::atomic<bool>>(false);
  aside_.push_back({std::jthread([work = std::move(work), done, stop = stopping_.get_token()] {
                      const base::PatienceScope patience({base::Patience().limit, stop});
                      try {
                        work();
                      } catch (...) {
                        spdlog::error("work in the background failed: {}", base::current_message());
                      }
                      done->store(true);
                    }),
                    done});
}

// ------------------------------------------------------------------------------------------------- planner

void Manager::ping(const Volume* volume, PingEvent event, const std::string& text) {
  // A run that went well says nothing of what was saved before.
  const auto damage = event == PingEvent::success ? find_damage() : std::nullopt;
  const auto send = [&](const std::string& url, const std::string& subject, bool is_damaged) {
    if (is_damaged)
      pinger_.send({url, subject, PingEvent::failure, text + "; but " + damage->summary()});
    else
      pinger_.send({url, subject, event, text});
  };
  send(context_.settings.get("DAVIT_PING_URL"), "this installation", damage.has_value());
  if (volume == nullptr) return;
  if (const auto own = volume->options.find("ping-url"); own != volume->options.end())
    send(own->second, "volume " + volume->name, damage && damage->affects_volume(volume->name));
}

void Manager::ping_outcome(const Volume* volume, const BackupOutcome& outcome) {
  const std::string what = volume ? "volume " + volume->name : "container " + outcome.container;
  if (outcome.outcome == Outcome::partial)
    ping(volume, PingEvent::failure, "the backup of " + what + " is partial: " + outcome.error);
  else if (!outcome.error.empty())
    ping(volume, PingEvent::failure, what + " is saved, but " + outcome.error);
  else
    ping(volume, PingEvent::success, "saved " + what + " as " + outcome.snapshot.substr(0, 8));
}

void Manager::start_scheduled_prune(std::function<void(bool)> done) {
  when_done(queue_.submit(kPrune, kPrune, JobClass::upkeep, [this](Job& job) { run_prune(job, nullptr); }),
            std::move(done));
}

void Manager::start_removed_retention(std::function<void(bool)> done) {
  when_done(queue_.submit("retention of removed volumes", "retention", JobClass::upkeep,
                          [this](Job& job) { run_removed_retention(job); }),
            std::move(done));
}

void Manager::run_removed_retention(Job& job) {
  UpkeepRun last = last_removed_retention();
  last.attempted = context_.clock.now();
  try {
    const auto hold = hold_for(job);
    for (const auto& group : decide_removed_volumes(context_, *hold->repository())) {
      forget_group(*hold, group);
      if (group.keep.empty() && !context_.registry.find(group.volume)) note_made(context_, group.volume);
    }
    // After the volumes, which some of them follow.
    for (const auto& container : containers_.list()) {
      const auto group = decide_known_container(*hold->repository(), container, std::nullopt);
      forget_group(*hold, group);
      if (container.gone && group.keep.empty()) {
        if (context_.engine != nullptr) commits_.trim_kept(container.name, 0);
        containers_.forget(container.name);
      }
    }
    last.succeeded = last.attempted;
    last.error.clear();
    save_upkeep_run(retention_path(), last);
  } catch (const base::Cancelled&) {
    throw;
  } catch (const std::exception& error) {
    last.error = error.what();
    save_upkeep_run(retention_path(), last);
    spdlog::error("retention of removed volumes failed: {}", error.what());
    ping(nullptr, PingEvent::failure, std::string("retention of removed volumes failed: ") + error.what());
    throw;
  }
}

}  // namespace davit::jobs
