// What the daemon knows of its state, for Prometheus: names as velero's and offen's dashboards have
// them.
#pragma once

#include <string>

#include "jobs/operations.h"

namespace davit::control {

inline constexpr const char* kMetricsContentType = "text/plain; version=0.0.4; charset=utf-8";

// In Prometheus' text format. Times are seconds since 1970. Pure.
std::string metrics_text(const jobs::Status& status);

}  // namespace davit::control
