#include "restores.h"

#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/errors.h"
#include "jobs/watch.h"

namespace davit::daemon {

std::optional<driver::Background::Source> Restores::resolve(const std::string& reference, const std::string& volume,
                                                            const driver::Budget& budget) {
  // A store can take longer than the engine waits. The call must be answered by then, so the work goes on by itself;
  // what it finds stays in memory, and the next try is quick.
  struct Pending {
    std::mutex mutex;
    std::condition_variable_any done;
    bool finished = false;
    std::optional<jobs::Resolved> found;
    std::exception_ptr failure;
  };
  auto pending = std::make_shared<Pending>();
  manager_.run_aside([this, pending, reference, volume] {
    std::optional<jobs::Resolved> found;
    std::exception_ptr failure;
    try {
      found = manager_.resolve(reference, volume);
    } catch (...) {
      failure = std::current_exception();
    }
    std::lock_guard lock(pending->mutex);
    pending->found = std::move(found);
    pending->failure = failure;
    pending->finished = true;
    pending->done.notify_all();
  });
  std::unique_lock lock(pending->mutex);
  if (!pending->done.wait_until(lock, budget.stop, budget.deadline, [&] { return pending->finished; })) {
    if (budget.stop.stop_requested()) throw base::Cancelled();
    throw base::IoError("the repository did not answer in time, so '" + reference + "' could not be looked up: try again",
                        0, true);
  }
  if (pending->failure) std::rethrow_exception(pending->failure);
  if (!pending->found) return std::nullopt;
  return Source{pending->found->snapshot, pending->found->path, pending->found->saved_options,
                pending->found->waits_for};
}

std::optional<driver::Background::Progress> Restores::wait_restore(const std::string& uuid,
                                                                   const driver::Budget& budget) {
  const auto job = manager_.find_job(uuid);
  if (!job || job->what != "restore" || job->wait_until(budget.deadline, budget.stop)) return std::nullopt;
  if (budget.stop.stop_requested()) throw base::Cancelled();
  const jobs::ProgressEvent event = jobs::progress_of(*job, "");
  return Progress{event.phase == "restoring" ? "" : event.phase, event.fraction, event.seconds_left};
}

}  // namespace davit::daemon
