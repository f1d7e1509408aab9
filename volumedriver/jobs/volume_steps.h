// What happens to the volumes of a container that is made again: which are kept, which are made from the point's
// snapshots, which are replaced by them. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "jobs/container_document.h"
#include "jobs/operations.h"
#include "volumes/registry.h"

namespace davit::jobs {

struct VolumesThere {
  std::map<std::string, std::string> in_engine;          // name -> driver
  std::map<std::string, volumes::State> of_davit;        // those in the registry
  std::map<std::string, std::string> running_users;      // name -> containers that use it and run, as text
};

struct VolumeStep {
  enum class Action : uint8_t {
    keep,     // as it is
    adopt,    // davit has it, and the engine is to know of it
    fresh,    // the engine makes an empty one of no name
    make,     // from `snapshot`
    replace,  // its content by that of `snapshot`
  };
  std::string saved_name, name;
  Action action = Action::keep;
  std::string snapshot;  // hex
};
const char* action_name(VolumeStep::Action action);

struct VolumesPlan {
  std::vector<VolumeStep> steps;
  std::vector<std::string> conflicts, notes;
};
// `snapshots`: of the point, by volume. `container`: its new name; `is_copy`: under another name than it was saved.
VolumesPlan plan_volumes(const std::vector<NeededVolume>& needed, RestoreContainerRequest::Volumes mode,
                         const std::string& container, bool is_copy, const std::map<std::string, std::string>& snapshots,
                         const VolumesThere& there);

}  // namespace davit::jobs
