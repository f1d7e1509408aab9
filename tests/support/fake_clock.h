// A clock that stands still until it is told to move. Any thread may read it.
#pragma once

#include <atomic>

#include "base/clock.h"

namespace davit::test {

class FakeClock : public base::Clock {
 public:
  explicit FakeClock(base::Time start = base::parse_rfc3339("2026-11-21T18:00:00Z")) : now_(start) {}
  base::Time now() const override { return now_.load(); }
  void advance(std::chrono::nanoseconds step) { now_.store(now_.load() + step); }
  void set(base::Time time) { now_.store(time); }

 private:
  std::atomic<base::Time> now_;
};

}  // namespace davit::test
