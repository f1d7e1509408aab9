#include "jobs/watch.h"

#include "base/errors.h"

namespace davit::jobs {

using namespace std::chrono_literals;

const char* outcome_name(Outcome outcome) {
  switch (outcome) {
    case Outcome::ok: return "ok";
    case Outcome::partial: return "partial";
    case Outcome::failed: return "failed";
  }
  return "failed";
}

ProgressEvent progress_of(const Job& job, const std::string& volume) {
  ProgressEvent event;
  event.volume = volume;
  event.phase = job.phase();
  event.files_done = job.progress.files_done;
  event.bytes_done = job.progress.bytes_done;
  event.files_total = job.progress.files_total;
  event.bytes_total = job.progress.bytes_total;
  event.errors = job.progress.errors;
  if (event.bytes_total > 0) {
    const double fraction =
        std::min(1.0, static_cast<double>(event.bytes_done) / static_cast<double>(event.bytes_total));
    event.fraction = fraction;
    const double seconds = job.seconds();
    if (fraction > 0.005 && seconds > 0.5)
      event.seconds_left = static_cast<int64_t>(seconds / fraction * (1 - fraction)) + 1;
  }
  return event;
}

void watch(const std::shared_ptr<Job>& job, const std::string& volume, const Emit& emit, std::stop_token stop) {
  while (!job->wait_until(std::chrono::steady_clock::now() + 250ms)) {
    if (stop.stop_requested()) throw base::Cancelled();
    if (emit) emit(progress_of(*job, volume));
  }
  if (const auto failure = job->failure()) std::rethrow_exception(failure);
}

}  // namespace davit::jobs
