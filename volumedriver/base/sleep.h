// Sleeps that a request to stop ends at once.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stop_token>

namespace davit::base {

// False where `stop` was requested, before or meanwhile.
inline bool sleep_until(std::chrono::steady_clock::time_point until, const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  never.wait_until(lock, stop, until, [] { return false; });
  return !stop.stop_requested();
}

inline bool sleep_for(std::chrono::steady_clock::duration time, const std::stop_token& stop) {
  return sleep_until(std::chrono::steady_clock::now() + time, stop);
}

}  // namespace davit::base
