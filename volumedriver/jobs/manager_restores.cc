// Restores of containers: what the command line starts, and what the last run left half made.
#include <utility>

#include "base/errors.h"
#include "base/log.h"
#include "jobs/manager.h"
#include "jobs/points.h"
#include "jobs/references.h"
#include "jobs/restore_container.h"
#include "jobs/restore_volume.h"
#include "jobs/undo_restore.h"
#include "jobs/watch.h"

namespace davit::jobs {

using namespace std::chrono_literals;
using volumes::State;

namespace {

constexpr auto kLook = 250ms;
constexpr std::chrono::seconds kFirstPause{2}, kLongestPause{300};

std::string job_key(const std::string& container) { return "restore of container " + container; }

// Shows what the other does as part of this one.
void wait_for(const Job& other, const std::string& what, Job& job) {
  while (!other.wait_until(std::chrono::steady_clock::now() + kLook, job.stop.get_token())) {
    if (job.stop.stop_requested()) throw base::Cancelled();
    job.set_phase(what);
    for (const auto counter : {&base::Progress::files_done, &base::Progress::bytes_done, &base::Progress::files_total,
                               &base::Progress::bytes_total})
      (job.progress.*counter) = (other.progress.*counter).load();
  }
}

}  // namespace

VolumeWork Manager::volume_work() {
  VolumeWork work;
  work.wait = [this](const std::string& name, Job& job) {
    for (;;) {
      const auto volume = context_.registry.find(name);
      if (!volume) throw base::NotFound("the volume " + name + " was removed while it was restored");
      if (volume->state == State::ready) return;
      if (volume->state == State::failed)
        throw base::Error("the restore of volume " + name + " failed: " + volume->error);
      if (const auto other = queue_.find(volume->uuid))
        wait_for(*other, "restoring volume " + name, job);
      else
        job.pause(kLook);  // its create is being answered
    }
  };
  work.replace = [this](const std::string& name, const std::string& snapshot,
                        const std::function<void(const std::string&)>& saved, Job& job) {
    job.set_phase("replacing volume " + name);
    const RestoreRequest request{.reference = snapshot, .target = name, .in_place = true, .options = {}};
    replace_volume(request, [&job, &name](const ProgressEvent& event) { job.set_phase("volume " + name + ": " + event.phase); },
                   job.stop.get_token(), saved);
  };
  work.cancel = [this](const std::string& uuid) { cancel(uuid); };
  work.remove = [this](const std::string& name, Job& job) {
    const volumes::Volume removed = context_.registry.remove(name, false);
    volume_was_removed(removed);
    context_.registry.sweep([&job] { return job.stop.stop_requested(); });
  };
  return work;
}

void Manager::wait_for_volumes(const RestoreContainerRequest& request, Job& job) {
  using Volumes = RestoreContainerRequest::Volumes;
  if (!request.as.empty() && request.volumes != Volumes::keep) return;  // it gets volumes of its own
  std::vector<std::string> names;
  {
    const auto hold = hold_for(job, RepositoryAccess::Use::read);
    names = volumes_used(find_snapshot(context_, *hold->repository(), request.reference, Subject::container));
  }
  for (const std::string& name : names) {
    const auto volume = context_.registry.find(name);
    if (!volume || volume->state != State::restoring) continue;
    try {
      volume_work().wait(name, job);
    } catch (const base::Cancelled&) {
      throw;
    } catch (const base::Error&) {  // it failed, or was removed: what follows looks at what there is
    }
  }
}

RestoreContainerOutcome Manager::restore_container(const RestoreContainerRequest& request, const Emit& emit,
                                                   std::stop_token stop) {
  const auto began = std::chrono::steady_clock::now();
  const std::string name = request.as.empty() ? parse_reference(request.reference, "", context_.zone(), Subject::container).volume
                                              : request.as;
  const auto outcome = std::make_shared<RestoreContainerOutcome>();
  const auto mine = std::make_shared<std::atomic<bool>>(false);
  while (!*mine) {
    const auto job = queue_.submit(
        request.dry_run ? "dry run of " + job_key(name) : job_key(name), "restore of the container", JobClass::container,
        [this, request, name, outcome, mine](Job& job) {
          *mine = true;
          bool undone = false;
          try {
            if (!request.dry_run) {
              undo_leftovers(name, job);
              wait_for_volumes(request, job);
            }
            *outcome = jobs::restore_container(context_, request, volume_work(), job, undone);
          } catch (...) {
            if (!undone && !job.stop.stop_requested()) job.when_finished([this] { start_undoing_restores(); });
            throw;
          }
        });
    try {
      watch(job, name, emit, stop);
    } catch (const base::Error&) {
      if (*mine) throw;  // else it was another restore of it, or the undoing of one: ours comes next
    }
  }
  outcome->seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  if (hooks_.replan) hooks_.replan();
  return *outcome;
}

void Manager::start_undoing_restores() {
  try {
    for (const RestoreEntry& entry : RestoreJournal(context_.data_directory).list())
      if (!entry.undone)
        queue_.submit(job_key(entry.container), "undoing the restore", JobClass::container,
                      [this, container = entry.container](Job& job) { undo_until_done(container, job); });
  } catch (const base::Error& error) {
    spdlog::error("half a restore of a container cannot be undone now: {}", error.what());
  }
}

// Until the engine answers: it may start after davit does, and a plugin before its engine.
void Manager::undo_until_done(const std::string& container, Job& job) {
  auto pause = kFirstPause;
  for (;;) {
    try {
      undo_leftovers(container, job);
      return;
    } catch (const base::IoError& error) {
      if (job.stop.stop_requested()) throw base::Cancelled();
      job.set_phase("undoing it waits for the engine");
      spdlog::warn("undoing half a restore of the container {} is tried again in {} s: {}", container, pause.count(),
                   error.what());
    } catch (const base::Error& error) {
      spdlog::error("half a restore of the container {} cannot be undone: {}; the next start tries again", container,
                    error.what());
      throw;
    }
    job.pause(std::exchange(pause, std::min(pause * 2, kLongestPause)));
  }
}

// The journal is read by the job that has the container: an entry that another one had a moment ago may be whole by now.
void Manager::undo_leftovers(const std::string& container, Job& job) {
  for (const RestoreEntry& entry : RestoreJournal(context_.data_directory).list())
    if (entry.container == container && !entry.undone) undo_container_restore(context_, entry, volume_work(), job);
}

void Manager::look_at_late_images() {
  try {
    remove_late_images(context_, stopping_.get_token());
  } catch (const base::Cancelled&) {
  } catch (const std::exception& error) {
    spdlog::debug("images of restores that were undone cannot be looked for: {}", error.what());
  }
}

}  // namespace davit::jobs
