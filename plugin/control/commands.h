// The commands of the control API, one function each: read the request, call the operation, send
// what it says.
#pragma once

#include <stop_token>
#include <string_view>
#include <vector>

#include "control/output.h"
#include "control/request.h"
#include "jobs/operations.h"

namespace davit::control {

enum class Runs {
  here,         // in the caller's thread: short, or a listing
  with_client,  // in the background, stopped when the client goes
  to_its_end,   // in the background, whether the client stays or not
};

struct Command {
  const char* name;
  Runs runs;
  std::vector<const char*> fields;  // that the request may have
  // Returns the exit code; throws what went wrong.
  int (*perform)(jobs::Operations& operations, const Request& request, Output& output,
                 std::stop_token stop);
};

// Nothing for an unknown name.
const Command* find_command(std::string_view name);

// The volume that a reference speaks of: what `restore` restores to when it is not told. Throws
// UsageError when the reference does not say.
std::string volume_of_reference(jobs::Operations& operations, const std::string& reference);

}  // namespace davit::control
