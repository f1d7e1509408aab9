#include "jobs/point_plan.h"

#include <algorithm>
#include <functional>

#include "base/errors.h"
#include "jobs/labels.h"

namespace davit::jobs {

namespace {

PointPlan plan(PointPlan begun, const std::vector<engine::Container>& containers, const std::set<std::string>& volumes,
               const std::function<bool(const engine::Container&)>& is_chosen) {
  std::set<std::string> seen_volumes(begun.volumes.begin(), begun.volumes.end()), seen_containers;
  // Until nothing new is found; each round takes what touches the last one's volumes.
  for (bool more = true; more;) {
    more = false;
    for (const auto& container : containers) {
      if (seen_containers.contains(container.id) || !is_chosen(container)) continue;
      const auto used = volumes_of(container, volumes);
      const bool is_seed = std::any_of(begun.containers.begin(), begun.containers.end(),
                                       [&](const auto& each) { return each.id == container.id; });
      const bool touches =
          std::any_of(used.begin(), used.end(), [&](const auto& name) { return seen_volumes.contains(name); });
      if (!is_seed && !touches) continue;
      seen_containers.insert(container.id);
      if (!is_seed) begun.containers.push_back({container.id, container.name});
      for (const auto& name : used)
        if (seen_volumes.insert(name).second) begun.volumes.push_back(name);
      more = true;
    }
  }
  return begun;
}

}  // namespace

CommitMode parse_commit_mode(const std::string& text) {
  if (text == "none") return CommitMode::none;
  if (text == "labelled") return CommitMode::labelled;
  if (text == "all") return CommitMode::all;
  throw base::UsageError("DAVIT_COMMIT: '" + text + "' is none of all, labelled, none");
}

bool is_committed(const engine::Container& container, CommitMode mode) {
  if (mode == CommitMode::none) return false;
  if (container.state == "dead" || container.state == "removing") return false;
  const auto label = container.labels.find(kLabelCommit);
  const auto wish = label == container.labels.end() ? std::nullopt : parse_label_flag(label->second);
  return wish.value_or(mode == CommitMode::all);
}

std::vector<std::string> volumes_of(const engine::Container& container, const std::set<std::string>& volumes) {
  std::set<std::string> used;
  for (const auto& mount : container.volumes)
    if (mount.driver != "local" && volumes.contains(mount.name)) used.insert(mount.name);
  return {used.begin(), used.end()};
}

PointPlan plan_around_volume(const std::string& volume, const std::vector<engine::Container>& containers,
                             const std::set<std::string>& volumes, CommitMode mode) {
  return plan({.volumes = {volume}, .containers = {}}, containers, volumes,
              [&](const auto& container) { return is_committed(container, mode); });
}

PointPlan plan_around_container(const std::string& container_id, const std::vector<engine::Container>& containers,
                                const std::set<std::string>& volumes, CommitMode mode) {
  PointPlan seed;
  for (const auto& container : containers)
    if (container.id == container_id) seed.containers.push_back({container.id, container.name});
  return plan(std::move(seed), containers, volumes, [&](const auto& container) {
    return container.id == container_id || is_committed(container, mode);
  });
}

}  // namespace davit::jobs
