#include "scheduler.h"

#include "base/errors.h"
#include "base/log.h"
#include "jobs/manager.h"

namespace davit::daemon {

using schedule::Entry;
using schedule::Schedule;
using schedule::Work;

namespace {

constexpr const char* kPrune = "prune";
constexpr const char* kScrub = "scrub";
constexpr const char* kRemovedVolumes = "removed volumes";
constexpr std::chrono::seconds kRetry{30};

}  // namespace

Scheduler::Scheduler(jobs::Context& context) : context_(context) {}

Scheduler::~Scheduler() { stop(); }

void Scheduler::start(jobs::Manager& manager) {
  manager_ = &manager;
  thread_ = std::thread([this] { run(); });
}

void Scheduler::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Scheduler::replan() {
  {
    std::lock_guard lock(mutex_);
    dirty_ = true;
  }
  changed_.notify_all();
}

std::vector<Entry> Scheduler::entries() {
  std::vector<Entry> entries;
  const base::Zone zone = context_.zone();
  const auto add = [&](const std::string& name, Work work, const std::string& schedule) -> Entry* {
    Entry entry;
    entry.name = name;
    entry.work = work;
    try {
      entry.schedule = Schedule::parse(schedule, zone, name);
    } catch (const base::UsageError& error) {  // was good when it was set; zone data may have gone since
      spdlog::error("the schedule of {} cannot be followed: {}", name, error.what());
      return nullptr;
    }
    entries.push_back(std::move(entry));
    return &entries.back();
  };
  const auto jitter = context_.settings.duration("DAVIT_JITTER");
  for (const auto& volume : context_.registry.list()) {
    if (volume.state != volumes::State::ready) continue;
    Entry* entry = add(volume.name, Work::backup, context_.schedule(volume.options));
    if (!entry) continue;
    entry->jitter = jitter;
    entry->since = volume.created;
    entry->last_attempt = volume.last_backup.attempted;
    entry->last_success = volume.last_backup.succeeded;
  }
  for (const auto& container : manager_->scheduled_containers()) {
    Entry* entry = add(container.name, Work::container, container.schedule);
    if (!entry) continue;
    entry->jitter = jitter;
    entry->since = container.since;
    entry->last_attempt = container.last_attempt;
    entry->last_success = container.last_success;
  }
  const auto add_upkeep = [&](const char* name, Work work, const std::string& schedule, const jobs::UpkeepRun& last) {
    if (Entry* entry = add(name, work, schedule)) {
      entry->since = last.since.value_or(context_.clock.now());
      entry->last_attempt = last.attempted;
      entry->last_success = last.succeeded;
    }
  };
  add_upkeep(kPrune, Work::prune, context_.settings.get("DAVIT_PRUNE_SCHEDULE"), manager_->last_prune());
  if (manager_->scrub_period().count() > 0)
    add_upkeep(kScrub, Work::scrub, schedule::kDefaultScrubSchedule, manager_->last_scrub());
  add_upkeep(kRemovedVolumes, Work::removed_volumes, schedule::kDefaultRemovedVolumesSchedule,
             manager_->last_removed_retention());
  return entries;
}

void Scheduler::run() {
  while (true) {
    try {
      if (!step()) return;
    } catch (const std::exception& error) {
      // A planner that ends saves nothing any more.
      spdlog::error("the schedules cannot be followed now: {}", error.what());
      std::unique_lock lock(mutex_);
      if (changed_.wait_for(lock, kRetry, [&] { return stopping_; })) return;
      dirty_ = true;
    }
  }
}

// Starts what is due, else sleeps until there is more; false at the end.
bool Scheduler::step() {
  try {
    context_.settings.reload();
  } catch (const base::Error& error) {
    spdlog::error("the settings file is not followed: {}", error.what());
  }
  std::unique_lock lock(mutex_);
  if (stopping_) return false;
  if (dirty_) {
    dirty_ = false;
    lock.unlock();
    const auto all = entries();
    lock.lock();
    planner_.set_limits({.jobs = static_cast<int>(context_.settings.number("DAVIT_JOBS")), .maintenance = 1});
    planner_.set_all(all, context_.clock.now());
  }
  const auto due = planner_.due(context_.clock.now());
  if (!due.empty()) {
    lock.unlock();
    for (const auto& one : due) start_one(one);
    return true;
  }
  const auto now = context_.clock.now();
  const auto wake = planner_.next_wake(now);
  changed_.wait_for(lock, std::max<std::chrono::nanoseconds>(wake - now, std::chrono::milliseconds(10)),
                    [&] { return dirty_ || stopping_; });
  // Settings written by hand are noticed at the latest here.
  dirty_ = true;
  return true;
}

void Scheduler::start_one(const schedule::Planner::Due& due) {
  const auto done = [this, work = due.work, name = due.name](bool) { finished(work, name); };
  try {
    switch (due.work) {
      case Work::backup: {
        const auto volume = context_.registry.find(due.name);
        if (!volume) return done(false);
        manager_->start_scheduled_backup(volume->uuid, done, due.due);
        break;
      }
      case Work::container: manager_->start_scheduled_commit(due.name, done, due.due); break;
      case Work::prune: manager_->start_scheduled_prune(done); break;
      case Work::scrub: manager_->start_scheduled_scrub(done); break;
      case Work::removed_volumes: manager_->start_removed_retention(done); break;
    }
  } catch (const std::exception& error) {
    spdlog::error("{} cannot be started: {}", due.name, error.what());
    done(false);
  }
}

void Scheduler::finished(Work work, const std::string& name) {
  {
    std::lock_guard lock(mutex_);
    planner_.finished(work, name);
    dirty_ = true;
  }
  changed_.notify_all();
}

std::optional<base::Time> Scheduler::next_backup(const std::string& volume) {
  std::lock_guard lock(mutex_);
  return planner_.next_run(Work::backup, volume, context_.clock.now());
}

std::optional<base::Time> Scheduler::next_commit(const std::string& container) {
  std::lock_guard lock(mutex_);
  return planner_.next_run(Work::container, container, context_.clock.now());
}

std::optional<base::Time> Scheduler::next_prune() {
  std::lock_guard lock(mutex_);
  return planner_.next_run(Work::prune, kPrune, context_.clock.now());
}

std::optional<base::Time> Scheduler::next_scrub() {
  std::lock_guard lock(mutex_);
  return planner_.next_run(Work::scrub, kScrub, context_.clock.now());
}

}  // namespace davit::daemon
