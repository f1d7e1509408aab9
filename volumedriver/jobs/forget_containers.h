// Retention of containers' snapshots. One that belongs to volumes (its tags say so) stays as long as the snapshot of any
// volume of its point does, so that a restore finds both; one without volumes stays by the container's own labels, else
// by the settings.
#pragma once

#include <functional>

#include "jobs/container_book.h"
#include "jobs/context.h"
#include "jobs/operations.h"

namespace davit::jobs {

// Some pieces of this point are still to come.
using IsOpen = std::function<bool(const std::string& point)>;

// This host's snapshots of the container: what stays and why, what goes. The newest always stays. While any snapshot
// file cannot be read nothing goes, as it may be a volume's of the same point.
ForgetGroup decide_container(const Context& context, const repo::Repository& repository, const std::string& container,
                             const upkeep::Policy& policy, const IsOpen& is_open);

// The rule for a container that is gone from the engine since `gone`: as for volumes, all without volumes stay for
// DAVIT_KEEP_REMOVED and go then; those with volumes stay with them.
ForgetGroup decide_gone_container(const Context& context, const repo::Repository& repository,
                                  const std::string& container, base::Time gone, const IsOpen& is_open);

}  // namespace davit::jobs
