#include "http/ready_gate.h"

namespace davit::http {

void ReadyGate::open() {
  {
    std::lock_guard lock(mutex_);
    open_ = true;
  }
  opened_.notify_all();
}

bool ReadyGate::is_open() const {
  std::lock_guard lock(mutex_);
  return open_;
}

bool ReadyGate::wait(std::chrono::steady_clock::time_point deadline, std::stop_token stop) {
  std::unique_lock lock(mutex_);
  return opened_.wait_until(lock, stop, deadline, [&] { return open_; });
}

}  // namespace davit::http
