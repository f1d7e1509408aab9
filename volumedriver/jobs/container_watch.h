// Looks at the engine's containers once a minute, on a thread of its own, so that nobody else waits for an engine.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace davit::jobs {

class ContainerWatch {
 public:
  // `look` may throw nothing.
  explicit ContainerWatch(std::function<void()> look);
  ~ContainerWatch();  // stop()
  // Looks at once, and then again and again.
  void start();
  void stop();
  // Soon, instead of at the next minute. Any thread.
  void look_now();

 private:
  void run();
  const std::function<void()> look_;
  std::mutex mutex_;  // protects what follows
  std::condition_variable changed_;
  bool asked_ = false, stopping_ = false;
  std::thread thread_;
};

}  // namespace davit::jobs
