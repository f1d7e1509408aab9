// What lets a run look at what changed alone (setting DAVIT_TRACKING): which scan cache of a volume
// belongs to which moment of the kernel's telling, and all the reasons not to trust that. Whatever
// is in doubt, everything is looked at, which is always right; the volume's note says why. Once a
// day everything is looked at in any case, and where something turns up that was not told, tracking
// ends until davit starts again.
//
// Kept in memory: after a start everything is looked at once. Any thread may call anything; runs of
// one volume follow one another.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "archive/archiver.h"
#include "base/clock.h"
#include "capture/change_tracker.h"
#include "capture/open_writers.h"
#include "jobs/settings.h"
#include "repo/repository.h"

namespace davit::jobs {

class Tracking {
 public:
  // Everything is looked at when the last time is longer ago.
  static constexpr std::chrono::hours kLongest{24};

  // One run of a volume, from before it looks at anything until its scan cache is in place.
  class Run {
   public:
    // What archive_tree is to do; `options` borrows from this.
    void apply(archive::Options& options) const;

   private:
    friend class Tracking;
    std::string volume;                                // UUID
    uint64_t tracker = 0;                              // whose mark it is
    std::optional<capture::ChangeTracker::Mark> mark;  // nothing: not tracked
    std::optional<capture::ChangedSet> changed;
    bool verifies = false;
    bool is_doubtful = false;  // somebody may have written unseen
    std::string why;           // everything is looked at
  };

  // `directory` is the volume's, open; its last scan cache at `scan_cache_path`. What fails here or
  // in finish() fails no backup: it is a reason to look at everything.
  Run begin(const Settings& settings, const base::Clock& clock, const repo::Repository& repository,
            const std::string& volume, int directory, const std::string& scan_cache_path);
  // Once the scan cache that the run made is in place.
  void finish(const Run& run, const base::Clock& clock, const repo::Repository& repository,
              int directory, const std::string& scan_cache_path, const archive::Result& result);

  // How the last run of the volume went about it; "": tracking is off.
  std::string note(const std::string& volume) const;

  // Processes that are not looked at for what they have open: see capture/open_writers.h. For
  // tests.
  void take_as_harmless(std::set<int> processes) { harmless_ = std::move(processes); }

 private:
  struct Baseline {
    capture::ChangeTracker::Mark mark = 0;
    base::Id cache;                     // its run
    std::vector<base::Id> index_files;  // of the repository, sorted
    base::Time looked_at_all{};
    bool is_doubtful = false;
    bool holds_overlays = false;
    bool holds_subvolumes = false;
  };
  // "" or why it cannot be. With the mutex held, as all below.
  std::string start();
  void stop();
  void prepare(Run& run, const base::Clock& clock, const repo::Repository& repository,
               int directory, const std::string& scan_cache_path);
  void keep(const Run& run, const base::Clock& clock, const repo::Repository& repository,
            int directory, const std::string& scan_cache_path, const archive::Result& result);
  // "" or why what is known of the last run is worth nothing.
  std::string doubt(const Baseline& baseline, const repo::Repository& repository, int directory,
                    const std::string& scan_cache_path) const;
  capture::OpenWriters open_writers(int directory) const;
  // Those of the run's that did not change while it looked.
  std::vector<archive::MissedChange> missed(const Run& run, int directory,
                                            const archive::Result& result);

  std::mutex mutex_;
  std::unique_ptr<capture::ChangeTracker> tracker_;
  uint64_t trackers_ = 0;  // that there were: the marks of one are nothing to the next
  std::map<std::string, Baseline> baselines_;
  std::string ended_;               // not "": something was missed
  mutable std::mutex notes_mutex_;  // a run may take its time to begin, and the status does not
  std::map<std::string, std::string> notes_;
  std::set<int> harmless_;
};

}  // namespace davit::jobs
