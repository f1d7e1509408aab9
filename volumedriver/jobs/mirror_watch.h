// When each mirror is brought up to date: at start, after each change of the repository, every
// hour, and with growing pauses (1 minute, doubling up to 1 hour) while that fails. One thread of
// its own calls for it. Any thread may call anything.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace davit::jobs {

class MirrorWatch {
 public:
  // `places`: the mirrors that there are now. `synchronise` starts it and does not wait.
  MirrorWatch(std::function<std::vector<std::string>()> places,
              std::function<void(const std::string& place)> synchronise);
  ~MirrorWatch();  // stop()

  void start();
  void stop();
  void changed();  // all are due
  void failed(const std::string& place);
  void succeeded(const std::string& place);

 private:
  struct Turn {
    std::chrono::steady_clock::time_point due{};  // at once where it is new
    std::chrono::seconds pause{0};
  };
  void run();

  const std::function<std::vector<std::string>()> places_;
  const std::function<void(const std::string&)> synchronise_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::map<std::string, Turn> turns_;  // protected by mutex_, as are the flags
  bool changed_ = false, stopping_ = false;
  std::thread thread_;
};

}  // namespace davit::jobs
