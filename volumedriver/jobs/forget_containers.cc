#include "jobs/forget_containers.h"

#include <set>

#include "base/log.h"
#include "jobs/forget.h"
#include "jobs/points.h"
#include "jobs/references.h"

namespace davit::jobs {

namespace {

struct Snapshots {
  std::vector<repo::Snapshot> with_volumes, alone;  // of the container, oldest first
  std::set<std::string> points_of_volumes;          // that have a volume's snapshot
  bool all_readable = true;
};

Snapshots load(const Context& context, const repo::Repository& repository, const std::string& container) {
  Snapshots found;
  const std::string host = context.host();
  for (auto& file : repository.load_snapshots([&](const base::Id& id, const std::string& reason) {
         spdlog::warn("the snapshot file {} cannot be read ({}): no snapshots of containers are forgotten",
                      id.short_hex(), reason);
         found.all_readable = false;
       })) {
    auto& snapshot = file.snapshot;
    if (snapshot.hostname != host) continue;
    snapshot.id = file.id;
    if (!volume_of(snapshot).empty()) found.points_of_volumes.insert(point_of(snapshot));
    if (container_of(snapshot) != container) continue;
    (volumes_used(snapshot).empty() ? found.alone : found.with_volumes).push_back(std::move(snapshot));
  }
  return found;
}

void keep_all(ForgetGroup& group, const std::vector<repo::Snapshot>& snapshots, const std::string& reason) {
  for (const auto& snapshot : snapshots) group.keep.push_back({describe_snapshot(snapshot), {reason}});
}

void follow_volumes(ForgetGroup& group, const Snapshots& found, const IsOpen& is_open, bool keep_newest) {
  for (const auto& snapshot : found.with_volumes) {
    const std::string point = point_of(snapshot);
    if (found.points_of_volumes.contains(point))
      group.keep.push_back({describe_snapshot(snapshot), {"its volumes' snapshots are kept"}});
    else if (is_open(point))
      group.keep.push_back({describe_snapshot(snapshot), {"its volumes are being saved"}});
    else if (keep_newest && &snapshot == &found.with_volumes.back())
      group.keep.push_back({describe_snapshot(snapshot), {"the newest complete snapshot"}});
    else
      group.remove.push_back(describe_snapshot(snapshot));
  }
}

}  // namespace

ForgetGroup decide_container(const Context& context, const repo::Repository& repository, const std::string& container,
                             const upkeep::Policy& policy, const IsOpen& is_open) {
  const Snapshots found = load(context, repository, container);
  ForgetGroup group{.volume = "", .host = context.host(), .container = container};
  if (!found.all_readable) {
    keep_all(group, found.with_volumes, "a snapshot file cannot be read");
    keep_all(group, found.alone, "a snapshot file cannot be read");
    return group;
  }
  group = decide(context, std::move(group), found.alone, policy);
  follow_volumes(group, found, is_open, true);
  return group;
}

ForgetGroup decide_gone_container(const Context& context, const repo::Repository& repository,
                                  const std::string& container, base::Time gone, const IsOpen& is_open) {
  const Snapshots found = load(context, repository, container);
  ForgetGroup group{.volume = "", .host = context.host(), .container = container};
  const auto keep = context.settings.duration("DAVIT_KEEP_REMOVED");
  const bool is_over = keep.count() > 0 && context.clock.now() - gone >= keep;
  if (!found.all_readable || !is_over) {
    keep_all(group, found.alone, "the container was removed " + base::format_utc(gone));
    if (found.all_readable)
      follow_volumes(group, found, is_open, true);
    else
      keep_all(group, found.with_volumes, "a snapshot file cannot be read");
    return group;
  }
  for (const auto& snapshot : found.alone) group.remove.push_back(describe_snapshot(snapshot));
  follow_volumes(group, found, is_open, false);
  return group;
}

}  // namespace davit::jobs
