// A restore of one volume into its place: the snapshot that the record names, into a staging directory, made
// visible by one rename. Also how a reference becomes a snapshot.
#pragma once

#include "jobs/context.h"
#include "jobs/job_queue.h"
#include "jobs/operations.h"
#include "jobs/references.h"
#include "restore/restorer.h"

namespace davit::jobs {

// What a `from` means right now.
struct Resolved {
  std::string snapshot;                // hex; "": the newest snapshot that `waits_for` will have made
  std::string path;                    // in it
  volumes::OptionMap saved_options;
  std::string waits_for;               // UUID of a removed volume whose last backup comes first
};
// Nothing: `auto`, and there is certainly no snapshot of the volume. Throws what the user must know: a reference that
// is wrong, unknown or ambiguous, a repository that cannot be read or is locked exclusively, a snapshot file that
// cannot be read and may be the newest (unless the reference names an ID).
std::optional<Resolved> resolve_reference(Context& context, const std::string& reference, const std::string& volume);
// The snapshot that a reference names. By its ID, one of any subject.
repo::Snapshot find_snapshot(Context& context, const repo::Repository& repository, const std::string& reference,
                             Subject subject = Subject::volume);

// Runs on the job's thread, for a volume in state restoring. Ends in ready, or in failed (and throws). A repository
// that cannot be used now is waited for, passing faults are tried again. When it is cancelled the record stays
// restoring, and the next start of the daemon begins anew.
// `wait_for_backup(uuid, stop)` returns once that removed volume is stored and gone.
restore::Result restore_volume(Context& context, const std::string& volume_uuid, Job& job,
                               const std::function<void(const std::string&, std::stop_token)>& wait_for_backup);

// Replaces the content of a ready volume that nobody uses by that of a snapshot, in one atomic exchange.
// `before_replacing` throws when somebody uses it by then.
restore::Result restore_in_place(Context& context, const volumes::Volume& volume, const repo::Snapshot& snapshot,
                                 Job& job, const std::function<void()>& before_replacing);

}  // namespace davit::jobs
