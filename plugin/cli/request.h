// From what was said on the command line to what is asked of the daemon.
#pragma once

#include <string>

#include "cli/arguments.h"
#include "cli/interrupt.h"
#include "cli/text.h"

namespace davit::cli {

struct Request {
  std::string method = "POST";
  std::string path;  // /v1/…
  Json body = Json::object();
  // The work goes on when the client leaves.
  bool outlives_client = false;
};

// Asks for secrets where the command needs one. Throws UsageError.
Request make_request(const Arguments& arguments, const Interrupt& interrupt);

}  // namespace davit::cli
