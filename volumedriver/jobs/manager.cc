#include "jobs/manager.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/fault.h"
#include "base/files.h"
#include "base/log.h"
#include "jobs/forget.h"
#include "jobs/ping.h"
#include "jobs/references.h"
#include "jobs/watch.h"
#include "volumes/name.h"

namespace davit::jobs {

using namespace std::chrono_literals;
using volumes::State;
using volumes::Volume;

namespace {

// Restores run for somebody who waits; a few at once keep the disk busy without starving each other.
constexpr unsigned kRestoresAtOnce = 4;
constexpr const char* kPruneKey = "prune";
constexpr const char* kLastBackup = "last backup";

}  // namespace

Manager::Manager(Context& context, Hooks hooks)
    : context_(context), hooks_(std::move(hooks)),
      queue_([this](JobClass job_class) {
        switch (job_class) {
          case JobClass::backup: return static_cast<unsigned>(context_.settings.number("DAVIT_JOBS"));
          case JobClass::restore: return kRestoresAtOnce;
          case JobClass::upkeep: break;
        }
        return 1u;
      }),
      last_backups_([this](const std::string& uuid) { start_last_backup(uuid); }) {}

Manager::~Manager() { stop(); }

void Manager::stop() {
  last_backups_.stop();
  queue_.stop();
}

void Manager::start() {
  try {
    context_.repository.get();
    context_.repository.remove_own_stale_locks();
  } catch (const base::Error& error) {
    spdlog::error("the repository cannot be used: {}", error.what());
  }
  for (const auto& volume : context_.registry.list())
    if (volume.state == State::restoring) {
      spdlog::info("going on with the restore of volume {}", volume.name);
      start_restore(volume.uuid);
    }
  for (const auto& volume : context_.registry.list_removed()) start_last_backup(volume.uuid);
}

// ------------------------------------------------------------------------------------------- volume driver

std::optional<Resolved> Manager::resolve(const std::string& reference, const std::string& volume) {
  return resolve_reference(context_, reference, volume);
}

std::shared_ptr<Job> Manager::start_restore(const std::string& uuid, std::shared_ptr<restore::Result> result) {
  return queue_.submit(uuid, "restore", JobClass::restore, [this, uuid, result](Job& job) {
    auto restored = restore_volume(context_, uuid, job, [this, &job](const std::string& other, std::stop_token stop) {
      while (context_.registry.find_uuid(other)) {
        if (stop.stop_requested()) throw base::Cancelled();
        start_last_backup(other);
        if (const auto backup = queue_.find(other)) {
          backup->wait_until(std::chrono::steady_clock::now() + 500ms);
        } else if (const auto failure = last_backups_.failure(other)) {
          job.set_phase("waiting for the last backup, which failed: " + *failure);
          last_backups_.wait(500ms);
        }
      }
    });
    if (result) *result = std::move(restored);
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
  const auto job = queue_.submit(uuid, kLastBackup, JobClass::backup, [this, uuid](Job& job) {
    const auto volume = context_.registry.find_uuid(uuid);
    if (!volume || volume->state != State::removed) return;
    try {
      const auto outcome = backup_volume(
          context_, {.volume_uuid = uuid, .tags = {kTagFinal}, .as_of = volume->removed_at, .apply_retention = false}, job);
      if (outcome.outcome == Outcome::partial)
        throw base::IoError("the last backup of " + volume->name + " is partial: " + outcome.error, 0);
    } catch (const base::Cancelled&) {
      throw;
    } catch (const std::exception& error) {
      spdlog::error("the last backup of the removed volume {} failed, its data is kept in {}: {}", volume->name,
                    context_.registry.directory(*volume), error.what());
      last_backups_.failed(uuid, error.what());
      throw;
    }
    base::fault_point("final:saved");
    job.set_phase("deleting");
    context_.registry.drop(uuid, [&job] { return job.stop.stop_requested(); });
    last_backups_.succeeded(uuid);
    spdlog::info("the removed volume {} is saved and gone", volume->name);
  });
  if (job->what == kLastBackup) return;
  // The volume was removed while it was being saved (what that saves may be older than the removal): this comes next.
  job->when_finished([this, uuid] {
    try {
      start_last_backup(uuid);
    } catch (const base::Conflict&) {  // davit is stopping; the next start goes on
    }
  });
}

void Manager::volume_was_made(const std::string& name) {
  note_made(context_, name);
  if (hooks_.replan) hooks_.replan();
}

void Manager::volume_was_removed(const Volume& volume) {
  note_removed(context_, volume.name, context_.clock.now());
  if (hooks_.replan) hooks_.replan();
}

void Manager::run_aside(std::function<void()> work) {
  std::lock_guard lock(aside_mutex_);
  std::erase_if(aside_, [](Aside& each) { return each.done->load(); });
  auto done = std::make_shared<std::atomic<bool>>(false);
  aside_.push_back({std::jthread([work = std::move(work), done] {
                      work();
                      done->store(true);
                    }),
                    done});
}

// ------------------------------------------------------------------------------------------------- planner

void Manager::ping(const Volume* volume, PingEvent event, const std::string& text) {
  pinger_.send({context_.settings.get("DAVIT_PING_URL"), "this installation", event, text});
  if (volume == nullptr) return;
  if (const auto own = volume->options.find("ping-url"); own != volume->options.end())
    pinger_.send({own->second, "volume " + volume->name, event, text});
}

std::pair<std::shared_ptr<Job>, std::shared_ptr<BackupOutcome>> Manager::submit_backup(const Volume& volume,
                                                                                     BackupRequest request, bool first) {
  auto outcome = std::make_shared<BackupOutcome>();
  const auto work = [this, request = std::move(request), outcome, volume](Job& job) {
    ping(&volume, PingEvent::start, "");
    try {
      *outcome = backup_volume(context_, request, job);
    } catch (const base::Cancelled&) {
      ping(&volume, PingEvent::failure, "the backup of volume " + volume.name + " was interrupted");
      throw;
    } catch (const std::exception& error) {
      spdlog::error("the backup of volume {} failed: {}", volume.name, error.what());
      ping(&volume, PingEvent::failure, "the backup of volume " + volume.name + " failed: " + error.what());
      throw;
    }
    if (outcome->outcome == Outcome::partial)
      ping(&volume, PingEvent::failure, "the backup of volume " + volume.name + " is partial: " + outcome->error);
    else
      ping(&volume, PingEvent::success, "saved volume " + volume.name + " as " + outcome->snapshot.substr(0, 8));
  };
  std::lock_guard lock(outcomes_mutex_);
  auto job = queue_.submit(volume.uuid, "backup", JobClass::backup, work, first);
  if (job->what != "backup")
    throw base::Conflict("a " + job->what + " of the volume " + volume.name + " is under way: davit wait " + volume.name);
  BackupJob& slot = outcomes_[volume.uuid];
  if (slot.job.lock() != job) slot = {job, outcome};
  return {job, slot.outcome};
}

void Manager::start_scheduled_backup(const std::string& uuid, std::function<void(bool)> done) {
  const auto volume = context_.registry.find_uuid(uuid);
  if (!volume || volume->state != State::ready) {
    done(false);
    return;
  }
  try {
    const auto [job, outcome] = submit_backup(*volume, {.volume_uuid = uuid}, false);
    job->when_finished([watched = std::weak_ptr<Job>(job), done = std::move(done)] {
      const auto ended = watched.lock();
      done(ended && !ended->failure());
    });
  } catch (const base::Conflict& error) {
    spdlog::warn("a scheduled backup has to wait for its next time: {}", error.what());
    done(false);
  }
}

void Manager::start_scheduled_prune(std::function<void(bool)> done) {
  auto job = queue_.submit(kPruneKey, "prune", JobClass::upkeep, [this](Job& job) { run_prune(job, nullptr); });
  job->when_finished([watched = std::weak_ptr<Job>(job), done = std::move(done)] {
    const auto ended = watched.lock();
    done(ended && !ended->failure());
  });
}

void Manager::run_daily_retention() {
  try {
    forget_removed_volumes(context_, false);
  } catch (const std::exception& error) {
    spdlog::error("retention of removed volumes failed: {}", error.what());
  }
}

// --------------------------------------------------------------------------------------- prune and check

void Manager::run_prune(Job& job, upkeep::PrunePlan* report) {
  LastPrune last = last_prune();
  last.attempted = context_.clock.now();
  const auto on_wait = [&](const std::string& why) { job.set_phase(why); };
  try {
    auto hold = context_.repository.hold_shared(job.stop.get_token(), on_wait);
    const auto repository = context_.repository.get();
    upkeep::PruneOptions options;
    options.progress = &job.progress;
    options.stop = job.stop.get_token();
    job.set_phase("finding what is used");
    repository->refresh_index();
    upkeep::PrunePlan plan = upkeep::plan_prune(*repository, options);
    if (report) *report = plan;
    if (!plan.empty()) {
      job.set_phase("pruning");
      upkeep::execute_prune(*repository, plan, options, [&](const std::function<void()>& second_phase) {
        hold.reset();
        context_.repository.with_exclusive(job.stop.get_token(), second_phase, on_wait);
      });
    }
    spdlog::info("pruned the repository: {} freed, {} of {} packs rewritten", base::human_size(plan.bytes_freed),
                 plan.packs_repacked, plan.packs_total);
    last.succeeded = last.attempted;
    last.error.clear();
    save_last_prune(last);
  } catch (const base::Cancelled&) {
    throw;
  } catch (const std::exception& error) {
    last.error = error.what();
    save_last_prune(last);
    spdlog::error("pruning failed: {}", error.what());
    ping(nullptr, PingEvent::failure, std::string("pruning failed: ") + error.what());
    throw;
  }
}

Manager::LastPrune Manager::last_prune() const {
  LastPrune last;
  const auto bytes = base::find_file(context_.data_directory + "/state/prune.json");
  if (!bytes) return last;
  const auto json = nlohmann::json::parse(base::as_text(*bytes), nullptr, false);
  if (!json.is_object()) return last;
  const auto time = [&](const char* key) -> std::optional<base::Time> {
    if (!json.contains(key) || !json[key].is_string()) return std::nullopt;
    return base::parse_rfc3339(json[key].get<std::string>());
  };
  last.attempted = time("attempted");
  last.succeeded = time("succeeded");
  if (json.contains("error") && json["error"].is_string()) last.error = json["error"].get<std::string>();
  return last;
}

void Manager::save_last_prune(const LastPrune& last) {
  nlohmann::json json = {{"error", last.error}};
  if (last.attempted) json["attempted"] = base::format_utc(*last.attempted);
  if (last.succeeded) json["succeeded"] = base::format_utc(*last.succeeded);
  base::make_directories(context_.data_directory + "/state");
  base::write_file_atomic(context_.data_directory + "/state/prune.json", base::as_bytes(json.dump() + "\n"));
}

upkeep::PrunePlan Manager::prune(bool dry_run, const Emit& emit, std::stop_token stop) {
  auto plan = std::make_shared<upkeep::PrunePlan>();
  const auto work = [this, plan, dry_run](Job& job) {
    if (!dry_run) {
      run_prune(job, plan.get());
      return;
    }
    const auto hold = context_.repository.hold_shared(job.stop.get_token(),
                                                      [&](const std::string& why) { job.set_phase(why); });
    const auto repository = context_.repository.get();
    repository->refresh_index();
    job.set_phase("finding what is used");
    *plan = upkeep::plan_prune(*repository, {.progress = &job.progress, .stop = job.stop.get_token()});
  };
  watch(queue_.submit(dry_run ? "prune dry run" : kPruneKey, "prune", JobClass::upkeep, work), "", emit, stop);
  return *plan;
}

upkeep::CheckReport Manager::check(bool read_data, const Emit& emit, std::stop_token stop) {
  auto report = std::make_shared<upkeep::CheckReport>();
  auto job = queue_.submit("check", "check", JobClass::upkeep, [this, report, read_data](Job& job) {
    const auto hold = context_.repository.hold_shared(job.stop.get_token(),
                                                      [&](const std::string& why) { job.set_phase(why); });
    const auto repository = context_.repository.get();
    job.set_phase("checking");
    *report = upkeep::check(*repository, {.read_data = read_data, .progress = &job.progress,
                                          .stop = job.stop.get_token()});
    if (!report->ok()) spdlog::error("check found {} errors, the first: {}", report->errors.size(), report->errors[0]);
  });
  watch(job, "", emit, stop);
  return *report;
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

std::vector<BackupOutcome> Manager::backup(const std::vector<std::string>& names, const Emit& emit,
                                           std::stop_token stop) {
  std::vector<Volume> chosen;
  if (names.empty()) {
    for (const auto& volume : context_.registry.list())
      if (volume.state == State::ready) chosen.push_back(volume);
  } else {
    for (const auto& name : names) chosen.push_back(get_volume(name));
  }
  struct Started {
    Volume volume;
    std::shared_ptr<Job> job;
    std::shared_ptr<BackupOutcome> outcome;
  };
  std::vector<Started> started;
  for (const auto& volume : chosen) {
    if (volume.state != State::ready)
      throw base::Conflict("the volume " + volume.name + " is " + volumes::state_name(volume.state) +
                           ": there is nothing whole to save");
    auto [job, outcome] = submit_backup(volume, {.volume_uuid = volume.uuid}, true);
    started.push_back({volume, std::move(job), std::move(outcome)});
  }
  std::vector<BackupOutcome> outcomes;
  for (auto& each : started) {
    BackupOutcome outcome;
    try {
      watch(each.job, each.volume.name, emit, stop);
      outcome = *each.outcome;
    } catch (const base::Cancelled&) {
      if (stop.stop_requested()) throw;
      outcome.outcome = Outcome::failed;
      outcome.error = "interrupted";
    } catch (const base::Error& error) {
      if (started.size() == 1) throw;  // its kind decides the exit code
      outcome.outcome = Outcome::failed;
      outcome.error = error.what();
    }
    outcome.volume = each.volume.name;
    outcomes.push_back(std::move(outcome));
  }
  return outcomes;
}

RestoreOutcome Manager::restore(const RestoreRequest& request, const Emit& emit, std::stop_token stop) {
  RestoreOutcome outcome;
  outcome.volume = request.target;
  const auto began = std::chrono::steady_clock::now();
  auto result = std::make_shared<restore::Result>();
  if (!request.in_place) {
    volumes::validate_name(request.target);
    auto resolved = resolve(request.reference, request.target);
    if (!resolved) throw base::NotFound("there is no snapshot of " + request.target);
    hooks_.validate_options(request.options, request.target);
    const volumes::OptionMap options = hooks_.merge_options(resolved->saved_options, request.options, request.target);
    const Volume volume = context_.registry.create(request.target, State::restoring, options, [&](Volume& record) {
      record.source_snapshot = resolved->snapshot;
      record.source_path = resolved->path;
      record.waits_for = resolved->waits_for;
    });
    volume_was_made(request.target);
    watch(start_restore(volume.uuid, result), request.target, emit, stop);
    const auto restored = context_.registry.find_uuid(volume.uuid);
    outcome.snapshot = restored ? restored->source_snapshot : resolved->snapshot;
  } else {
    const Volume volume = get_volume(request.target);
    if (volume.state != State::ready)
      throw base::Conflict("the volume " + volume.name + " is " + volumes::state_name(volume.state));
    if (!request.options.empty())
      throw base::UsageError("options go with a new volume; change those of an existing one with "
                             "davit config set --volume " + volume.name);
    const repo::Snapshot snapshot = find_snapshot(context_, request.reference);
    if (volume_of(snapshot).empty()) throw base::UsageError("the snapshot is not one of a volume");
    refuse_if_in_use(volume);
    // What is there now can be had back.
    if (const auto running = queue_.find(volume.uuid)) watch(running, volume.name, emit, stop);
    const auto [backup_job, safety] = submit_backup(
        volume, {.volume_uuid = volume.uuid, .tags = {kTagSafety}, .as_of = {}, .apply_retention = false}, true);
    watch(backup_job, volume.name, emit, stop);
    outcome.safety_snapshot = safety->snapshot;
    auto job = queue_.submit(
        volume.uuid, "restore", JobClass::restore,
        [this, volume, snapshot, result](Job& job) {
          refuse_if_in_use(volume);
          *result = restore_in_place(context_, volume, snapshot, job);
        },
        true);
    if (job->what != "restore") throw base::Conflict("another job runs on " + volume.name + ": try again");
    watch(job, volume.name, emit, stop);
    outcome.snapshot = snapshot.id.hex();
  }
  outcome.files = result->files;
  outcome.bytes = result->bytes;
  outcome.problems = result->problems;
  outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  return outcome;
}

void Manager::refuse_if_in_use(const Volume& volume) const {
  if (context_.engine == nullptr)
    throw base::Conflict("no engine can be asked who uses " + volume.name +
                         ": set DOCKER_HOST, or restore into a new volume");
  std::string users;
  for (const auto& container : context_.engine->containers_using(volume.name))
    if (container.is_running()) users += (users.empty() ? "" : ", ") + container.name;
  if (!users.empty())
    throw base::Conflict("the volume " + volume.name + " is in use by " + users +
                         ": stop it first, or restore into a new volume (--as NEW)");
}

void Manager::wait(const std::string& name, const Emit& emit, std::stop_token stop) {
  // A volume that was just removed is waited for until its last backup is stored.
  std::optional<Volume> volume = context_.registry.find(name);
  if (!volume)
    for (const auto& removed : context_.registry.list_removed())
      if (removed.name == name) volume = removed;
  if (!volume) volume = get_volume(name);  // throws, naming what there is
  if (const auto job = queue_.find(volume->uuid)) watch(job, name, emit, stop);
  const auto now = context_.registry.find_uuid(volume->uuid);
  if (now && now->state == State::failed)
    throw base::Error("the restore of " + name + " failed: " + now->error);
}

}  // namespace davit::jobs
