#include "jobs/last_backups.h"

#include <algorithm>
#include <vector>

#include "base/errors.h"
#include "base/log.h"

namespace davit::jobs {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

LastBackups::LastBackups(std::function<void(const std::string&)> try_again)
    : try_again_(std::move(try_again)), thread_([this] { run(); }) {}

LastBackups::~LastBackups() { stop(); }

void LastBackups::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void LastBackups::failed(const std::string& uuid, const std::string& why) {
  std::lock_guard lock(mutex_);
  Pause& pause = pauses_[uuid];
  pause.length = std::clamp<std::chrono::seconds>(pause.length * 2, 1min, 1h);
  pause.until = Clock::now() + pause.length;
  pause.why = why;
  changed_.notify_all();
}

void LastBackups::succeeded(const std::string& uuid) {
  std::lock_guard lock(mutex_);
  pauses_.erase(uuid);
  changed_.notify_all();
}

bool LastBackups::is_pausing(const std::string& uuid) const {
  std::lock_guard lock(mutex_);
  const auto found = pauses_.find(uuid);
  return found != pauses_.end() && found->second.until > Clock::now();
}

std::optional<std::string> LastBackups::failure(const std::string& uuid) const {
  std::lock_guard lock(mutex_);
  const auto found = pauses_.find(uuid);
  if (found == pauses_.end()) return std::nullopt;
  return found->second.why;
}

void LastBackups::wait(std::chrono::milliseconds most) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, most);
}

void LastBackups::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    std::vector<std::string> due;
    auto next = Clock::now() + 1h;
    for (auto& [uuid, pause] : pauses_) {
      if (pause.until <= Clock::now()) {
        due.push_back(uuid);
        next = std::min(next, Clock::now() + 1min);  // look again: succeeded() or failed() will have told by then
      } else {
        next = std::min(next, pause.until);
      }
    }
    if (!due.empty()) {
      lock.unlock();
      for (const auto& uuid : due) {
        try {
          try_again_(uuid);
        } catch (const base::Conflict&) {  // davit is stopping
        } catch (const std::exception& error) {
          spdlog::error("a last backup cannot be tried again: {}", error.what());
        }
      }
      lock.lock();
      if (stopping_) break;
    }
    changed_.wait_until(lock, next);
  }
}

}  // namespace davit::jobs
