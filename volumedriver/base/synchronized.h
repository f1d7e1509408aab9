// The lock is the only door to the data.
#pragma once

#include <condition_variable>
#include <mutex>
#include <utility>

namespace davit::base {

template <typename T>
class Synchronized {
 public:
  template <typename... Arguments>
  explicit Synchronized(Arguments&&... arguments) : value_(std::forward<Arguments>(arguments)...) {}

  class Access {
   public:
    T* operator->() { return value_; }
    T& operator*() { return *value_; }
    // Gives up the lock while it waits; `ready` is called with it held.
    template <typename Ready>
    void wait(std::condition_variable& condition, Ready ready) {
      condition.wait(lock_, std::move(ready));
    }
    template <typename Deadline, typename Ready>
    bool wait_until(std::condition_variable& condition, Deadline deadline, Ready ready) {
      return condition.wait_until(lock_, deadline, std::move(ready));
    }
    std::unique_lock<std::mutex>& lock() { return lock_; }

   private:
    friend class Synchronized;
    Access(std::mutex& mutex, T* value) : lock_(mutex), value_(value) {}
    std::unique_lock<std::mutex> lock_;
    T* value_;
  };

  // Keep the result in a name no longer than needed: it holds the lock while it lives.
  [[nodiscard]] Access lock() { return Access(mutex_, &value_); }

  template <typename Use>
  decltype(auto) with(Use&& use) {
    std::lock_guard guard(mutex_);
    return std::forward<Use>(use)(value_);
  }
  template <typename Use>
  decltype(auto) with(Use&& use) const {
    std::lock_guard guard(mutex_);
    return std::forward<Use>(use)(value_);
  }

 private:
  mutable std::mutex mutex_;
  T value_;
};

}  // namespace davit::base
