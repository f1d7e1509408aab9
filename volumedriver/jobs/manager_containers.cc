// Containers: what the engine says of them, their commits, their retention, their status.
#include <algorithm>

#include "base/errors.h"
#include "base/log.h"
#include "jobs/commit_container.h"
#include "jobs/forget.h"
#include "jobs/forget_containers.h"
#include "jobs/manager.h"
#include "jobs/watch.h"

namespace davit::jobs {

using volumes::LastBackup;
using volumes::State;

// ------------------------------------------------------------------------------------------------ the engine

std::vector<engine::Container> Manager::list_containers() {
  if (context_.engine == nullptr) throw base::IoError("no engine can be asked: set DOCKER_HOST", 0);
  try {
    auto containers = context_.engine->list_containers();
    engine_error_.lock()->clear();
    if (containers_.update(containers, commit_mode()) && hooks_.replan) hooks_.replan();
    return containers;
  } catch (const base::Error& error) {
    *engine_error_.lock() = error.what();
    throw;
  }
}

void Manager::look_at_containers() {
  const std::string before = *engine_error_.lock();
  try {
    if (commit_mode() != CommitMode::none) list_containers();
  } catch (const std::exception& error) {
    if (before != error.what()) spdlog::warn("containers cannot be looked at: {}", error.what());
  }
}

ContainerWishes Manager::wishes_of(const engine::Container& container) const {
  return read_labels(container.labels, container.name, [&](const auto& options, const std::string& name) {
    if (hooks_.validate_options) hooks_.validate_options(options, name);
  });
}

std::set<std::string> Manager::volume_names() const {
  std::set<std::string> names;
  for (const auto& volume : context_.registry.list())
    if (volume.state == State::ready) names.insert(volume.name);
  return names;
}

std::vector<Manager::ScheduledContainer> Manager::scheduled_containers() {
  std::vector<ScheduledContainer> scheduled;
  if (commit_mode() == CommitMode::none) return scheduled;
  const auto volumes = volume_names();
  for (const auto& known : containers_.list())
    if (known.now && volumes_of(*known.now, volumes).empty())
      scheduled.push_back({known.name, context_.schedule(wishes_of(*known.now).options), known.since,
                           known.last.attempted, known.last.succeeded});
  return scheduled;
}

// ---------------------------------------------------------------------------------------------------- commit

void Manager::run_commit(const engine::Container& container, By by, Run& run, Job& job) {
  const base::Time attempted = context_.clock.now();
  // A full disk must not hide what the run came to.
  const auto note = [&](const std::string& name, const std::function<void(LastBackup&)>& change) {
    try {
      containers_.note(name, change);
    } catch (const base::IoError& error) {
      spdlog::error("how the backup of container {} went cannot be noted: {}", name, error.what());
    }
  };
  // Before anything else, so that a run that ends the process is not made up for again and again at once.
  note(container.name, [&](LastBackup& last) { last.attempted = attempted; });
  std::shared_ptr<Piece> piece;
  try {
    piece = begin_piece(job.key, run, [&] { return plan_point(nullptr, &container, by); }).piece;
    CommitJobRequest request{piece->container_id, piece->container, piece->point, {}};
    request.after = [this](const RepositoryAccess::Hold& hold, BackupOutcome& outcome) {
      try {
        const auto known = containers_.find(outcome.container);
        if (known) forget_group(hold, decide_known_container(*hold.repository(), *known, std::nullopt));
      } catch (const base::Error& error) {
        outcome.error = std::string("retention failed: ") + error.what();
        spdlog::warn("container {}: {}", outcome.container, outcome.error);
        outcome.problems.push_back(outcome.error);
      }
    };
    run.outcome = commit_container(context_, commits_, request, job);
  } catch (...) {
    const std::string why = base::current_message();
    note(container.name, [&](LastBackup& last) { last.error = why; });
    fail_piece(job, piece, std::current_exception());
    throw;
  }
  if (!run.point->problem.empty()) run.outcome.problems.push_back(run.point->problem);
  note(run.outcome.container, [&](LastBackup& last) {
    last.attempted = attempted;
    last.succeeded = piece->point.time;
    last.snapshot = run.outcome.snapshot;
    last.consistency = run.outcome.consistency;
    last.files = run.outcome.summary.total_files_processed;
    last.bytes = run.outcome.summary.total_bytes_processed;
    last.error = run.outcome.error;
  });
  finish_piece(job, piece, run.outcome);
}

// ------------------------------------------------------------------------------------------ retention, status

ForgetGroup Manager::decide_known_container(const repo::Repository& repository, const KnownContainer& container,
                                            const std::optional<upkeep::Policy>& policy) {
  const auto is_open = [this](const std::string& point) { return is_point_open(point); };
  if (container.gone && !policy)
    return decide_gone_container(context_, repository, container.name, *container.gone, is_open);
  const auto options = container.now ? wishes_of(*container.now).options : volumes::OptionMap{};
  return decide_container(context_, repository, container.name, policy.value_or(context_.policy(options)), is_open);
}

std::vector<ContainerStatus> Manager::container_statuses(const std::vector<SnapshotInfo>& all) {
  std::vector<ContainerStatus> statuses;
  const auto volumes = volume_names();
  const std::string host = context_.host();
  const bool is_off = commit_mode() == CommitMode::none;
  const auto damage = find_damage();
  for (const auto& known : containers_.list()) {
    ContainerStatus status;
    status.name = known.name;
    status.last = known.last;
    status.snapshots = static_cast<size_t>(std::count_if(all.begin(), all.end(), [&](const auto& info) {
      return info.container == known.name && info.snapshot.hostname == host;
    }));
    if (!known.gone) status.state = "not committed";
    if (known.now && !is_off) {
      const auto wishes = wishes_of(*known.now);
      status.id = known.now->id;
      status.image = known.now->image;
      status.state = known.now->state;
      status.problem = wishes.problem;
      status.volumes = volumes_of(*known.now, volumes);
      if (status.volumes.empty()) {
        status.schedule = context_.schedule(wishes.options);
        status.retention = context_.policy(wishes.options).to_string();
        if (hooks_.next_commit) status.next = hooks_.next_commit(known.name);
      }
      for (const auto& name : status.volumes)
        if (const auto volume = context_.registry.find(name); volume && hooks_.next_backup)
          if (const auto next = hooks_.next_backup(*volume); next && (!status.next || *next < *status.next))
            status.next = next;
    } else if (status.snapshots == 0) {
      continue;  // nothing of it is here any more
    }
    if (damage)
      for (const auto& info : all)
        if (info.container == known.name && info.snapshot.hostname == host && damage->affects_snapshot(info.id))
          status.damaged.push_back(info.id.hex());
    if (const auto job = queue_.find("container:" + known.name)) {
      status.running = progress_of(*job, known.name);
      if (status.running->phase.empty()) status.running->phase = job->what;
    }
    statuses.push_back(std::move(status));
  }
  return statuses;
}

}  // namespace davit::jobs
