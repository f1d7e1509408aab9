// A container made again from its snapshot: image, networks, volumes, the container itself; then started where that is
// wanted. What is about to be made is written down first (jobs/restore_journal.h); what is half made is undone, at
// once, or at the next start where davit or the machine died.
#pragma once

#include <functional>
#include <string>

#include "jobs/context.h"
#include "jobs/job_queue.h"
#include "jobs/operations.h"
#include "jobs/restore_journal.h"

namespace davit::jobs {

// What the jobs of volumes do for it.
struct VolumeWork {
  // Returns once the volume is ready; throws what its restore failed with.
  std::function<void(const std::string& volume, Job& job)> wait;
  // Replaces its content by that of the snapshot; `saved` is told what holds the former one, before it goes.
  std::function<void(const std::string& volume, const std::string& snapshot,
                     const std::function<void(const std::string& safety)>& saved, Job& job)>
      replace;
  // Ends the restore of the volume of this UUID.
  std::function<void(const std::string& uuid)> cancel;
};

// Runs on the job's thread. Conflicts are in the outcome, and then nothing was made. Where it throws, what was made is
// undone; what could not be undone yet stays in the journal, and `undone` says so. Cancelled leaves all to the next
// start.
RestoreContainerOutcome restore_container(Context& context, const RestoreContainerRequest& request,
                                          const VolumeWork& volumes, Job& job, bool& undone);

// Takes back what the entry says, as far as it is there and is of that restore, and removes the entry. May be repeated.
// Throws IoError where the engine or the repository cannot be used now.
void undo_container_restore(Context& context, const RestoreEntry& entry, const VolumeWork& volumes, Job& job);

}  // namespace davit::jobs
