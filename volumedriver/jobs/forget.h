// Retention applied to the repository: which snapshots of a volume stay, and the removal of the others' files. The
// space they leave is prune's concern.
#pragma once

#include "jobs/context.h"
#include "jobs/operations.h"

namespace davit::jobs {

SnapshotInfo describe_snapshot(const repo::Snapshot& snapshot);

// This host's snapshots of the volume under `policy` (an empty one keeps all): what stays and why, what goes. The newest
// complete one always stays, and for 7 days what was saved before a restore in place.
ForgetGroup decide_by_policy(Context& context, const repo::Repository& repository, const std::string& volume,
                             const upkeep::Policy& policy);

// The same for these snapshots, oldest first, which are those of `group`.
ForgetGroup decide(const Context& context, ForgetGroup group, const std::vector<repo::Snapshot>& snapshots,
                   const upkeep::Policy& policy);

// Removes what a decision says, exactly these. Throws a transient IoError once the lock is lost.
void forget_group(const RepositoryAccess::Hold& hold, const ForgetGroup& group);

// The rule for volumes that this installation removed (noted by note_removed, so that an installation that is new to
// a repository never counts what it does not know as removed): upkeep::apply_to_removed with DAVIT_KEEP_REMOVED.
void note_removed(Context& context, const std::string& volume, base::Time when);
void note_made(Context& context, const std::string& volume);
std::vector<ForgetGroup> decide_removed_volumes(Context& context, const repo::Repository& repository);

}  // namespace davit::jobs
