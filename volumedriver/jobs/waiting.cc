#include "jobs/waiting.h"

#include <algorithm>
#include <chrono>

#include "base/errors.h"
#include "base/log.h"

namespace davit::jobs {

namespace {
constexpr std::chrono::seconds kFirstPause{1}, kLongestPause{60};
}

std::unique_ptr<RepositoryAccess::Hold> wait_for_repository(Context& context, Job& job, const std::string& who,
                                                            RepositoryAccess::When when) {
  for (auto pause = kFirstPause;; pause = std::min(pause * 2, kLongestPause)) {
    try {
      return context.repository.hold_shared(
          job.stop.get_token(), [&](const std::string& why) { job.set_phase(why); }, RepositoryAccess::Use::read, when);
    } catch (const base::Error& error) {
      spdlog::warn("{} waits for the repository: {}", who, error.what());
      job.set_phase(std::string("waiting for the repository: ") + error.what());
    }
    job.pause(pause);
  }
}

}  // namespace davit::jobs
