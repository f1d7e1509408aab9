// Backups and commits: which go together as one point, the jobs that make its pieces, and who waits for them.
#include <algorithm>

#include "base/errors.h"
#include "base/log.h"
#include "jobs/manager.h"
#include "jobs/watch.h"

namespace davit::jobs {

using namespace std::chrono_literals;
using volumes::State;
using volumes::Volume;

namespace {

constexpr const char* kContainerKey = "container:";

std::shared_ptr<Piece> volume_piece(const PointMark& mark, const Volume& volume) {
  return std::make_shared<Piece>(volume.uuid, mark, volume.uuid, "", "");
}
std::shared_ptr<Piece> container_piece(const PointMark& mark, const std::string& id, const std::string& name) {
  return std::make_shared<Piece>(kContainerKey + name, mark, "", name, id);
}

bool is_never(const std::string& schedule) {
  return schedule.empty() || schedule == "off" || schedule == "none" || schedule == "never";
}

}  // namespace

// --------------------------------------------------------------------------------------------------- plans

PlannedPoint Manager::plan_point(const Volume* volume, const engine::Container* container, By by) {
  PlannedPoint point;
  point.mark = make_point(context_.clock.now());
  PointPlan plan;
  if (volume) plan.volumes = {volume->name};
  if (container) plan.containers = {{container->id, container->name}};
  std::map<std::string, Volume> eligible;
  for (const auto& each : context_.registry.list()) {
    const bool is_seed = volume && each.uuid == volume->uuid;
    const bool refused = by == By::schedule && is_never(context_.schedule(each.options));
    if (each.state == State::ready && (is_seed || !refused)) eligible[each.name] = each;
  }
  try {
    const auto mode = commit_mode();
    if (mode != CommitMode::none || container) {
      std::set<std::string> names;
      for (const auto& [name, each] : eligible) names.insert(name);
      const auto all = list_containers();
      PointPlan found = volume ? plan_around_volume(volume->name, all, names, mode)
                               : plan_around_container(container->id, all, names, mode);
      if (volume || !found.containers.empty()) plan = std::move(found);
    }
  } catch (const base::Error& error) {
    point.problem = std::string("the containers that belong to it are not saved with it: ") + error.what();
    spdlog::warn("{} {}: {}", volume ? "volume" : "container", volume ? volume->name : container->name, point.problem);
  }
  // The job that plans must find its own, whatever became of its volume meanwhile.
  if (volume) point.pieces.push_back(volume_piece(point.mark, *volume));
  if (container) point.pieces.push_back(container_piece(point.mark, container->id, container->name));
  for (const auto& name : plan.volumes)
    if (const auto found = eligible.find(name); found != eligible.end() && (!volume || found->second.uuid != volume->uuid))
      point.pieces.push_back(volume_piece(point.mark, found->second));
  for (const auto& each : plan.containers)
    if (!container || each.name != container->name)
      point.pieces.push_back(container_piece(point.mark, each.id, each.name));
  return point;
}

PointBook::Begun Manager::begin_piece(const std::string& key, Run& run, const std::function<PlannedPoint()>& plan) {
  auto begun = points_.begin(key, plan);
  run.point = begun.point;
  for (const auto& other : begun.others) submit_piece(other);
  return begun;
}

void Manager::finish_piece(const Job& job, const std::shared_ptr<Piece>& piece, const BackupOutcome& outcome) {
  if (piece == nullptr) return;
  queue_.find(job.key)->when_finished([piece, outcome] { piece->finish(outcome); });
}

void Manager::fail_piece(const Job& job, const std::shared_ptr<Piece>& piece, std::exception_ptr failure) {
  if (piece == nullptr) return;
  queue_.find(job.key)->when_finished([piece, failure] { piece->fail(failure); });
}

// ---------------------------------------------------------------------------------------------------- jobs

Manager::Submitted Manager::join(const std::string& key, const std::string& what, bool first, std::shared_ptr<Run> run,
                                 std::function<void(Job&)> work) {
  std::lock_guard lock(runs_mutex_);
  std::erase_if(runs_, [](const auto& each) { return each.second.job.expired(); });
  auto job = queue_.submit(key, what, JobClass::backup, std::move(work), first);
  if (job->what != what) return {job, nullptr};
  RunningJob& slot = runs_[key];
  if (slot.job.lock() != job) slot = {job, std::move(run)};
  return {job, slot.run};
}

Manager::Submitted Manager::submit_backup(const Volume& volume, BackupRequest request, By by, bool first) {
  const auto run = std::make_shared<Run>();
  auto submitted = join(volume.uuid, kBackup, first, run, [this, request = std::move(request), run, volume, by](Job& job) {
    std::shared_ptr<Piece> piece;
    ping(&volume, PingEvent::start, "");
    try {
      BackupRequest mine = request;
      if (!mine.point) {
        piece = begin_piece(volume.uuid, *run, [&] { return plan_point(&volume, nullptr, by); }).piece;
        mine.point = piece->point;
      }
      run->outcome = backup_volume(context_, mine, job);
      if (run->point && !run->point->problem.empty()) run->outcome.problems.push_back(run->point->problem);
    } catch (const base::Cancelled&) {
      fail_piece(job, piece, std::current_exception());
      ping(&volume, PingEvent::failure, "the backup of volume " + volume.name + " was interrupted");
      throw;
    } catch (const std::exception& error) {
      fail_piece(job, piece, std::current_exception());
      spdlog::error("the backup of volume {} failed: {}", volume.name, error.what());
      ping(&volume, PingEvent::failure, "the backup of volume " + volume.name + " failed: " + error.what());
      throw;
    }
    finish_piece(job, piece, run->outcome);
    ping_outcome(&volume, run->outcome);
  });
  if (!submitted.run)
    throw base::Conflict("a " + submitted.job->what + " of the volume " + volume.name + " is under way: davit wait " +
                         volume.name);
  return submitted;
}

Manager::Submitted Manager::submit_commit(const std::string& id, const std::string& name, By by, bool first) {
  const auto run = std::make_shared<Run>();
  engine::Container container;
  container.id = id;
  container.name = name;
  return join(kContainerKey + name, kCommit, first, run, [this, run, container, by](Job& job) {
    ping(nullptr, PingEvent::start, "");
    try {
      run_commit(container, by, *run, job);
    } catch (const base::Cancelled&) {
      ping(nullptr, PingEvent::failure, "the backup of container " + container.name + " was interrupted");
      throw;
    } catch (const std::exception& error) {
      spdlog::error("the backup of container {} failed: {}", container.name, error.what());
      ping(nullptr, PingEvent::failure, "the backup of container " + container.name + " failed: " + error.what());
      throw;
    }
    ping_outcome(nullptr, run->outcome);
  });
}

void Manager::after(const std::string& key, std::function<void()> again) {
  const auto busy = queue_.find(key);
  busy ? busy->when_finished(std::move(again)) : again();
}

void Manager::submit_piece(const std::shared_ptr<Piece>& piece) {
  try {
    if (stopping_.stop_requested()) throw base::Cancelled();
    std::shared_ptr<Job> job;
    if (piece->volume.empty()) {
      job = submit_commit(piece->container_id, piece->container, By::schedule, true).job;
    } else {
      const auto volume = context_.registry.find_uuid(piece->volume);
      if (!volume) throw base::NotFound("the volume was removed before it was saved");
      try {
        job = submit_backup(*volume, {.volume_uuid = volume->uuid}, By::schedule, true).job;
      } catch (const base::Conflict&) {
        job = queue_.find(piece->volume);  // a restore, or its last backup
        if (job == nullptr) return submit_piece(piece);
      }
    }
    // One that was running already has begun before this point: it is saved again.
    job->when_finished([this, piece] {
      if (points_.is_waiting(piece)) submit_piece(piece);
    });
  } catch (...) {
    if (points_.withdraw(piece)) piece->fail(std::current_exception());
  }
}

void Manager::when_done(const std::shared_ptr<Job>& job, std::function<void(bool)> done) {
  job->when_finished([watched = std::weak_ptr<Job>(job), done = std::move(done)] {
    const auto ended = watched.lock();
    done(ended && !ended->failure());
  });
}

void Manager::start_scheduled_backup(const std::string& uuid, std::function<void(bool)> done,
                                     std::optional<base::Time> due) {
  const auto volume = context_.registry.find_uuid(uuid);
  if (!volume || volume->state != State::ready) return done(false);
  if (due && volume->last_backup.succeeded >= due) return done(true);  // with a point that another volume began
  try {
    return when_done(submit_backup(*volume, {.volume_uuid = uuid}, By::schedule, false).job, done);
  } catch (const base::Conflict& error) {
    spdlog::info("the scheduled backup of volume {} has to wait: {}", volume->name, error.what());
  }
  if (stopping_.stop_requested()) return done(false);
  after(uuid, [this, uuid, done, due] {
    try {
      start_scheduled_backup(uuid, done, due);
    } catch (const base::Error& error) {
      spdlog::error("a scheduled backup cannot begin: {}", error.what());
      done(false);
    }
  });
}

void Manager::start_scheduled_commit(const std::string& name, std::function<void(bool)> done,
                                     std::optional<base::Time> due) {
  const auto known = containers_.find(name);
  if (!known || !known->now) return done(false);
  if (due && known->last.succeeded >= due) return done(true);
  when_done(submit_commit(known->now->id, name, By::schedule, false).job, std::move(done));
}

// ----------------------------------------------------------------------------------------------- by a person

BackupOutcome Manager::wait_for_piece(const Piece& piece, const Emit& emit, std::stop_token stop) {
  std::string name = piece.container;
  if (const auto volume = context_.registry.find_uuid(piece.volume)) name = volume->name;
  while (!piece.wait_until(std::chrono::steady_clock::now() + 250ms)) {
    if (stop.stop_requested()) throw base::Cancelled();
    if (const auto job = queue_.find(piece.job_key); job && emit) emit(progress_of(*job, name));
  }
  BackupOutcome outcome;
  try {
    outcome = piece.outcome();
  } catch (...) {
    outcome.outcome = Outcome::failed;
    outcome.error = base::current_message();
    outcome.point = piece.point.id;
  }
  if (outcome.volume.empty() && outcome.container.empty()) (piece.container.empty() ? outcome.volume : outcome.container) = name;
  return outcome;
}

std::vector<BackupOutcome> Manager::backup(const std::vector<std::string>& volume_names,
                                           const std::vector<std::string>& container_names, const Emit& emit,
                                           std::stop_token stop) {
  struct Started {
    std::string volume, container, key;
    Submitted submitted;
    std::exception_ptr refused;
  };
  std::vector<Started> started;
  const auto start = [&](Started one, const std::function<Submitted()>& submit) {
    try {
      one.submitted = submit();
    } catch (const base::Error&) {  // the others are saved all the same
      one.refused = std::current_exception();
    }
    started.push_back(std::move(one));
  };
  // What cannot be named rightly is told before anything begins.
  const bool all = volume_names.empty() && container_names.empty();
  std::vector<Volume> volumes;
  for (const auto& name : volume_names) volumes.push_back(get_volume(name));
  if (all)
    for (const auto& volume : context_.registry.list())
      if (volume.state == State::ready) volumes.push_back(volume);
  std::vector<engine::Container> containers;
  if (!container_names.empty() || (all && commit_mode() != CommitMode::none)) {
    try {
      const auto listed = list_containers();
      if (all)
        std::copy_if(listed.begin(), listed.end(), std::back_inserter(containers),
                     [&](const auto& each) { return is_committed(each, commit_mode()); });
      for (const auto& name : container_names) {
        const auto found = std::find_if(listed.begin(), listed.end(), [&](const auto& each) { return each.name == name; });
        if (found == listed.end()) {
          std::string known;
          for (const auto& each : listed) known += (known.empty() ? "" : ", ") + each.name;
          throw base::NotFound("there is no container " + name +
                               (known.empty() ? "; there is none yet" : "; there are: " + known));
        }
        containers.push_back(*found);
      }
    } catch (const base::IoError&) {
      if (!all || volumes.empty()) throw;  // the volumes tell it
    }
  }
  auto no_plans = points_.hold_plans();  // until all are there to be joined
  for (const auto& volume : volumes)
    start({volume.name, "", volume.uuid, {}, nullptr}, [&] {
      if (volume.state != State::ready)
        throw base::Conflict("the volume " + volume.name + " is " + volumes::state_name(volume.state) +
                             ": there is nothing whole to save");
      return submit_backup(volume, {.volume_uuid = volume.uuid}, By::person, true);
    });
  for (const auto& container : containers)
    start({"", container.name, kContainerKey + container.name, {}, nullptr},
          [&] { return submit_commit(container.id, container.name, By::person, true); });
  no_plans.unlock();

  std::vector<BackupOutcome> outcomes;
  std::set<std::pair<std::string, std::string>> told;  // key of the job, point
  std::vector<std::shared_ptr<PlannedPoint>> points;
  for (auto& each : started) {
    BackupOutcome outcome;
    try {
      if (each.refused) std::rethrow_exception(each.refused);
      watch(each.submitted.job, each.volume + each.container, emit, stop);
      outcome = each.submitted.run->outcome;
    } catch (const base::Cancelled&) {
      if (stop.stop_requested()) throw;
      outcome.outcome = Outcome::failed;
      outcome.error = "interrupted";
    } catch (const base::Error& error) {
      if (started.size() == 1) throw;  // its kind decides the exit code
      outcome.outcome = Outcome::failed;
      outcome.error = error.what();
    }
    outcome.volume = each.volume;
    if (outcome.container.empty()) outcome.container = each.container;
    if (each.submitted.run && each.submitted.run->point) {
      points.push_back(each.submitted.run->point);
      outcome.point = points.back()->mark.id;
    }
    told.emplace(each.key, outcome.point);
    outcomes.push_back(std::move(outcome));
  }
  // What belongs to the same points.
  for (const auto& point : points)
    for (const auto& piece : point->pieces)
      if (told.emplace(piece->job_key, piece->point.id).second) outcomes.push_back(wait_for_piece(*piece, emit, stop));
  return outcomes;
}

}  // namespace davit::jobs
