#include "jobs/mirror_watch.h"

#include <algorithm>

#include "base/errors.h"
#include "base/log.h"

namespace davit::jobs {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

MirrorWatch::MirrorWatch(std::function<std::vector<std::string>()> places,
                         std::function<void(const std::string&)> synchronise)
    : places_(std::move(places)), synchronise_(std::move(synchronise)) {}

MirrorWatch::~MirrorWatch() {
  stop();
}

void MirrorWatch::start() {
  const std::lock_guard lock(mutex_);
  if (!thread_.joinable() && !stopping_) thread_ = std::thread([this] { run(); });
}

void MirrorWatch::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void MirrorWatch::changed() {
  {
    const std::lock_guard lock(mutex_);
    changed_ = true;
  }
  wake_.notify_all();
}

void MirrorWatch::failed(const std::string& place) {
  const std::lock_guard lock(mutex_);
  Turn& turn = turns_[place];
  turn.pause = std::clamp<std::chrono::seconds>(turn.pause * 2, 1min, 1h);
  turn.due = Clock::now() + turn.pause;
  wake_.notify_all();
}

void MirrorWatch::succeeded(const std::string& place) {
  const std::lock_guard lock(mutex_);
  turns_[place].pause = 0s;
}

void MirrorWatch::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    lock.unlock();
    const auto places = places_();
    lock.lock();
    std::erase_if(turns_, [&](const auto& turn) {
      return std::find(places.begin(), places.end(), turn.first) == places.end();
    });
    const auto now = Clock::now();
    const bool all = std::exchange(changed_, false);
    auto next = now + 1h;
    std::vector<std::string> due;
    for (const auto& place : places) {
      Turn& turn = turns_[place];
      if (all || turn.due <= now) {
        due.push_back(place);
        turn.due = now + 1h;
      }
      next = std::min(next, turn.due);
    }
    lock.unlock();
    for (const auto& place : due) {
      try {
        synchronise_(place);
      } catch (const base::Conflict&) {  // davit is stopping
      } catch (const std::exception& error) {
        spdlog::error("the mirror {} cannot be brought up to date now: {}", place, error.what());
      }
    }
    lock.lock();
    wake_.wait_until(lock, next, [&] {
      return stopping_ || changed_ ||
             std::any_of(turns_.begin(), turns_.end(),
                         [&](const auto& turn) { return turn.second.due < next; });
    });
  }
}

}  // namespace davit::jobs
