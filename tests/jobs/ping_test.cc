#include "jobs/ping.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>

#include <sstream>

#include "base/errors.h"
#include "base/log.h"
#include "base/synchronized.h"
#include "support/raw_server.h"

namespace davit::jobs {
namespace {

using namespace std::chrono_literals;
using test::RawServer;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

// Gives each request the next of its answers (the last one for ever), and remembers what was asked.
class Monitor {
 public:
  explicit Monitor(std::vector<int> statuses)
      : statuses_(std::move(statuses)), server_([this](RawServer::Connection& connection) {
          for (RawServer::Request request; connection.read(request);) {
            const int status = asked_.with([&](std::vector<RawServer::Request>& asked) {
              asked.push_back(request);
              return statuses_[std::min(asked.size(), statuses_.size()) - 1];
            });
            connection.answer(status, "OK");
          }
        }) {}
  std::string url(const std::string& path) const { return server_.url(path); }
  std::vector<RawServer::Request> asked() const {
    return asked_.with([](const std::vector<RawServer::Request>& asked) { return asked; });
  }
  std::vector<std::string> lines() const {
    std::vector<std::string> result;
    for (const auto& request : asked()) result.push_back(request.line);
    return result;
  }

 private:
  std::vector<int> statuses_;
  base::Synchronized<std::vector<RawServer::Request>> asked_;
  RawServer server_;
};

class PingTest : public testing::Test {
 protected:
  PingTest() : before_(spdlog::default_logger()) {
    auto logger = std::make_shared<spdlog::logger>(
        "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log_));
    logger->set_level(spdlog::level::trace);
    spdlog::set_default_logger(logger);
  }
  ~PingTest() override { spdlog::set_default_logger(before_); }

  static PingerOptions quick() {
    return {.attempts = 3, .first_pause = 1ms, .attempt_limit = 5s, .farewell = 10s};
  }
  // Sends all, and ends.
  void send(const std::vector<Ping>& pings, PingerOptions options = quick()) {
    Pinger pinger(options);
    for (const Ping& ping : pings) {
      pinger.send(ping);
      ASSERT_TRUE(pinger.wait_until_sent(30s));
    }
  }

  std::ostringstream log_;

 private:
  std::shared_ptr<spdlog::logger> before_;
};

TEST_F(PingTest, StartSuccessAndFailHaveTheirPaths) {
  EXPECT_EQ(ping_url("https://hc/u", PingEvent::start), "https://hc/u/start");
  EXPECT_EQ(ping_url("https://hc/u/", PingEvent::failure), "https://hc/u/fail");
  EXPECT_EQ(ping_url("https://hc/u", PingEvent::success), "https://hc/u");
  EXPECT_EQ(ping_url("https://hc/u?rid=1", PingEvent::failure), "https://hc/u/fail?rid=1");
}

TEST_F(PingTest, OneAfterTheOther) {
  Monitor monitor({200});
  send({{monitor.url("/uuid"), "volume v", PingEvent::start, ""},
        {monitor.url("/uuid"), "volume v", PingEvent::success, "3 files"},
        {monitor.url("/uuid"), "volume v", PingEvent::failure, "the disk is full"}});
  EXPECT_THAT(monitor.lines(), ElementsAre("GET /uuid/start HTTP/1.1", "POST /uuid HTTP/1.1",
                                           "POST /uuid/fail HTTP/1.1"));
  EXPECT_EQ(monitor.asked()[2].body, "the disk is full");
}

TEST_F(PingTest, NothingIsSentWithoutAUrl) {
  Monitor monitor({200});
  send({{"", "volume v", PingEvent::failure, "x"}});
  EXPECT_TRUE(monitor.asked().empty());
}

TEST_F(PingTest, ALongReasonIsCutAtACharacter) {
  Monitor monitor({200});
  std::string text(9'999, 'x');
  for (int i = 0; i < 100; ++i) text += "ä";
  send({{monitor.url("/u"), "v", PingEvent::failure, text},
        {monitor.url("/u"), "v", PingEvent::failure, std::string(99'999, 'y')}});
  EXPECT_EQ(monitor.asked()[0].body, std::string(9'999, 'x'));
  EXPECT_EQ(monitor.asked()[1].body.size(), 10'000u);
}

TEST_F(PingTest, TriesAgainWhileItMayHelp) {
  Monitor recovering({503, 429, 200});
  send({{recovering.url("/u"), "volume v", PingEvent::success, ""}});
  EXPECT_EQ(recovering.asked().size(), 3u);
  EXPECT_THAT(log_.str(), Not(HasSubstr("failed")));
  Monitor gone({404});
  send({{gone.url("/u"), "volume v", PingEvent::success, ""}});
  EXPECT_EQ(gone.asked().size(), 1u) << "an unknown check stays unknown";
  Monitor broken({500});
  send({{broken.url("/u"), "volume v", PingEvent::success, ""}});
  EXPECT_EQ(broken.asked().size(), 3u);
  EXPECT_THAT(log_.str(), AllOf(HasSubstr("failed after 1 attempt(s): the answer is HTTP 404"),
                                HasSubstr("failed after 3 attempt(s): the answer is HTTP 500")));
}

TEST_F(PingTest, TheLogShowsSubjectAndHostButNoPath) {
  send({{"http://127.0.0.1:1/5f0a1b-secret", "volume pgdata", PingEvent::failure, "why"},
        {"nonsense secret", "volume x", PingEvent::failure, "why"}});
  EXPECT_THAT(log_.str(),
              AllOf(HasSubstr("ping (failure) for volume pgdata to http://127.0.0.1:1/… failed"),
                    Not(HasSubstr("secret"))));
  Monitor monitor({200});
  send({{monitor.url("/5f0a1b-secret"), "volume v", PingEvent::success, ""}});
  EXPECT_THAT(log_.str(), AllOf(HasSubstr("taken"), Not(HasSubstr("secret"))));
}

TEST_F(PingTest, AStartThatStillWaitsIsDroppedForItsEnd) {
  base::Synchronized<std::vector<std::string>> lines;
  std::mutex gate;
  gate.lock();
  RawServer server([&](RawServer::Connection& connection) {
    for (RawServer::Request request; connection.read(request);) {
      lines.with([&](std::vector<std::string>& all) { all.push_back(request.line); });
      const std::lock_guard wait(gate);
      connection.answer(200, "");
    }
  });
  {
    Pinger pinger(quick());
    pinger.send({server.url("/a"), "a", PingEvent::success, ""});
    while (lines.with([](const std::vector<std::string>& all) { return all.empty(); }))
      std::this_thread::yield();
    pinger.send({server.url("/b"), "b", PingEvent::start, ""});
    pinger.send({server.url("/c"), "c", PingEvent::start, ""});
    pinger.send({server.url("/b"), "b", PingEvent::failure, ""});
    gate.unlock();
  }
  EXPECT_THAT(lines.with([](const std::vector<std::string>& all) { return all; }),
              ElementsAre("GET /a HTTP/1.1", "GET /c/start HTTP/1.1", "GET /b/fail HTTP/1.1"));
}

TEST_F(PingTest, EndsSoonAlthoughTheMonitorIsSilent) {
  RawServer silent([](RawServer::Connection& connection) { connection.wait_for_end(); });
  {
    Pinger pinger({.attempts = 100, .first_pause = 1h, .attempt_limit = 1h, .farewell = 50ms});
    for (int i = 0; i < 5; ++i)
      pinger.send({silent.url("/u" + std::to_string(i)), "v", PingEvent::failure, "x"});
  }  // comes back: neither the hours nor the attempts hold it
  EXPECT_THAT(log_.str(), HasSubstr("not sent: davit ends"));
}

TEST_F(PingTest, UrlsAreChecked) {
  EXPECT_NO_THROW(check_ping_url("", "ping"));
  EXPECT_NO_THROW(check_ping_url("https://hc-ping.com/u", "ping"));
  for (const char* url : {"hc-ping.com", "ftp://x/y", "https://", "secret"}) {
    try {
      check_ping_url(url, "option 'ping'");
      FAIL() << url;
    } catch (const base::UsageError& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr("option 'ping'"), Not(HasSubstr("secret"))));
    }
  }
}

}  // namespace
}  // namespace davit::jobs
