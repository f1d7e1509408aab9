// The daemon's log: one line an event on stdout (the engine tags stderr as errors). Never a secret.
#pragma once

#include <spdlog/spdlog.h>

namespace davit::base {

// `level`: trace, debug, info, warn, error. Throws UsageError on another word. Call once, from main.
void start_log(const std::string& level);

}  // namespace davit::base
