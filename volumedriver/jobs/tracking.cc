#include "jobs/tracking.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <climits>

#include "base/errors.h"
#include "base/log.h"
#include "capture/mount_table.h"
#include "repo/scan_cache.h"

namespace davit::jobs {

namespace {

// Some 20 MB.
constexpr size_t kMostHandles = 1 << 19;

// Zero where there is none.
base::Id cache_run(const std::string& path, const repo::Repository& repository) {
  const auto reader = repo::ScanCacheReader::open(path, repository.id());
  return reader ? reader->run() : base::Id{};
}

std::vector<base::Id> index_files(const repo::Repository& repository) {
  auto files = repository.index().files();
  std::sort(files.begin(), files.end());
  return files;
}

uint64_t device_of(int directory) {
  struct stat status;
  if (::fstat(directory, &status) != 0) base::throw_errno("cannot stat the volume", errno);
  return status.st_dev;
}

// What is mounted in it hides what the last run saw there, without a change that could be told.
bool has_mounts(int directory) {
  char path[PATH_MAX];
  const std::string link = "/proc/self/fd/" + std::to_string(directory);
  const ssize_t size = ::readlink(link.c_str(), path, sizeof path);
  if (size <= 0 || size == sizeof path) return true;
  const std::string inside = std::string(path, static_cast<size_t>(size)) + "/";
  const auto mounts = capture::read_mounts(::getpid());
  return mounts.empty() || std::any_of(mounts.begin(), mounts.end(), [&](const auto& mount) {
           return mount.path.starts_with(inside);
         });
}

}  // namespace

void Tracking::Run::apply(archive::Options& options) const {
  options.keeps_handles = mark.has_value();
  options.changed = changed ? &*changed : nullptr;
  options.verifies_changed = verifies;
}

std::string Tracking::start() {
  if (!ended_.empty()) return ended_;
  if (tracker_) return "";
  try {
    capture::ChangeTracker::Options options;
    options.most_handles = kMostHandles;
    tracker_ = std::make_unique<capture::ChangeTracker>(options);
    ++trackers_;
    return "";
  } catch (const base::Error& error) {
    return error.what();
  }
}

void Tracking::stop() {
  tracker_.reset();
  baselines_.clear();
}

Tracking::Run Tracking::begin(const Settings& settings, const base::Clock& clock,
                              const repo::Repository& repository, const std::string& volume,
                              int directory, const std::string& scan_cache_path) {
  Run run;
  run.volume = volume;
  std::lock_guard lock(mutex_);
  if (settings.get("DAVIT_TRACKING") != "auto") {
    stop();
    const std::lock_guard notes(notes_mutex_);
    notes_.clear();
    return run;
  }
  run.why = start();
  if (!run.why.empty()) return run;
  run.tracker = trackers_;
  try {
    prepare(run, clock, repository, directory, scan_cache_path);
  } catch (const base::Error& error) {
    run.mark.reset();
    run.changed.reset();
    run.why = error.what();
  }
  return run;
}

void Tracking::prepare(Run& run, const base::Clock& clock, const repo::Repository& repository,
                       int directory, const std::string& scan_cache_path) {
  const auto known = baselines_.find(run.volume);
  std::optional<capture::ChangeTracker::Mark> since;
  if (known != baselines_.end()) since = known->second.mark;
  // First the writers, then the events: whoever ends in between is among the events.
  const capture::OpenWriters writers = open_writers(directory);
  auto taken = tracker_->take(directory, since, writers.files);
  run.mark = taken.mark;
  run.why = taken.why;
  run.is_doubtful = !writers.doubt.empty();
  if (run.is_doubtful) run.why = writers.doubt;
  if (run.why.empty()) run.why = doubt(known->second, repository, directory, scan_cache_path);
  if (!run.why.empty()) return;
  run.changed = std::move(taken.changed);
  for (const uint64_t handle : writers.overlaid) run.changed->add_below(handle);
  const auto age = clock.now() - known->second.looked_at_all;
  run.verifies = age >= kLongest || age < age.zero();
  if (run.verifies) run.why = "it is done once a day";
}

std::string Tracking::doubt(const Baseline& baseline, const repo::Repository& repository,
                            int directory, const std::string& scan_cache_path) const {
  if (baseline.is_doubtful) return "somebody may have written unseen during the last backup";
  if (baseline.holds_overlays) return "it holds what an overlay writes to";
  if (baseline.holds_subvolumes) return "it holds another btrfs subvolume";
  if (baseline.cache != cache_run(scan_cache_path, repository))
    return "the last backup's scan cache is gone";
  const auto now = index_files(repository);
  if (!std::includes(now.begin(), now.end(), baseline.index_files.begin(),
                     baseline.index_files.end()))
    return "the repository was pruned";
  if (has_mounts(directory)) return "something is mounted in it";
  return "";
}

capture::OpenWriters Tracking::open_writers(int directory) const {
  if (capture::ChangeTracker::sees_all_writers(directory)) return {};
  return capture::find_open_writers(device_of(directory), harmless_);
}

std::vector<archive::MissedChange> Tracking::missed(const Run& run, int directory,
                                                    const archive::Result& result) {
  auto missed = result.missed;
  if (missed.empty()) return missed;
  const capture::OpenWriters writers = open_writers(directory);
  const auto later = tracker_->take(directory, run.mark, writers.files);
  if (!later.changed || !writers.doubt.empty()) return {};
  std::erase_if(missed, [&](const auto& one) {
    return later.changed->contains(one.directory) || later.changed->contains(one.entry);
  });
  return missed;
}

void Tracking::finish(const Run& run, const base::Clock& clock, const repo::Repository& repository,
                      int directory, const std::string& scan_cache_path,
                      const archive::Result& result) {
  std::lock_guard lock(mutex_);
  if (run.volume.empty() || (!run.mark && run.why.empty())) return;
  {
    const std::lock_guard notes(notes_mutex_);
    notes_[run.volume] = run.why.empty() ? "followed what changed: looked at " +
                                               std::to_string(result.looked_at) + " entries"
                                         : "looked at everything: " + run.why;
  }
  try {
    // Not possible, or switched off meanwhile, and perhaps on again: the new one saw less.
    if (run.mark && tracker_ && run.tracker == trackers_)
      return keep(run, clock, repository, directory, scan_cache_path, result);
  } catch (const base::Error& error) {
    spdlog::warn("tracking: the next run looks at everything: {}", error.what());
  }
  baselines_.erase(run.volume);
}

void Tracking::keep(const Run& run, const base::Clock& clock, const repo::Repository& repository,
                    int directory, const std::string& scan_cache_path,
                    const archive::Result& result) {
  if (const auto missing = missed(run, directory, result); !missing.empty()) {
    ended_ =
        "a change was missed (" + missing[0].path + "): tracking is off until davit starts again";
    spdlog::error("tracking: {}", ended_);
    return stop();
  }
  const auto known = baselines_.find(run.volume);
  Baseline baseline;
  baseline.mark = *run.mark;
  baseline.cache = cache_run(scan_cache_path, repository);
  baseline.index_files = index_files(repository);
  baseline.is_doubtful = run.is_doubtful;
  baseline.looked_at_all = clock.now();
  if (known != baselines_.end()) {
    if (run.why.empty()) baseline.looked_at_all = known->second.looked_at_all;
    baseline.holds_overlays = known->second.holds_overlays;
  }
  if (result.holds_overlays) baseline.holds_overlays = true;
  baseline.holds_subvolumes = result.holds_subvolumes;
  baselines_[run.volume] = std::move(baseline);
  // Removed, or saved so rarely that everything is looked at anyway.
  std::erase_if(baselines_, [&](const auto& one) {
    return clock.now() - one.second.looked_at_all > 2 * kLongest;
  });
  if (baselines_.empty()) return;
  auto oldest = baselines_.begin()->second.mark;
  for (const auto& [volume, one] : baselines_) oldest = std::min(oldest, one.mark);
  tracker_->forget_until(oldest);
}

std::string Tracking::note(const std::string& volume) const {
  const std::lock_guard lock(notes_mutex_);
  const auto found = notes_.find(volume);
  return found == notes_.end() ? "" : found->second;
}

}  // namespace davit::jobs
