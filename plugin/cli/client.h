// One call of the client, from arguments to exit code.
#pragma once

#include "cli/arguments.h"
#include "cli/interrupt.h"
#include "cli/terminal.h"

namespace davit::cli {

// Asks the daemon and shows its answer. Throws base::Error, base::Cancelled.
int run_command(const Arguments& arguments, Terminal& out, Terminal& err,
                const Interrupt& interrupt);

}  // namespace davit::cli
