// Work that was asked for over a connection and may outlive it. Each runs in a thread of its own;
// what it reports is relayed to the client while there is one.
#pragma once

#include <atomic>
#include <functional>
#include <list>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>

#include "control/output.h"

namespace davit::control {

class Background {
 public:
  Background() = default;
  // Requests all work to stop and waits for it.
  ~Background();
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;

  enum class WhenClientGoes { go_on, stop };
  // Returns when the work has ended and all it sent was written, or at once when `client_gone`
  // fires or `write` throws: then the work goes on or is told to stop, and ends on its own time.
  // `work` must not throw. Throws Conflict when too many run. Any thread.
  void run(const std::string& name, WhenClientGoes when_client_goes,
           std::function<void(Output&, std::stop_token)> work, const Write& write,
           std::stop_token client_gone);
  // Requests all work to stop, now and from now on; for the daemon's end.
  void stop();

 private:
  struct Work {
    Mailbox mailbox;
    std::stop_source stop;
    std::atomic<bool> done{false};
    bool attended = true;  // protected by mutex_: a run() still looks at it
    std::thread thread;
  };
  bool relay(Work& work, const Write& write, std::stop_token client_gone);
  Work& start(const std::string& name, std::function<void(Output&, std::stop_token)> work);
  void reap();  // mutex_ held: forgets what is done and unattended

  std::mutex mutex_;
  std::list<Work> works_;  // protected by mutex_; a Work itself stays where it is
  bool stopping_ = false;
};

}  // namespace davit::control
