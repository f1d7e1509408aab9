// Drives the planner with the time: one thread that starts what is due and sleeps until there is more. The daemon's
// only user of the planner. Any thread may call anything.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/clock.h"
#include "jobs/context.h"
#include "schedule/planner.h"

namespace davit::jobs {
class Manager;
}

namespace davit::daemon {

class Scheduler {
 public:
  explicit Scheduler(jobs::Context& context);
  ~Scheduler();  // stop()

  void start(jobs::Manager& manager);
  void stop();
  // Volumes, containers, options or settings changed.
  void replan();

  std::optional<base::Time> next_backup(const std::string& volume);
  std::optional<base::Time> next_commit(const std::string& container);
  std::optional<base::Time> next_prune();
  std::optional<base::Time> next_scrub();

 private:
  void run();
  bool step();
  std::vector<schedule::Entry> entries();
  void start_one(const schedule::Planner::Due& due);
  void finished(schedule::Work work, const std::string& name);

  jobs::Context& context_;
  jobs::Manager* manager_ = nullptr;
  std::mutex mutex_;  // protects what follows
  std::condition_variable changed_;
  schedule::Planner planner_;
  bool dirty_ = true, stopping_ = false;
  std::thread thread_;
};

}  // namespace davit::daemon
