#include "jobs/ping.h"

#include <algorithm>

#include "base/errors.h"
#include "base/log.h"

namespace davit::jobs {

using namespace std::chrono;

namespace {

constexpr size_t kMaxTextBytes = 10'000;  // what healthchecks.io keeps
constexpr size_t kMaxWaiting = 1'000;

const char* event_name(PingEvent event) {
  switch (event) {
    case PingEvent::start:
      return "start";
    case PingEvent::success:
      return "success";
    case PingEvent::failure:
      return "failure";
  }
  return "?";
}

// The beginning of a text, not ending within a UTF-8 character.
std::string bounded(const std::string& text) {
  if (text.size() <= kMaxTextBytes) return text;
  size_t end = kMaxTextBytes;
  while (end > kMaxTextBytes - 4 && (static_cast<uint8_t>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end);
}

}  // namespace

void check_ping_url(const std::string& url, const std::string& what) {
  if (url.empty() || wire::is_http_url(url)) return;
  throw base::UsageError(what + " is no http or https URL such as https://hc-ping.com/UUID");
}

std::string ping_url(const std::string& url, PingEvent event) {
  const size_t query = std::min(url.find_first_of("?#"), url.size());
  std::string path = url.substr(0, query);
  if (event != PingEvent::success) {
    while (!path.empty() && path.back() == '/') path.pop_back();
    path += event == PingEvent::start ? "/start" : "/fail";
  }
  return path + url.substr(query);
}

Pinger::Pinger(PingerOptions options)
    : options_(options), client_("davit"), thread_([this](std::stop_token stop) { work(stop); }) {}

Pinger::~Pinger() {
  wait_until_sent(options_.farewell);
  thread_.request_stop();
  thread_.join();
}

void Pinger::send(Ping ping) {
  if (ping.url.empty()) return;
  ping.text = bounded(ping.text);
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(waiting_, [&](const Ping& other) {
      return other.url == ping.url && other.event == PingEvent::start;
    });
    if (waiting_.size() >= kMaxWaiting) {
      spdlog::warn("ping for {} dropped: {} are waiting", waiting_.front().subject,
                   waiting_.size());
      waiting_.pop_front();
    }
    waiting_.push_back(std::move(ping));
  }
  changed_.notify_all();
}

bool Pinger::wait_until_sent(milliseconds limit) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, limit, [&] { return waiting_.empty() && !busy_; });
}

void Pinger::work(std::stop_token stop) {
  for (;;) {
    Ping ping;
    {
      std::unique_lock lock(mutex_);
      busy_ = false;
      changed_.notify_all();
      if (!changed_.wait(lock, stop, [&] { return !waiting_.empty(); }) || stop.stop_requested())
        break;
      ping = std::move(waiting_.front());
      waiting_.pop_front();
      busy_ = true;
    }
    deliver(ping, stop);
  }
  for (const Ping& ping : waiting_)
    spdlog::warn("ping ({}) for {} not sent: davit ends", event_name(ping.event), ping.subject);
}

void Pinger::deliver(const Ping& ping, std::stop_token stop) {
  wire::HttpRequest request;
  request.url = ping_url(ping.url, ping.event);
  request.secret_path = true;
  request.method = ping.text.empty() ? "GET" : "POST";
  request.body = ping.text;
  if (!ping.text.empty()) request.headers = {{"Content-Type", "text/plain; charset=utf-8"}};
  request.deadlines = {options_.attempt_limit, options_.attempt_limit, options_.attempt_limit};
  request.stop = stop;
  request.max_body_bytes = 64 << 10;
  const std::string what = std::string("ping (") + event_name(ping.event) + ") for " +
                           ping.subject + " to " + wire::masked_path_url(ping.url);
  auto pause = options_.first_pause;
  for (int attempt = 1;; ++attempt) {
    std::string why;
    bool again = false;
    try {
      const wire::HttpResponse response = client_.send(request);
      if (response.ok()) {
        spdlog::debug("{}: taken", what);
        return;
      }
      why = "the answer is HTTP " + std::to_string(response.status);
      again = wire::is_transient_status(response.status);
    } catch (const base::Cancelled&) {
      spdlog::warn("{} not sent: davit ends", what);
      return;
    } catch (const base::IoError& error) {
      why = error.what();
      again = error.transient();
    } catch (const std::exception& error) {  // whatever it is, no job suffers from it
      why = error.what();
    }
    if (!again || attempt >= options_.attempts) {
      spdlog::warn("{} failed after {} attempt(s): {}", what, attempt, why);
      return;
    }
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, stop, pause, [] { return false; });
    pause *= 2;
  }
}

}  // namespace davit::jobs
