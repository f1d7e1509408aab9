#pragma once

#include <memory>
#include <string>

#include "jobs/context.h"
#include "jobs/job_queue.h"

namespace davit::jobs {

// For jobs that can wait for ever: a repository that cannot be used (its disk is not mounted yet, a password is missing)
// says nothing of what they look for. Tells why in the log, as "WHO waits for the repository: …", and in the job's phase.
// Only for reading. Throws Cancelled when the job is to stop.
std::unique_ptr<RepositoryAccess::Hold> wait_for_repository(
    Context& context, Job& job, const std::string& who,
    RepositoryAccess::When when = RepositoryAccess::When::settled);

}  // namespace davit::jobs
