// A crew of threads with one fate: the first exception that any of them throws is kept, `on_failure` runs
// once (to stop the queues that link them), all are joined, and join() rethrows it.
// Declare a Crew after everything its threads use, so that it is destroyed (and joined) first.
#pragma once

#include <exception>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace davit::base {

class Crew {
 public:
  // `on_failure` is called by the failing thread, at most once; it must not throw.
  explicit Crew(std::function<void()> on_failure);
  ~Crew();  // as join(), but swallows the failure: call join() on the good path
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  // Starts a thread, with the patience of the caller's (base/patience.h). `name` (15 bytes at most are kept) shows in
  // ps -L and in a debugger.
  void start(const std::string& name, std::function<void()> work);
  // Records `failure` as if a thread of the crew had thrown it (the caller's own part failed).
  void fail(std::exception_ptr failure);
  // Waits for all; rethrows the first failure. May be called again.
  void join();

 private:
  std::function<void()> on_failure_;
  std::mutex mutex_;
  std::exception_ptr failure_;
  std::vector<std::thread> threads_;
};

// Calls work(0) … work(count - 1), each once, on up to `threads` threads (the caller's own where one will do).
// The first failure ends it and is rethrown.
void for_each_parallel(const std::string& name, unsigned threads, size_t count,
                       const std::function<void(size_t)>& work);

// Processors this process may use; at least 1.
unsigned processor_count();

}  // namespace davit::base
