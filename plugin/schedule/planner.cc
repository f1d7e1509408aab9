#include "schedule/planner.h"

#include <algorithm>

namespace davit::schedule {

using namespace std::chrono;

namespace {

// How far ahead of the clock a noted run may lie before the clock is believed to have been set back
// for good. Below it the entry waits (so that a correction by seconds does not repeat a run), above
// it counts from now.
constexpr minutes kClockTolerance{10};

bool is_maintenance(Work work) { return work != Work::backup && work != Work::container; }

}  // namespace

void Planner::put(const Entry& entry, Time now) {
  const auto [place, is_new] = items_.try_emplace({entry.work, entry.name});
  Item& item = place->second;
  if (is_new) {
    item.entry = entry;
    // A run that failed, or that a crash cut short, was no run: it is made up for.
    item.base = std::max(entry.since, entry.last_success.value_or(entry.since));
    item.anchor = entry.last_success;
    if (entry.last_attempt && *entry.last_attempt > item.base)
      item.not_before = *entry.last_attempt + kRetryPause;
    return;
  }
  const bool changed = !(item.entry.schedule == entry.schedule) || !item.listed;
  item.entry.schedule = entry.schedule;
  item.entry.jitter = entry.jitter;
  item.listed = true;
  if (changed) item.base = now;
}

void Planner::remove(Work work, const std::string& name) {
  const auto found = items_.find({work, name});
  if (found == items_.end()) return;
  if (found->second.running)
    found->second.listed = false;
  else
    items_.erase(found);
}

void Planner::set_all(const std::vector<Entry>& entries, Time now) {
  std::map<Key, bool> wanted;
  for (const Entry& entry : entries) {
    wanted[{entry.work, entry.name}] = true;
    put(entry, now);
  }
  for (auto at = items_.begin(); at != items_.end();) {
    const Key key = at++->first;
    if (!wanted.count(key)) remove(key.first, key.second);
  }
}

// With the spread added; it may lie in the past.
std::optional<Time> Planner::due_time(Item& item, Time now) {
  if (!item.listed) return std::nullopt;
  // The clock was set back: what lies ahead of it never was.
  if (item.base > now + kClockTolerance) {
    item.base = now;
    if (item.anchor > now) item.anchor = now;
  }
  if (item.not_before > now + kClockTolerance) item.not_before = now;
  const auto nominal = item.entry.schedule.next(item.base, item.anchor ? item.anchor : item.base);
  if (!nominal) return std::nullopt;
  return std::max(*nominal + spread(item.entry.name, *nominal, item.entry.jitter), item.not_before);
}

bool Planner::has_room(Work work) const {
  const bool maintenance = is_maintenance(work);
  const int limit = std::max(1, maintenance ? limits_.maintenance : limits_.jobs);
  return running(maintenance) < static_cast<size_t>(limit);
}

std::vector<Planner::Due> Planner::due(Time now) {
  std::vector<Due> waiting;
  for (auto& [key, item] : items_) {
    if (item.running) continue;
    if (const auto time = due_time(item, now); time && *time <= now)
      waiting.push_back({key.second, key.first, *time});
  }
  std::stable_sort(waiting.begin(), waiting.end(),
                   [](const Due& a, const Due& b) { return a.due < b.due; });
  std::vector<Due> begun;
  for (Due& next : waiting)
    if (has_room(next.work)) {
      begin(next.work, next.name, now);
      begun.push_back(std::move(next));
    }
  return begun;
}

bool Planner::begin(Work work, const std::string& name, Time now) {
  const auto [place, is_new] = items_.try_emplace({work, name});
  Item& item = place->second;
  if (item.running) return false;
  if (is_new) {  // not (yet) an entry: only its run is known
    item.entry.name = name;
    item.entry.work = work;
    item.listed = false;
  }
  item.running = true;
  // All that came due until now is done with this run.
  item.base = item.base > now + kClockTolerance ? now : std::max(item.base, now);
  item.anchor = now;
  return true;
}

void Planner::finished(Work work, const std::string& name) {
  const auto found = items_.find({work, name});
  if (found == items_.end()) return;
  found->second.running = false;
  if (!found->second.listed) items_.erase(found);
}

Time Planner::next_wake(Time now) {
  Time wake = now + kLongestSleep;
  for (auto& [key, item] : items_) {
    // What waits for its turn is looked at when a run ends.
    if (item.running || !has_room(key.first)) continue;
    if (const auto time = due_time(item, now)) wake = std::min(wake, *time);
  }
  // Due already although there is room: due() was not called yet.
  return std::max(wake, now + milliseconds(1));
}

std::optional<Time> Planner::next_run(Work work, const std::string& name, Time now) {
  const auto found = items_.find({work, name});
  return found == items_.end() ? std::nullopt : due_time(found->second, now);
}

bool Planner::is_running(Work work, const std::string& name) const {
  const auto found = items_.find({work, name});
  return found != items_.end() && found->second.running;
}

size_t Planner::running(bool maintenance) const {
  return static_cast<size_t>(std::count_if(items_.begin(), items_.end(), [&](const auto& each) {
    return each.second.running && is_maintenance(each.first.first) == maintenance;
  }));
}

}  // namespace davit::schedule
