#include "upkeep/retention.h"

#include <algorithm>
#include <array>

#include "base/errors.h"

namespace davit::upkeep {

using namespace std::chrono;
using base::Time;

namespace {

// What the clock on the snapshot's wall showed, as days and hours.
struct Wall {
  year_month_day date;
  int hour;
  local_days day;
};

Wall wall_of(const Candidate& candidate) {
  const local_time<nanoseconds> local(
      (candidate.time + minutes(candidate.offset_minutes)).time_since_epoch());
  const auto day = floor<days>(local);
  return {year_month_day(day), static_cast<int>(floor<hours>(local - day).count()), day};
}

int64_t month_bucket(const Wall& wall) {
  return int64_t{int(wall.date.year())} * 100 + unsigned(wall.date.month());
}
int64_t day_bucket(const Wall& wall) {
  return month_bucket(wall) * 100 + unsigned(wall.date.day());
}

// ISO 8601: the week belongs to the year that has its Thursday.
int64_t week_bucket(const Wall& wall) {
  const local_days thursday = wall.day + (days(3) - (weekday(wall.day) - Monday));
  const year y = year_month_day(thursday).year();
  return int64_t{int(y)} * 100 + (thursday - local_days(y / January / 1)).count() / 7 + 1;
}

using Bucket = int64_t (*)(const Wall&, size_t position);
struct Period {
  const char* name;
  int Policy::*count;
  std::optional<CalendarDuration> Policy::*within;  // null for last
  Bucket bucket;
};
const std::array<Period, 6> kPeriods{{
    {"last", &Policy::last, nullptr,
     [](const Wall&, size_t position) { return static_cast<int64_t>(position); }},
    {"hourly", &Policy::hourly, &Policy::within_hourly,
     [](const Wall& wall, size_t) { return day_bucket(wall) * 100 + wall.hour; }},
    {"daily", &Policy::daily, &Policy::within_daily,
     [](const Wall& wall, size_t) { return day_bucket(wall); }},
    {"weekly", &Policy::weekly, &Policy::within_weekly,
     [](const Wall& wall, size_t) { return week_bucket(wall); }},
    {"monthly", &Policy::monthly, &Policy::within_monthly,
     [](const Wall& wall, size_t) { return month_bucket(wall); }},
    {"yearly", &Policy::yearly, &Policy::within_yearly,
     [](const Wall& wall, size_t) { return int64_t{int(wall.date.year())}; }},
}};

// One keep rule at work on a group, newest first.
struct Rule {
  Bucket bucket;
  std::string reason;
  int left = Policy::kAll;    // how many it may still keep
  std::optional<Time> after;  // and only these
  std::optional<int64_t> kept_last{};

  std::optional<std::string> keeps(const Candidate& candidate, const Wall& wall, size_t position,
                                   bool oldest) {
    if (left == 0 || (after && candidate.time <= *after)) return std::nullopt;
    const int64_t value = bucket(wall, position);
    const bool same = kept_last == value;
    if (same && !oldest) return std::nullopt;
    kept_last = value;
    if (left > 0) --left;
    return same ? "oldest " + reason : reason;
  }
};

// `back` before the time, by the calendar of its zone.
Time before(const Candidate& from, const CalendarDuration& back) {
  const Wall wall = wall_of(from);
  const Time local = from.time + minutes(from.offset_minutes);
  const auto of_day = local.time_since_epoch() - wall.day.time_since_epoch();
  const year_month month =
      wall.date.year() / wall.date.month() - months(back.months) - years(back.years);
  if (int(month.year()) < 1700)
    return Time(sys_days(year(1700) / January / 1));  // before any snapshot
  // 31 February is 3 March, as in restic: the days are counted on from the first.
  const auto day =
      sys_days(month / 1) + (days(unsigned(wall.date.day())) - days(1)) - days(back.days);
  const auto limit = sys_days(year(1700) / January / 1);
  const Time midnight = std::max(day, limit);
  return midnight + of_day - hours(back.hours) - minutes(from.offset_minutes);
}

// Nothing where all are in the future: then every age is young enough.
const Candidate* find_latest(const std::vector<const Candidate*>& newest_first, Time now) {
  const auto found =
      std::find_if(newest_first.begin(), newest_first.end(),
                   [&](const Candidate* candidate) { return candidate->time < now; });
  return found == newest_first.end() ? nullptr : *found;
}

// Whether it has all tags of a list with commas.
bool has_tags(const Candidate& candidate, std::string_view list) {
  for (;;) {
    const size_t comma = list.find(',');
    if (std::find(candidate.tags.begin(), candidate.tags.end(), list.substr(0, comma)) ==
        candidate.tags.end())
      return false;
    if (comma == list.npos) return true;
    list.remove_prefix(comma + 1);
  }
}

std::vector<const Candidate*> newest_first(std::span<const Candidate> candidates) {
  std::vector<const Candidate*> sorted;
  for (const Candidate& candidate : candidates) sorted.push_back(&candidate);
  std::sort(sorted.begin(), sorted.end(), [](const Candidate* a, const Candidate* b) {
    return a->time != b->time ? a->time > b->time : a->id < b->id;
  });
  return sorted;
}

Decision keep_all(const std::vector<const Candidate*>& sorted, const std::string& reason) {
  Decision decision;
  for (const Candidate* candidate : sorted) decision.keep.push_back({candidate->id, {reason}});
  return decision;
}

}  // namespace

Decision apply(std::span<const Candidate> candidates, const Policy& policy, Time now) {
  const auto sorted = newest_first(candidates);
  if (policy.empty()) return keep_all(sorted, "policy is empty");

  const Candidate* latest = find_latest(sorted, now);
  std::vector<Rule> rules;
  for (const Period& period : kPeriods) {
    const int count = policy.*period.count;
    if (count == 0) continue;
    rules.push_back({period.bucket, std::string(period.name) + " snapshot", count, {}});
  }
  const auto since = [&](const CalendarDuration& age) {
    return latest ? before(*latest, age) : Time::min();
  };
  for (const Period& period : kPeriods)
    if (period.within && policy.*period.within) {
      const CalendarDuration& age = *(policy.*period.within);
      rules.push_back({period.bucket, std::string(period.name) + " within " + age.to_string(),
                       Policy::kAll, since(age)});
    }

  Decision decision;
  for (size_t i = 0; i < sorted.size(); ++i) {
    const Candidate& candidate = *sorted[i];
    const Wall wall = wall_of(candidate);
    std::vector<std::string> reasons;
    for (const std::string& list : policy.tags)
      if (has_tags(candidate, list)) reasons.push_back("has tags [" + list + "]");
    if (policy.within && candidate.time > since(*policy.within))
      reasons.push_back("within " + policy.within->to_string());
    for (Rule& rule : rules)
      if (auto reason = rule.keeps(candidate, wall, i, i + 1 == sorted.size()))
        reasons.push_back(std::move(*reason));
    if (reasons.empty())
      decision.remove.push_back(candidate.id);
    else
      decision.keep.push_back({candidate.id, std::move(reasons)});
  }
  if (decision.keep.empty() && !sorted.empty()) {
    decision = keep_all(sorted, "the policy would remove every snapshot, which is refused");
    decision.refused = true;
  }
  return decision;
}

Decision apply_to_removed(std::span<const Candidate> candidates, int keep_days,
                          std::optional<Time> removed_at, Time now) {
  const auto sorted = newest_first(candidates);
  if (keep_days <= 0) return keep_all(sorted, "of a removed volume, kept for ever");
  if (sorted.empty()) return {};
  const std::string limit = std::to_string(keep_days) + " days";
  // The later of the two: what was saved after the removal (a last backup) is not older than
  // itself.
  const Time since = std::max(removed_at.value_or(Time::min()), sorted.front()->time);
  if (now - since < days(keep_days))
    return keep_all(sorted, "of a removed volume, kept for " + limit);
  Decision decision;
  for (const Candidate* candidate : sorted) decision.remove.push_back(candidate->id);
  return decision;
}

}  // namespace davit::upkeep
