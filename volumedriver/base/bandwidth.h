// A limit on bytes a second that many threads share.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <utility>

namespace davit::base {

class Bandwidth {
 public:
  using Clock = std::chrono::steady_clock;
  // What was not used may be made up for, but no more than of so long.
  static constexpr Clock::duration kBurst = std::chrono::milliseconds(100);

  // `rate` tells the limit in bytes a second, 0 for none; it is asked once a second at most.
  explicit Bandwidth(std::function<uint64_t()> rate) : rate_(std::move(rate)) {}

  // When a transfer of so many bytes may begin that is wanted `now`: one after another, each as
  // long as it takes at the limit. Waiting is the caller's part, and it must transfer what it
  // reserved. Any thread.
  Clock::time_point reserve(uint64_t bytes, Clock::time_point now) {
    std::lock_guard lock(mutex_);
    if (now >= ask_again_) {
      bytes_per_second_ = rate_();
      ask_again_ = now + std::chrono::seconds(1);
    }
    if (bytes_per_second_ == 0) {
      free_from_ = {};
      return now;
    }
    const Clock::time_point begin = std::max(free_from_, now - kBurst);
    const std::chrono::duration<double> length(static_cast<double>(bytes) /
                                               static_cast<double>(bytes_per_second_));
    free_from_ = begin + std::chrono::duration_cast<Clock::duration>(length);
    return std::max(begin, now);
  }

 private:
  const std::function<uint64_t()> rate_;
  std::mutex mutex_;
  uint64_t bytes_per_second_ = 0;
  Clock::time_point ask_again_ = Clock::time_point::min();
  Clock::time_point free_from_{};  // where all reserved transfers have ended
};

}  // namespace davit::base
