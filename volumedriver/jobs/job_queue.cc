#include "jobs/job_queue.h"

#include <system_error>

#include "base/errors.h"
#include "base/log.h"
#include "base/patience.h"
#include "base/priority.h"

namespace davit::jobs {

namespace {
// How long a job's call of the store may wait for it to come back.
constexpr std::chrono::minutes kPatience{15};
}  // namespace

void Job::set_phase(std::string phase) {
  std::lock_guard lock(mutex_);
  phase_ = std::move(phase);
}

std::string Job::phase() const {
  std::lock_guard lock(mutex_);
  return phase_;
}

bool Job::running() const {
  std::lock_guard lock(mutex_);
  return running_;
}

bool Job::finished() const {
  std::lock_guard lock(mutex_);
  return finished_;
}

double Job::seconds() const {
  std::lock_guard lock(mutex_);
  if (!running_) return 0;
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count();
}

bool Job::wait_until(std::chrono::steady_clock::time_point deadline, std::stop_token give_up) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_until(lock, std::move(give_up), deadline, [&] { return finished_; });
}

void Job::pause(std::chrono::milliseconds length) const {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, stop.get_token(), length, [] { return false; });
  if (stop.stop_requested()) throw base::Cancelled();
}

std::exception_ptr Job::failure() const {
  std::lock_guard lock(mutex_);
  return failure_;
}

void Job::when_finished(std::function<void()> then) {
  {
    std::lock_guard lock(mutex_);
    if (!finished_) {
      then_.push_back(std::move(then));
      return;
    }
  }
  then();
}

JobQueue::JobQueue(std::function<unsigned(JobClass)> limit, std::function<bool(JobClass)> is_background)
    : limit_(std::move(limit)), is_background_(std::move(is_background)) {}

JobQueue::~JobQueue() {
  stop();
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [&] { return done_.size() == threads_.size(); });
  reap();
}

std::shared_ptr<Job> JobQueue::submit(const std::string& key, const std::string& what, JobClass job_class,
                                      std::function<void(Job&)> work, bool first) {
  std::lock_guard lock(mutex_);
  if (stopping_) throw base::Conflict("davit is stopping");
  if (const auto found = jobs_.find(key); found != jobs_.end()) return found->second;
  auto job = std::make_shared<Job>(key, what, job_class);
  jobs_[key] = job;
  Waiting item{job, std::move(work)};
  if (first)
    waiting_.push_front(std::move(item));
  else
    waiting_.push_back(std::move(item));
  start_some();
  return job;
}

std::shared_ptr<Job> JobQueue::find(const std::string& key) const {
  std::lock_guard lock(mutex_);
  const auto found = jobs_.find(key);
  return found == jobs_.end() ? nullptr : found->second;
}

std::vector<std::shared_ptr<Job>> JobQueue::list() const {
  std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Job>> jobs;
  for (const auto& [key, job] : jobs_) jobs.push_back(job);
  return jobs;
}

void JobQueue::stop() {
  std::deque<Waiting> dropped;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    dropped.swap(waiting_);
    for (const auto& item : dropped) jobs_.erase(item.job->key);
    for (const auto& [key, job] : jobs_) job->stop.request_stop();
  }
  for (const auto& item : dropped) finish(*item.job, std::make_exception_ptr(base::Cancelled()));
}

void JobQueue::finish(Job& job, std::exception_ptr failure) {
  std::vector<std::function<void()>> then;
  {
    std::lock_guard lock(job.mutex_);
    job.running_ = false;
    job.finished_ = true;
    job.failure_ = std::move(failure);
    then.swap(job.then_);
  }
  job.changed_.notify_all();
  for (const auto& call : then) call();
}

void JobQueue::start_some() {
  reap();
  for (auto item = waiting_.begin(); item != waiting_.end();) {
    unsigned& running = running_[item->job->job_class];
    if (running >= limit_(item->job->job_class)) {
      ++item;
      continue;
    }
    auto taken = std::make_shared<Waiting>(std::move(*item));
    std::thread thread;
    try {
      thread = std::thread([this, taken] { run(std::move(*taken)); });
    } catch (const std::system_error& error) {
      // The machine has no thread to give: it waits until something else ends.
      spdlog::error("a job cannot be started yet: {}", error.what());
      *item = std::move(*taken);
      return;
    }
    ++running;
    const auto id = thread.get_id();
    threads_.emplace(id, std::move(thread));
    item = waiting_.erase(item);
  }
}

std::exception_ptr JobQueue::work_on(Waiting& item) {
  const base::PatienceScope patience({kPatience, item.job->stop.get_token()});
  try {
    item.work(*item.job);
  } catch (...) {
    return std::current_exception();
  }
  return nullptr;
}

void JobQueue::run(Waiting item) {
  Job& job = *item.job;
  {
    std::lock_guard lock(job.mutex_);
    job.running_ = true;
    job.started_ = std::chrono::steady_clock::now();
  }
  std::exception_ptr failure;
  if (is_background_ && is_background_(job.job_class)) {
    // On a thread that ends with it: this one starts others, which would be low, too.
    try {
      std::thread([&] {
        base::lower_priority();
        failure = work_on(item);
      }).join();
    } catch (const std::system_error&) {  // the machine has no thread to give
      failure = work_on(item);
    }
  } else {
    failure = work_on(item);
  }
  item.work = nullptr;  // what it captured goes before anybody is told
  // Out of the map first: who waits for this job and then asks again gets a new one.
  {
    std::lock_guard lock(mutex_);
    jobs_.erase(job.key);
    --running_[job.job_class];
  }
  finish(job, failure);
  std::lock_guard lock(mutex_);
  done_.push_back(std::this_thread::get_id());
  if (!stopping_) start_some();
  idle_.notify_all();
}

void JobQueue::reap() {
  // A thread cannot join itself: its own entry stays for the next caller.
  std::vector<std::thread::id> left;
  for (const auto id : done_) {
    if (id == std::this_thread::get_id()) {
      left.push_back(id);
      continue;
    }
    threads_.at(id).join();
    threads_.erase(id);
  }
  done_ = std::move(left);
}

}  // namespace davit::jobs
