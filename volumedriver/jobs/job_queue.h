// Jobs: work that outlives the call that asked for it. One thread a running job, at most `limit` of a class at
// once; one job a key (a volume's UUID) at a time: asking again joins the one that waits or runs.
// Any thread may call anything.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "base/progress.h"

namespace davit::jobs {

// `container`: jobs that wait for others; none of the others ever waits for one of them. `mirror`: a backup may wait for
// one, and it waits for nobody.
enum class JobClass : uint8_t { backup, restore, image, upkeep, container, mirror };

class Job {
 public:
  Job(std::string key, std::string what, JobClass job_class)
      : key(std::move(key)), what(std::move(what)), job_class(job_class), queued(std::chrono::steady_clock::now()) {}

  const std::string key;       // volume UUID, or a word for work on the repository
  const std::string what;      // "backup", "restore", "last backup", …
  const JobClass job_class;
  const std::chrono::steady_clock::time_point queued;
  base::Progress progress;
  std::stop_source stop;

  void set_phase(std::string phase);
  std::string phase() const;
  bool running() const;
  bool finished() const;
  // Since it began to run.
  double seconds() const;
  // False when the deadline (or `give_up`) came first. Does not throw what the job threw: see failure().
  bool wait_until(std::chrono::steady_clock::time_point deadline, std::stop_token give_up = {}) const;
  // For the job itself: a pause, ended by Cancelled when it is to stop.
  void pause(std::chrono::milliseconds length) const;
  std::exception_ptr failure() const;
  // Called once when the job has ended, on its thread; at once where it has already. It must not throw.
  void when_finished(std::function<void()> then);

 private:
  friend class JobQueue;
  mutable std::mutex mutex_;
  mutable std::condition_variable_any changed_;
  std::string phase_ = "waiting";
  bool running_ = false, finished_ = false;
  std::chrono::steady_clock::time_point started_{};
  std::exception_ptr failure_;
  std::vector<std::function<void()>> then_;
};

class JobQueue {
 public:
  // `limit(class)` is asked each time a job could start, `is_background(class)` each time one does: those run at low
  // priority, with all threads that they start.
  explicit JobQueue(std::function<unsigned(JobClass)> limit, std::function<bool(JobClass)> is_background = {});
  ~JobQueue();  // stop(), and waits

  // `work` runs on a thread of its own and may throw. `first`: before those that wait.
  std::shared_ptr<Job> submit(const std::string& key, const std::string& what, JobClass job_class,
                              std::function<void(Job&)> work, bool first = false);
  // Waiting or running.
  std::shared_ptr<Job> find(const std::string& key) const;
  std::vector<std::shared_ptr<Job>> list() const;
  // Asks every job to stop, drops those that wait, takes no more.
  void stop();

 private:
  struct Waiting {
    std::shared_ptr<Job> job;
    std::function<void(Job&)> work;
  };
  void start_some();                       // with mutex_ held
  void run(Waiting item);
  static std::exception_ptr work_on(Waiting& item);
  void reap();                             // with mutex_ held
  static void finish(Job& job, std::exception_ptr failure);

  const std::function<unsigned(JobClass)> limit_;
  const std::function<bool(JobClass)> is_background_;
  mutable std::mutex mutex_;
  std::condition_variable idle_;
  std::deque<Waiting> waiting_;
  std::map<std::string, std::shared_ptr<Job>> jobs_;
  std::map<JobClass, unsigned> running_;
  std::map<std::thread::id, std::thread> threads_;
  std::vector<std::thread::id> done_;
  bool stopping_ = false;
};

}  // namespace davit::jobs
