// Closed until the daemon has initialised: it listens at once, since engines give a plugin few
// seconds, but a call about volumes must wait until it can be answered truly. Any thread may call
// anything.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stop_token>

namespace davit::http {

class ReadyGate {
 public:
  void open();
  bool is_open() const;
  // Waits until it is open; false at the deadline, or once `stop` is requested.
  bool wait(std::chrono::steady_clock::time_point deadline, std::stop_token stop);

 private:
  mutable std::mutex mutex_;
  std::condition_variable_any opened_;
  bool open_ = false;
};

}  // namespace davit::http
