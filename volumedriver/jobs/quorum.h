// DAVIT_QUORUM: how many stores must have a snapshot before its backup counts as done.
#pragma once

#include <functional>
#include <stop_token>
#include <string>

#include "jobs/context.h"

namespace davit::jobs {

// Waits until so many stores have the snapshot, the primary among them, and Context::quorum_wait at
// most. Throws IoError that names those which lack it: the snapshot stays where it is. The caller
// has no hold.
void wait_for_quorum(Context& context, const std::string& snapshot,
                     const std::function<void(std::string)>& set_phase, std::stop_token stop);

}  // namespace davit::jobs
