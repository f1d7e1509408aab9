// Time for a RetryStore that passes only while somebody sleeps, and then at once. Any thread.
#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "base/synchronized.h"
#include "store/retry_store.h"

namespace davit::test {

class PassingTime {
 public:
  using Clock = store::RetryStore::Clock;

  // It must outlive the store.
  store::RetryStore::Time of() {
    return {[this] { return state_.lock()->now; },
            [this](Clock::duration pause, const std::stop_token& stop) {
              if (on_sleep_) on_sleep_();
              if (stop.stop_requested()) return false;
              auto state = state_.lock();
              state->now += pause;
              state->pauses.push_back(pause);
              return true;
            }};
  }
  // Where no time ever passes, so that nobody's patience ends.
  static store::RetryStore::Time none() {
    return {[] { return Clock::time_point(); },
            [](Clock::duration, const std::stop_token& stop) { return !stop.stop_requested(); }};
  }

  // Called whenever somebody is about to sleep.
  void when_asked(std::function<void()> on_sleep) { on_sleep_ = std::move(on_sleep); }
  void pass(Clock::duration time) { state_.lock()->now += time; }
  Clock::duration passed() { return state_.lock()->now.time_since_epoch(); }
  std::vector<Clock::duration> pauses() { return state_.lock()->pauses; }

 private:
  struct State {
    Clock::time_point now{};
    std::vector<Clock::duration> pauses;
  };
  base::Synchronized<State> state_;
  std::function<void()> on_sleep_;
};

}  // namespace davit::test
