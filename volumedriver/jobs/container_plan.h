// A restore of a container, thought through before anything is made: reads the snapshot, looks at the engine and the
// host, changes nothing.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "jobs/commit_record.h"
#include "jobs/container_document.h"
#include "jobs/container_spec.h"
#include "jobs/context.h"
#include "jobs/operations.h"
#include "jobs/volume_steps.h"

namespace davit::jobs {

struct ContainerPlan {
  repo::Snapshot snapshot;
  CommitRecord record;
  std::string saved_name, name;
  std::string image;            // reference, in this engine
  bool loads_image = true;      // false: the engine has it
  std::vector<std::pair<std::string, std::string>> networks;  // to be made: name, body
  std::string volume_driver;    // davit's name in this engine; "" where none is to be made
  std::vector<VolumeStep> volumes;
  std::map<std::string, std::string> labels;  // of the container
  ContainerSpec spec;
  std::vector<std::string> conflicts, notes;
};

// `uuid`: of the restore. The repository's lock must be held and its index be fresh. Throws UsageError, NotFound,
// Corrupt, IoError: what cannot be thought through; what stands in the way is among the conflicts.
ContainerPlan plan_container(Context& context, const repo::Repository& repository,
                             const RestoreContainerRequest& request, const std::string& uuid);

}  // namespace davit::jobs
