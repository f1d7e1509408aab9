// A backup of one volume, from finding its directory to the retention after it.
#pragma once

#include "jobs/context.h"
#include "jobs/job_queue.h"
#include "jobs/operations.h"

namespace davit::jobs {

struct BackupRequest {
  std::string volume_uuid;
  std::vector<std::string> tags = {};        // beside davit's own
  // The snapshot's time; nothing: when the backup began. With one, a try that comes to the same as a former one adds
  // no snapshot.
  std::optional<base::Time> as_of = {};
  bool apply_retention = true;
};

// Runs on the job's thread. The volume's record says afterwards how it went, also when it throws. Conflict where the
// volume was removed without keeping its data while it was read; where its data was kept, it is saved all the same.
BackupOutcome backup_volume(Context& context, const BackupRequest& request, Job& job);

}  // namespace davit::jobs
