// Tells a monitor in the manner of healthchecks.io that a run has begun (URL/start), is done (URL),
// or has failed (URL/fail, the reason as the body). So a failure is noticed, and so is a run that
// never came.
//
// A ping never fails or delays a job: send() only queues. One thread sends, in order, with a few
// attempts; a ping that is not taken is logged as a warning. The path of the URL is a secret
// (whoever knows it can ping) and is never logged.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>

#include "wire/http_client.h"

namespace davit::jobs {

enum class PingEvent : uint8_t { start, success, failure };

struct Ping {
  std::string url;      // "": nothing is sent
  std::string subject;  // for the log: "volume pgdata"
  PingEvent event = PingEvent::success;
  std::string text;  // a reason or summary, without secrets; at most 10,000 bytes are sent
};

// Throws UsageError, for settings and driver options: `what` names the setting. Never shows the
// URL's path.
void check_ping_url(const std::string& url, const std::string& what);
// "/start" and "/fail" go before a query.
std::string ping_url(const std::string& url, PingEvent event);

struct PingerOptions {
  int attempts = 4;
  std::chrono::milliseconds first_pause{1'000};  // doubles with each attempt
  std::chrono::milliseconds attempt_limit{10'000};
  // How long the destructor lets pings that still wait try.
  std::chrono::milliseconds farewell{3'000};
};

class Pinger {
 public:
  explicit Pinger(PingerOptions options = {});
  ~Pinger();
  Pinger(const Pinger&) = delete;
  Pinger& operator=(const Pinger&) = delete;

  // Any thread. A start that still waits is dropped when its end is sent: it tells nothing any
  // more.
  void send(Ping ping);
  // Waits until all are sent or given up; false at the deadline.
  bool wait_until_sent(std::chrono::milliseconds limit);

 private:
  void work(std::stop_token stop);
  void deliver(const Ping& ping, std::stop_token stop);

  const PingerOptions options_;
  wire::HttpClient client_;
  std::mutex mutex_;  // guards the next three
  std::condition_variable_any changed_;
  std::deque<Ping> waiting_;
  bool busy_ = false;
  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace davit::jobs
