// A backup of one volume, from finding its directory to the retention after it.
#pragma once

#include "jobs/context.h"
#include "jobs/job_queue.h"
#include "jobs/operations.h"
#include "jobs/points.h"

namespace davit::jobs {

struct BackupRequest {
  std::string volume_uuid;
  std::vector<std::string> tags = {};        // beside davit's own
  std::optional<PointMark> point = {};       // that the snapshot is a piece of; nothing: one that begins now, of its own
  bool apply_retention = true;
  bool is_tried_again = false;               // one that comes to the same as a former try for this moment adds no snapshot
};

// Runs on the job's thread. The volume's record says afterwards how it went, also when it throws. Conflict where the
// volume was removed without keeping its data while it was read; where its data was kept, it is saved all the same.
BackupOutcome backup_volume(Context& context, const BackupRequest& request, Job& job);

// The newest snapshot of the same host and path, whole or partial: what the next one is compared with.
std::optional<base::Id> find_parent(const repo::Repository& repository, const std::string& host, const std::string& path);

}  // namespace davit::jobs
