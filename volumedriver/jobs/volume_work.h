// What the jobs of volumes do for the restore of a container, and for its undoing.
#pragma once

#include <functional>
#include <string>

#include "jobs/job_queue.h"

namespace davit::jobs {

struct VolumeWork {
  // Returns once the volume is ready; throws what its restore failed with.
  std::function<void(const std::string& volume, Job& job)> wait;
  // Replaces its content by that of the snapshot; `saved` is told what holds the former one, before
  // it goes.
  std::function<void(const std::string& volume, const std::string& snapshot,
                     const std::function<void(const std::string& safety)>& saved, Job& job)>
      replace;
  // Ends the restore of the volume of this UUID.
  std::function<void(const std::string& uuid)> cancel;
  // As the driver removes a volume of which nothing is to be saved.
  std::function<void(const std::string& volume, Job& job)> remove;
};

}  // namespace davit::jobs
