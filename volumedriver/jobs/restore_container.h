// A container made again from its snapshot: image, networks, volumes, the container itself; then started where that is
// wanted. What is about to be made is written down first (jobs/restore_journal.h); what is half made is undone, at
// once, or at the next start where davit or the machine died.
#pragma once

#include "jobs/context.h"
#include "jobs/job_queue.h"
#include "jobs/operations.h"
#include "jobs/volume_work.h"

namespace davit::jobs {

// Runs on the job's thread. Conflicts are in the outcome, and then nothing was made. Where it throws, what was made is
// undone; what could not be undone yet stays in the journal, and `undone` says so. Cancelled leaves all to the next
// start.
RestoreContainerOutcome restore_container(Context& context, const RestoreContainerRequest& request,
                                          const VolumeWork& volumes, Job& job, bool& undone);

}  // namespace davit::jobs
