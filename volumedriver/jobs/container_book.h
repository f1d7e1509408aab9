// The containers that are (or were) committed here: what the engine's last list says of them, and how their last run
// went. The latter is durable in DATA/state/containers.json, so that the planner can make up for what a downtime missed,
// and so that only containers which this installation committed ever count as removed.
// Any thread may call anything.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "engine/engine.h"
#include "jobs/point_plan.h"
#include "volumes/registry.h"

namespace davit::jobs {

struct KnownContainer {
  std::string name;
  // Of the last list; nothing: it is gone, or is not committed any more.
  std::optional<engine::Container> now;
  bool exists = false;               // under this name, committed or not
  base::Time since{};                // it is committed since
  std::optional<base::Time> gone;    // it does not exist since
  volumes::LastBackup last;
};

class ContainerBook {
 public:
  // A damaged file is as if no container ever ran; it is logged.
  ContainerBook(std::string path, const base::Clock& clock);
  // Takes in what the engine lists. True where a planner or a person would see a difference.
  bool update(const std::vector<engine::Container>& containers, CommitMode mode);
  // Changes what is known of its last run; durable. A container that was not known is known from here on.
  void note(const std::string& name, const std::function<void(volumes::LastBackup&)>& change);
  // All: committed ones, and those that were, by name.
  std::vector<KnownContainer> list() const;
  std::optional<KnownContainer> find(const std::string& name) const;
  // Nothing of it is left.
  void forget(const std::string& name);

 private:
  KnownContainer& get(const std::string& name);  // with mutex_ held
  void save();                                   // with mutex_ held

  const std::string path_;
  const base::Clock& clock_;
  mutable std::mutex mutex_;
  std::map<std::string, KnownContainer> all_;
};

}  // namespace davit::jobs
