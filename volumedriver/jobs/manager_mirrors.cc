// The mirrors of the repository: what brings them up to date, and what is told of them.
#include "base/errors.h"
#include "base/log.h"
#include "base/patience.h"
#include "jobs/manager.h"
#include "jobs/mirror_sync.h"
#include "jobs/watch.h"

namespace davit::jobs {

namespace {

// A mirror that is away is told soon; what waits for it is the next synchronisation.
constexpr std::chrono::seconds kPatience{30};

}  // namespace

// Also for settings that were written by hand.
std::vector<std::string> Manager::mirror_places() {
  if (!context_.settings.get("DAVIT_MIRRORS").empty() ||
      !context_.repository.mirror_book().places().empty()) {
    try {
      context_.repository.get();
    } catch (const base::Error& error) {
      spdlog::debug("mirrors are looked at later: {}", error.what());
    }
  }
  return context_.repository.mirror_book().places();
}

std::shared_ptr<Job> Manager::start_mirror_sync(const std::string& place, bool again) {
  const auto job = queue_.submit(kMirror + place, "mirror", JobClass::mirror,
                                 [this, place](Job& started) { run_mirror_sync(place, started); });
  // What it has listed may be older than the change that this is asked for.
  if (again && job->running())
    job->when_finished([this, place] {
      try {
        start_mirror_sync(place, false);
      } catch (const base::Error&) {  // davit is stopping
      }
    });
  return job;
}

void Manager::run_mirror_sync(const std::string& place, Job& job) {
  MirrorBook& book = context_.repository.mirror_book();
  const auto repository = context_.repository.get();
  const auto stores = context_.repository.find_mirrors(*repository);
  size_t number = 0;
  while (stores && number < stores->mirrors() && stores->mirror(number).store->describe() != place)
    ++number;
  if (!stores || number == stores->mirrors()) return;  // it was taken out of the settings
  job.set_phase("copying to " + place);
  const base::PatienceScope patience({kPatience, job.stop.get_token()});
  MirrorSyncOptions options;
  options.identity = context_.repository.identity();
  options.timing = context_.repository.lock_timing();
  options.is_ours = [this](const repo::LockInfo& info) {
    return context_.repository.is_ours(info);
  };
  options.clock = &context_.clock;
  options.progress = &job.progress;
  options.reserve = [this](uint64_t bytes) {
    return context_.upload.reserve(bytes, std::chrono::steady_clock::now());
  };
  options.reserve_download = [this](uint64_t bytes) {
    return context_.repository.reserve_download(bytes);
  };
  options.first = book.is_first(place);
  options.stop = job.stop.get_token();
  try {
    const auto result = sync_mirror(*repository, *stores, number, book, options);
    if (result.copied + result.removed > 0)
      spdlog::info("the mirror {} is in sync: {} files ({}) copied, {} removed", place,
                   result.copied, base::human_size(result.copied_bytes), result.removed);
    if (result.postponed.empty())
      mirror_watch_.succeeded(place);
    else
      mirror_watch_.failed(place);  // somebody is at work there: later
  } catch (const base::Cancelled&) {
    throw;
  } catch (const std::exception& error) {
    spdlog::warn("the mirror {} is not in sync: {}", place, error.what());
    book.note_failure(place, context_.clock.now(),
                      mirror_state(*stores->mirror(number).store, error), error.what());
    mirror_watch_.failed(place);
    throw;
  }
}

std::string Manager::mirror_state(store::Store& mirror, const std::exception& error) {
  if (dynamic_cast<const base::Locked*>(&error)) return "locked";
  if (dynamic_cast<const base::Conflict*>(&error)) return "refused";
  if (!dynamic_cast<const base::IoError*>(&error)) return "behind";
  // It may be the primary that is away.
  const base::PatienceScope quick({std::chrono::seconds(1), stopping_.get_token()});
  try {
    mirror.find_size({});
    return "behind";
  } catch (const std::exception&) {
    return "away";
  }
}

std::vector<MirrorStatus> Manager::mirrors() {
  mirror_places();
  return context_.repository.mirror_book().list();
}

std::vector<MirrorStatus> Manager::sync_mirrors(const Emit& emit, std::stop_token stop) {
  std::vector<std::shared_ptr<Job>> jobs;
  for (const auto& place : mirror_places()) {
    // One that runs may have begun before what this is asked for.
    if (const auto running = queue_.find(kMirror + place)) {
      try {
        watch(running, "", emit, stop);
      } catch (const base::Error&) {  // the next one tells
      }
    }
    jobs.push_back(start_mirror_sync(place, false));
  }
  for (const auto& job : jobs) {
    try {
      watch(job, "", emit, stop);
    } catch (const base::Error&) {  // its status tells
    }
  }
  return context_.repository.mirror_book().list();
}

void Manager::accept_mirror(const std::string& place) {
  mirror_places();
  context_.repository.mirror_book().accept(place);
  mirror_watch_.changed();
}

}  // namespace davit::jobs
