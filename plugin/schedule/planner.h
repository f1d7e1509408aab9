// Which runs begin now, and when to look again. No clock, no thread, no I/O of its own: the daemon
// asks with the time, starts what due() hands out, and says when a run has ended.
//
//   A run that came due while the daemon was down, or while the volume was busy, is made up for
//   once, never more often. Runs of one entry never overlap. At most `jobs` backups at once (and
//   one maintenance run), those that have waited longest first. A failed run waits for its next
//   time; after a restart it is made up for, though not before kRetryPause has passed since it
//   began (a run that ends the process must not do so all the time). A clock that is set back
//   neither repeats a run nor stalls an entry until it has caught up. Entries may come, change and
//   go while they run.
//
// Not thread-safe: keep it in a Synchronized.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "schedule/cron.h"

namespace davit::schedule {

enum class Work : uint8_t {
  backup,           // of a volume
  container,        // its commit; counts as a backup
  prune,            // of the repository
  scrub,            // its daily part
  removed_volumes,  // retention of volumes that are gone
};
inline constexpr const char* kDefaultPruneSchedule = "@weekly-random";
inline constexpr const char* kDefaultScrubSchedule = "@daily-random";
inline constexpr const char* kDefaultRemovedVolumesSchedule = "@daily-random";
inline constexpr int kDefaultJobs = 2;  // DAVIT_JOBS

struct Entry {
  std::string name;  // of the volume, the container or the maintenance; the key together with `work`
  Work work = Work::backup;
  Schedule schedule;
  std::chrono::nanoseconds jitter{0};  // runs begin up to this much later: spread()
  // When the entry came to be (the volume's creation): nothing before it was missed.
  Time since{};
  // Of the last run, scheduled or not, as it was noted durably.
  std::optional<Time> last_attempt, last_success;
};

struct Limits {
  int jobs = kDefaultJobs;  // backups at once
  int maintenance = 1;
};

class Planner {
 public:
  using Key = std::pair<Work, std::string>;
  struct Due {
    std::string name;
    Work work;
    Time due;  // when it should have begun; `now - due` is how late it is
  };

  explicit Planner(Limits limits = {}) : limits_(limits) {}

  void set_limits(Limits limits) { limits_ = limits; }
  // Adds an entry or changes its schedule and jitter. A changed schedule counts from now: it has
  // missed nothing. What the entry says of runs is believed only when it is new; afterwards the
  // planner knows better.
  void put(const Entry& entry, Time now);
  // Forgets it; a run of it that is under way still counts until finished().
  void remove(Work work, const std::string& name);
  // put() for all of these, remove() for all others.
  void set_all(const std::vector<Entry>& entries, Time now);

  // What begins now, in that order; each counts as running from here on, until finished().
  std::vector<Due> due(Time now);
  // A run that nobody planned (a person's, a last backup) begins. False where one is under way
  // already: it must not begin. It is never held back by the limits, but counts for them.
  bool begin(Work work, const std::string& name, Time now);
  void finished(Work work, const std::string& name);

  // When to call due() next, unless something changes (put, finished, limits) before: the next due
  // time of an entry that could begin then, at most kLongestSleep ahead so that a clock that was
  // set is noticed. Later than `now`.
  Time next_wake(Time now);
  static constexpr std::chrono::seconds kLongestSleep{60};
  static constexpr std::chrono::minutes kRetryPause{5};

  // When the entry's next run is due, for people; in the past where it waits for its turn. Nothing:
  // never, or unknown.
  std::optional<Time> next_run(Work work, const std::string& name, Time now);
  bool is_running(Work work, const std::string& name) const;
  size_t running(bool maintenance) const;

 private:
  struct Item {
    Entry entry;
    bool listed = true;  // false: removed while running
    bool running = false;
    Time base{};                 // runs due after this are still to come
    std::optional<Time> anchor;  // the last run's begin, for @every
    Time not_before{};
  };
  std::optional<Time> due_time(Item& item, Time now);
  bool has_room(Work work) const;

  Limits limits_;
  std::map<Key, Item> items_;
};

}  // namespace davit::schedule
