// Which snapshots stay: restic's rules (restic format facts §13), with restic's names and reasons.
// Pure; any thread.
//
// Newest first, each of last, hourly, daily, weekly (ISO), monthly, yearly keeps a snapshot whose
// hour, day, … differs from the last one that it kept, until it has kept as many as it may; while
// it has some left the oldest snapshot is kept too (restic 0.16). keep-within keeps what is younger
// than that, counted back from the newest snapshot that is not in the future. Tags always keep.
// Hours and days are those of the snapshot's own zone.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/id.h"

namespace davit::upkeep {

// By the calendar: a month back from 31 March is 3 March, as in restic.
struct CalendarDuration {
  int years = 0, months = 0, days = 0, hours = 0;

  // "1y5m7d2h", each part at most once, in any order. Throws UsageError; `what` says what the text
  // was for.
  static CalendarDuration parse(std::string_view text, std::string_view what);
  std::string to_string() const;
  bool operator==(const CalendarDuration&) const = default;
};

struct Policy {
  static constexpr int kAll = -1;
  int last = 0, hourly = 0, daily = 0, weekly = 0, monthly = 0, yearly = 0;
  std::optional<CalendarDuration> within, within_hourly, within_daily, within_weekly,
      within_monthly, within_yearly;
  // Each entry keeps snapshots that have all of its tags (separated by commas).
  std::vector<std::string> tags;

  // Takes keep-last, keep-hourly, keep-daily, keep-weekly, keep-monthly, keep-yearly (a number, or
  // -1 or "unlimited"), keep-within, keep-within-hourly … keep-within-yearly and keep-tag (several
  // separated by blanks). Empty values count as not given, other keys are not looked at. Throws
  // UsageError for a bad value or an unknown key that begins with keep-.
  static Policy parse(const std::map<std::string, std::string>& options);
  // The keys that parse() knows.
  static const std::vector<std::string>& known_keys();

  // Nothing given: everything is kept.
  bool empty() const;
  // "keep-daily=7 keep-weekly=4"; "keep everything" when empty.
  std::string to_string() const;
  bool operator==(const Policy&) const = default;
};

struct Candidate {
  base::Id id;
  base::Time time;
  int offset_minutes = 0;  // of the zone in which the time was told, east of Greenwich
  std::vector<std::string> tags;
};

struct Decision {
  struct Kept {
    base::Id id;
    std::vector<std::string> reasons;  // "daily snapshot", "oldest weekly snapshot", …; never empty
  };
  // Newest first; together every candidate exactly once.
  std::vector<Kept> keep;
  std::vector<base::Id> remove;
  // The policy would have removed all of them, so nothing is removed.
  bool refused = false;
};

// The candidates are one group: the snapshots of one volume of one host.
Decision apply(std::span<const Candidate> candidates, const Policy& policy, base::Time now);

// The snapshots of a volume that was removed: for `keep_days` days after its removal all of them
// stay, as they were when it was removed (whoever removed it by mistake may want any of them);
// after that all go. 0 keeps them for ever. Where the moment of removal is not known, that of the
// newest snapshot counts: with final-backup it is the same. Never call this for a volume that
// exists, or that another host may have.
constexpr int kRemovedKeepDays = 90;
Decision apply_to_removed(std::span<const Candidate> candidates, int keep_days,
                          std::optional<base::Time> removed_at, base::Time now);

}  // namespace davit::upkeep
