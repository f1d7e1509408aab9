// Holds the thread that comes to a named fault point as the Nth until the test lets it go. One at a time.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <utility>

#include "base/fault.h"

namespace davit::test {

class PauseAt {
 public:
  explicit PauseAt(std::string point, int nth = 1) {
    auto& state = shared();
    std::lock_guard lock(state.mutex);
    state.point = std::move(point);
    state.left = nth;
    state.reached = state.released = false;
    base::fault_hook = [](const char* at) {
      auto& here = shared();
      std::unique_lock wait(here.mutex);
      if (here.point != at || here.reached || --here.left > 0) return;
      here.reached = true;
      here.changed.notify_all();
      here.changed.wait(wait, [&] { return here.released; });
    };
  }
  ~PauseAt() {
    base::fault_hook = nullptr;
    release();
  }
  PauseAt(const PauseAt&) = delete;
  PauseAt& operator=(const PauseAt&) = delete;

  // False after a minute.
  bool wait_until_reached() {
    auto& state = shared();
    std::unique_lock lock(state.mutex);
    return state.changed.wait_for(lock, std::chrono::minutes(1), [&] { return state.reached; });
  }
  void release() {
    auto& state = shared();
    {
      std::lock_guard lock(state.mutex);
      state.released = true;
    }
    state.changed.notify_all();
  }

 private:
  // Lives on when the object is gone: a thread may be in the hook still.
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    std::string point;
    int left = 0;
    bool reached = false, released = false;
  };
  static State& shared() {
    static State state;
    return state;
  }
};

}  // namespace davit::test
