#include "control/background.h"

#include <pthread.h>

#include "base/errors.h"
#include "base/log.h"

namespace davit::control {

namespace {

constexpr size_t kMaxWorks = 64;

}  // namespace

Background::~Background() {
  stop();
  // From here on nobody calls run(): its callers ended before this object may.
  for (Work& work : works_) work.thread.join();
}

void Background::stop() {
  std::lock_guard guard(mutex_);
  stopping_ = true;
  for (Work& work : works_) work.stop.request_stop();
}

void Background::reap() {
  for (auto work = works_.begin(); work != works_.end();) {
    if (work->attended || !work->done.load()) {
      ++work;
      continue;
    }
    work->thread.join();
    work = works_.erase(work);
  }
}

Background::Work& Background::start(const std::string& name,
                                    std::function<void(Output&, std::stop_token)> body) {
  std::lock_guard guard(mutex_);
  reap();
  if (stopping_) throw base::Conflict("the daemon is stopping");
  if (works_.size() >= kMaxWorks)
    throw base::Conflict(
        "64 commands are at work already; wait until some are done (davit status)");
  Work& work = works_.emplace_back();
  try {
    work.thread = std::thread([&work, body = std::move(body)] {
      body(work.mailbox, work.stop.get_token());
      work.mailbox.finish();
      work.done.store(true);  // the last touch: from now on it may be reaped
    });
  } catch (...) {
    works_.pop_back();
    throw;
  }
  ::pthread_setname_np(work.thread.native_handle(), name.substr(0, 15).c_str());
  return work;
}

// True when all was written, false when the client went before.
bool Background::relay(Work& work, const Write& write, std::stop_token client_gone) {
  std::string lines;
  while (true) {
    const Mailbox::Taken taken = work.mailbox.take(lines, client_gone);
    if (taken == Mailbox::Taken::finished) return true;
    if (taken == Mailbox::Taken::stopped || client_gone.stop_requested()) return false;
    try {
      write(lines);
    } catch (...) {  // the connection's error: the client is gone
      return false;
    }
  }
}

void Background::run(const std::string& name, WhenClientGoes when_client_goes,
                     std::function<void(Output&, std::stop_token)> body, const Write& write,
                     std::stop_token client_gone) {
  Work& work = start(name, std::move(body));
  if (!relay(work, write, std::move(client_gone))) {
    const bool goes_on = when_client_goes == WhenClientGoes::go_on;
    work.mailbox.abandon();
    if (!goes_on) work.stop.request_stop();
    spdlog::info("the client of '{}' hung up; {}", name, goes_on ? "it goes on" : "it is stopped");
  }
  std::lock_guard guard(mutex_);
  work.attended = false;
}

}  // namespace davit::control
