// Waiting for a job on behalf of somebody who wants to see how far it is.
#pragma once

#include "jobs/job_queue.h"
#include "jobs/operations.h"

namespace davit::jobs {

ProgressEvent progress_of(const Job& job, const std::string& volume);
// Emits a few times a second until the job has ended; rethrows what it failed with. On `stop` throws Cancelled and
// leaves the job alone.
void watch(const std::shared_ptr<Job>& job, const std::string& volume, const Emit& emit, std::stop_token stop);

}  // namespace davit::jobs
