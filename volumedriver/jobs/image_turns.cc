#include "jobs/image_turns.h"

#include "base/errors.h"

namespace davit::jobs {

ImageTurns::Turn ImageTurns::take(const std::string& reference, std::stop_token stop) {
  std::unique_lock lock(mutex_);
  if (!given_back_.wait(lock, stop, [&] { return !taken_.contains(reference); })) throw base::Cancelled();
  taken_.insert(reference);
  return {*this, reference};
}

void ImageTurns::give_back(const std::string& reference) {
  {
    std::lock_guard lock(mutex_);
    taken_.erase(reference);
  }
  given_back_.notify_all();
}

}  // namespace davit::jobs
