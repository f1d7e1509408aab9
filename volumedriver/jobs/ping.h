// Tells somebody's watchdog of each run, in the manner of healthchecks.io: URL/start, URL, URL/fail with the reason as
// the body. Sent from one thread of its own, so that no job waits; a few tries; a failure to send is logged and fails
// nothing. A URL is a capability: logs and errors show its host only. Any thread may call anything.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "jobs/settings.h"
#include "volumes/registry.h"

namespace davit::jobs {

class Pinger {
 public:
  Pinger();
  ~Pinger();  // gives what is queued a few seconds

  void start(const std::vector<std::string>& urls);
  void success(const std::vector<std::string>& urls, const std::string& message);
  void fail(const std::vector<std::string>& urls, const std::string& reason);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The installation's (DAVIT_PING_URL) and the volume's own (driver option ping-url).
std::vector<std::string> ping_urls(const Settings& settings, const volumes::OptionMap& options);

}  // namespace davit::jobs
