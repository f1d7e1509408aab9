#include "base/crew.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>

#include "base/patience.h"

namespace davit::base {

Crew::Crew(std::function<void()> on_failure) : on_failure_(std::move(on_failure)) {}

Crew::~Crew() {
  bool running = false;
  for (auto& thread : threads_) running |= thread.joinable();
  if (running) {
    // Leaving without join() means that the owner is unwinding: stop the others too.
    fail(std::make_exception_ptr(std::runtime_error("the owner of these threads failed")));
    for (auto& thread : threads_)
      if (thread.joinable()) thread.join();
  }
}

void Crew::start(const std::string& name, std::function<void()> work) {
  threads_.emplace_back([this, work = std::move(work), patience = patience()] {
    const PatienceScope scope(patience);
    try {
      work();
    } catch (...) {
      fail(std::current_exception());
    }
  });
  ::pthread_setname_np(threads_.back().native_handle(), name.substr(0, 15).c_str());
}

void Crew::fail(std::exception_ptr failure) {
  {
    std::lock_guard lock(mutex_);
    if (failure_) return;
    failure_ = std::move(failure);
  }
  if (on_failure_) on_failure_();
}

void Crew::join() {
  for (auto& thread : threads_)
    if (thread.joinable()) thread.join();
  std::exception_ptr failure;
  {
    std::lock_guard lock(mutex_);
    failure = failure_;
  }
  if (failure) std::rethrow_exception(failure);
}

void for_each_parallel(const std::string& name, unsigned threads, size_t count,
                       const std::function<void(size_t)>& work) {
  threads = static_cast<unsigned>(std::min<size_t>(threads, count));
  std::atomic<size_t> next{0};
  const auto run = [&] {
    for (size_t i; (i = next.fetch_add(1)) < count;) work(i);
  };
  if (threads <= 1) return run();
  Crew crew([&] { next = count; });
  for (unsigned i = 0; i < threads; ++i) crew.start(name, run);
  crew.join();
}

unsigned processor_count() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return std::max(1u, std::thread::hardware_concurrency());
  return static_cast<unsigned>(std::max(1, CPU_COUNT(&set)));
}

}  // namespace davit::base
