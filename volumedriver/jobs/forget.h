// Retention applied to the repository: which snapshots of a volume stay, and the removal of the others' files. The
// space they leave is prune's concern.
#pragma once

#include "jobs/context.h"
#include "jobs/operations.h"

namespace davit::jobs {

SnapshotInfo describe_snapshot(const repo::Snapshot& snapshot);

// This host's snapshots of the volume under `policy` (an empty one keeps all). The newest complete one always stays.
// Takes a shared hold unless `dry_run`.
ForgetGroup forget_by_policy(Context& context, const std::string& volume, const upkeep::Policy& policy, bool dry_run);

// Exactly these.
void forget_snapshots(Context& context, const std::vector<base::Id>& ids);

// The rule for volumes that this installation removed (noted by note_removed, so that an installation that is new to
// a repository never counts what it does not know as removed): upkeep::apply_to_removed with DAVIT_KEEP_REMOVED.
void note_removed(Context& context, const std::string& volume, base::Time when);
void note_made(Context& context, const std::string& volume);
std::vector<ForgetGroup> forget_removed_volumes(Context& context, bool dry_run);

}  // namespace davit::jobs
