// Work that makes more work: threads take from it until nothing is left and nobody is busy. Last
// in, first out, so that a walk goes deep first and little waits. Any thread may call anything.
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

namespace davit::upkeep {

template <typename T>
class WorkStack {
 public:
  void push(std::span<const T> more) {
    if (more.empty()) return;
    {
      std::lock_guard lock(mutex_);
      items_.insert(items_.end(), more.begin(), more.end());
    }
    more.size() == 1 ? changed_.notify_one() : changed_.notify_all();
  }

  // The caller is busy from here until its next pop(). Nothing once all work is done, or after
  // stop().
  std::optional<T> pop(bool was_busy) {
    std::unique_lock lock(mutex_);
    if (was_busy) --busy_;
    changed_.wait(lock, [&] { return stopped_ || !items_.empty() || busy_ == 0; });
    if (stopped_ || items_.empty()) {
      lock.unlock();
      changed_.notify_all();
      return std::nullopt;
    }
    ++busy_;
    std::optional<T> item(std::move(items_.back()));
    items_.pop_back();
    return item;
  }

  void stop() {
    {
      std::lock_guard lock(mutex_);
      stopped_ = true;
    }
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<T> items_;
  size_t busy_ = 0;
  bool stopped_ = false;
};

}  // namespace davit::upkeep
