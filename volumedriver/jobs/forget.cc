#include "jobs/forget.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/fault.h"
#include "base/files.h"
#include "base/log.h"
#include "jobs/points.h"
#include "jobs/references.h"

namespace davit::jobs {

namespace {

constexpr std::chrono::days kKeepSafety{7};

std::string removed_path(const Context& context) { return context.data_directory + "/state/removed.json"; }

std::map<std::string, base::Time> load_removed(const Context& context) {
  std::map<std::string, base::Time> removed;
  const auto bytes = base::find_file(removed_path(context));
  if (!bytes) return removed;
  const auto json = nlohmann::json::parse(base::as_text(*bytes), nullptr, false);
  if (!json.is_object()) throw base::Corrupt(removed_path(context) + " cannot be read");
  for (const auto& [name, time] : json.items())
    if (time.is_string()) removed[name] = base::parse_rfc3339(time.get<std::string>());
  return removed;
}

void save_removed(const Context& context, const std::map<std::string, base::Time>& removed) {
  nlohmann::json json = nlohmann::json::object();
  for (const auto& [name, time] : removed) json[name] = base::format_utc(time);
  base::make_directories(context.data_directory + "/state");
  base::write_file_atomic(removed_path(context), base::as_bytes(json.dump(1) + "\n"));
}

std::mutex& removed_mutex() {
  static std::mutex mutex;
  return mutex;
}

// This host's, oldest first.
std::vector<repo::Snapshot> snapshots_of(const Context& context, const repo::Repository& repository,
                                         const std::string& volume) {
  std::vector<repo::Snapshot> found;
  for (auto& file : repository.load_snapshots([](const base::Id&, const std::string&) {}))
    if (file.snapshot.hostname == context.host() && volume_of(file.snapshot) == volume) {
      file.snapshot.id = file.id;
      found.push_back(std::move(file.snapshot));
    }
  return found;
}

std::vector<upkeep::Candidate> to_candidates(const std::vector<repo::Snapshot>& snapshots) {
  std::vector<upkeep::Candidate> candidates;
  for (const auto& snapshot : snapshots)
    candidates.push_back({snapshot.id, snapshot.time.time, snapshot.time.offset_minutes, snapshot.tags});
  return candidates;
}

ForgetGroup explain(ForgetGroup group, const std::vector<repo::Snapshot>& snapshots, const upkeep::Decision& decision) {
  std::map<base::Id, std::vector<std::string>> reasons;
  for (const auto& kept : decision.keep) reasons[kept.id] = kept.reasons;
  for (const auto& snapshot : snapshots) {
    const auto found = reasons.find(snapshot.id);
    if (found != reasons.end())
      group.keep.push_back({describe_snapshot(snapshot), found->second});
    else
      group.remove.push_back(describe_snapshot(snapshot));
  }
  return group;
}

}  // namespace

ForgetGroup decide(const Context& context, ForgetGroup group, const std::vector<repo::Snapshot>& snapshots,
                   const upkeep::Policy& policy) {
  upkeep::Decision decision;
  if (policy.empty()) {
    for (const auto& snapshot : snapshots)
      decision.keep.push_back({snapshot.id, {"no retention rule: all are kept"}});
  } else {
    decision = upkeep::apply(to_candidates(snapshots), policy, context.clock.now());
    // Partial ones must not push out the last whole one.
    std::optional<base::Id> newest_complete;
    for (const auto& snapshot : snapshots)
      if (!is_partial(snapshot)) newest_complete = snapshot.id;
    const auto is_newest = [&](const auto& kept) { return kept.id == *newest_complete; };
    if (newest_complete && std::none_of(decision.keep.begin(), decision.keep.end(), is_newest))
      decision.keep.push_back({*newest_complete, {"the newest complete snapshot"}});
    // Who restores the wrong snapshot may notice it after the next backup has run.
    for (const auto& snapshot : snapshots) {
      if (!snapshot.has_tag(kTagSafety) || context.clock.now() - snapshot.time.time >= kKeepSafety) continue;
      const auto is_this = [&](const auto& kept) { return kept.id == snapshot.id; };
      if (std::none_of(decision.keep.begin(), decision.keep.end(), is_this))
        decision.keep.push_back({snapshot.id, {"made before a restore in place, kept for 7 days"}});
    }
  }
  return explain(std::move(group), snapshots, decision);
}

SnapshotInfo describe_snapshot(const repo::Snapshot& snapshot) {
  return {snapshot.id, snapshot, volume_of(snapshot), is_partial(snapshot), container_of(snapshot), point_of(snapshot)};
}

ForgetGroup decide_by_policy(Context& context, const repo::Repository& repository, const std::string& volume,
                             const upkeep::Policy& policy) {
  return decide(context, {.volume = volume, .host = context.host()}, snapshots_of(context, repository, volume), policy);
}

void forget_group(const RepositoryAccess::Hold& hold, const ForgetGroup& group) {
  for (const auto& info : group.remove) {
    hold.check();
    base::fault_point("forget:remove");
    hold.repository()->store().remove({store::Kind::snapshot, info.id});
  }
  if (!group.remove.empty())
    spdlog::info("forgot {} snapshots of {} {} ({} stay)", group.remove.size(),
                 group.container.empty() ? "volume" : "container",
                 group.container.empty() ? group.volume : group.container, group.keep.size());
}

void note_removed(Context& context, const std::string& volume, base::Time when) {
  std::lock_guard lock(removed_mutex());
  auto removed = load_removed(context);
  removed[volume] = when;
  save_removed(context, removed);
}

void note_made(Context& context, const std::string& volume) {
  std::lock_guard lock(removed_mutex());
  auto removed = load_removed(context);
  if (removed.erase(volume) > 0) save_removed(context, removed);
}

std::vector<ForgetGroup> decide_removed_volumes(Context& context, const repo::Repository& repository) {
  std::map<std::string, base::Time> removed;
  {
    std::lock_guard lock(removed_mutex());
    removed = load_removed(context);
  }
  const auto keep_days = static_cast<int>(context.settings.duration("DAVIT_KEEP_REMOVED").count() / 86400);
  std::vector<ForgetGroup> groups;
  for (const auto& [name, when] : removed) {
    if (context.registry.find(name)) continue;  // made again: its own rule counts
    const auto pending = context.registry.list_removed();
    if (std::any_of(pending.begin(), pending.end(), [&name = name](const auto& volume) { return volume.name == name; }))
      continue;  // its last backup is not stored yet
    const auto snapshots = snapshots_of(context, repository, name);
    groups.push_back(explain({.volume = name, .host = context.host()}, snapshots,
                             upkeep::apply_to_removed(to_candidates(snapshots), keep_days, when, context.clock.now())));
  }
  return groups;
}

}  // namespace davit::jobs
