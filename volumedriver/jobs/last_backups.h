// Removed volumes whose last backup failed: when each is tried again (1 minute, doubling up to 1 hour), and why it
// failed. One thread of its own calls back when a pause is over. Any thread may call anything.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace davit::jobs {

class LastBackups {
 public:
  explicit LastBackups(std::function<void(const std::string& uuid)> try_again);
  ~LastBackups();  // stop()

  void failed(const std::string& uuid, const std::string& why);
  void succeeded(const std::string& uuid);
  // Failed lately, and its next try is still to come.
  bool is_pausing(const std::string& uuid) const;
  std::optional<std::string> failure(const std::string& uuid) const;
  // Returns when something changed, or after this long.
  void wait(std::chrono::milliseconds most);
  void stop();

 private:
  struct Pause {
    std::chrono::steady_clock::time_point until;
    std::chrono::seconds length{0};
    std::string why;
  };
  void run();

  const std::function<void(const std::string&)> try_again_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, Pause> pauses_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace davit::jobs
