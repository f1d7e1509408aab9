// When a work on the whole repository (prune, retention of removed volumes) ran last, kept in DATA/state so that the
// planner can make up for what a downtime missed.
#pragma once

#include <optional>
#include <string>

#include "base/clock.h"

namespace davit::jobs {

struct UpkeepRun {
  std::optional<base::Time> since;  // nothing before it was missed
  std::optional<base::Time> attempted, succeeded;
  std::string error;  // of the last attempt
};

// A missing or damaged file is as if nothing ever ran.
UpkeepRun load_upkeep_run(const std::string& path);
void save_upkeep_run(const std::string& path, const UpkeepRun& run);

}  // namespace davit::jobs
