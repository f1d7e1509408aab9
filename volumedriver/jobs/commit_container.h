// A container as a piece of a point: its committed image, its configuration, its networks, what runs in it and what it
// changed, as one snapshot; and the image is gone from the engine afterwards.
#pragma once

#include <functional>
#include <string>

#include "jobs/commits.h"
#include "jobs/context.h"
#include "jobs/job_queue.h"
#include "jobs/operations.h"
#include "jobs/points.h"

namespace davit::jobs {

struct CommitJobRequest {
  std::string container_id, container;  // as planned
  PointMark point;
  // Called when the snapshot is stored, under the lock: for retention. It may add to the outcome.
  std::function<void(const RepositoryAccess::Hold&, BackupOutcome&)> after;
};

// Runs on the job's thread. A container that was made anew under its name meanwhile is taken in its place, one that was
// renamed is saved under its new name; NotFound where it is gone. Throws what went wrong; whatever happens, no image
// and no paused container of it is left (or, where the engine is away, Commits sees to it as soon as it is back).
BackupOutcome commit_container(Context& context, Commits& commits, const CommitJobRequest& request, Job& job);

}  // namespace davit::jobs
