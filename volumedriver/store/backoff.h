// When a call that failed is tried again: a pure schedule, which neither sleeps nor looks at a
// clock. Pauses grow from 250 ms to 30 s, and each is any part of that by chance ("full jitter"),
// so that those who lost a server at one moment do not come back to it at one moment.
#pragma once

#include <algorithm>
#include <chrono>
#include <optional>

namespace davit::store {

class Backoff {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr Clock::duration kFirst = std::chrono::milliseconds(250);
  static constexpr Clock::duration kLongest = std::chrono::seconds(30);

  // Tries begin no later than `limit` after the first failure.
  explicit Backoff(Clock::duration limit) : limit_(limit) {}

  // For a try that began at `began` and failed at `now`, how long to wait before the next one;
  // nothing where there is none. A try that alone took as long as the limit was the last: the next
  // would hang as long. `chance` is from 0 to 1.
  std::optional<Clock::duration> next_pause(Clock::time_point began, Clock::time_point now,
                                            double chance) {
    if (deadline_ == kNoFailureYet) deadline_ = now + limit_;
    const Clock::duration left = deadline_ - now;
    if (left <= Clock::duration::zero() || now - began >= limit_) return std::nullopt;
    const auto pause = std::chrono::duration_cast<Clock::duration>(longest_ * chance);
    longest_ = std::min(longest_ * 2, kLongest);
    return std::min(pause, left);
  }

 private:
  static constexpr Clock::time_point kNoFailureYet = Clock::time_point::max();
  const Clock::duration limit_;
  Clock::duration longest_ = kFirst;
  Clock::time_point deadline_ = kNoFailureYet;
};

}  // namespace davit::store
