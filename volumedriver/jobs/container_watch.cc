#include "jobs/container_watch.h"

namespace davit::jobs {

namespace {

constexpr std::chrono::minutes kInterval{1};

}  // namespace

ContainerWatch::ContainerWatch(std::function<void()> look) : look_(std::move(look)) {}

ContainerWatch::~ContainerWatch() { stop(); }

void ContainerWatch::start() {
  std::lock_guard lock(mutex_);
  if (!thread_.joinable() && !stopping_) thread_ = std::thread([this] { run(); });
}

void ContainerWatch::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void ContainerWatch::look_now() {
  {
    std::lock_guard lock(mutex_);
    asked_ = true;
  }
  changed_.notify_all();
}

void ContainerWatch::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    asked_ = false;
    lock.unlock();
    look_();
    lock.lock();
    changed_.wait_for(lock, kInterval, [&] { return asked_ || stopping_; });
  }
}

}  // namespace davit::jobs
