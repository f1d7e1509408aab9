// The requests are byte for byte what Docker 20.10 and Podman 4.3 were seen to send.
#include "protocol/volume_plugin.h"

#include <gtest/gtest.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/errors.h"
#include "http/server.h"
#include "support/temp_dir.h"
#include "support/unix_client.h"

namespace davit::protocol {
namespace {

using nlohmann::json;
using test::eventually;
using test::UnixClient;
using Clock = std::chrono::steady_clock;

std::string docker(const std::string& call, const std::string& body) {
  return "POST /" + call +
         " HTTP/1.1\r\nHost: \r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: " +
         std::to_string(body.size()) +
         "\r\nAccept: application/vnd.docker.plugins.v1.2+json\r\n\r\n" + body;
}
std::string podman(const std::string& call, const std::string& body) {
  return "POST /" + call +
         " HTTP/1.1\r\nHost: plugin\r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: " +
         std::to_string(body.size()) +
         "\r\nContent-Type: application/vnd.docker.plugins.v1.1+json\r\n\r\n" + body;
}

// Notes what it is called with; each test sets what it answers.
class FakeDriver : public driver::Driver {
 public:
  void create(const std::string& name, const volumes::OptionMap& options,
              driver::Budget budget) override {
    note("create " + name);
    for (const auto& [key, value] : options) note(key + "=" + value);
    budget_ = budget.deadline - Clock::now();
    fail();
  }
  void remove(const std::string& name) override {
    note("remove " + name);
    fail();
  }
  std::string mount(const std::string& name, const std::string& id,
                    driver::Budget budget) override {
    note("mount " + name + " " + id);
    if (wait_for_stop && eventually([&] { return budget.stop.stop_requested(); })) {
      note("stopped");
      throw base::Cancelled();
    }
    fail();
    return mountpoint;
  }
  void unmount(const std::string& name, const std::string& id) override {
    note("unmount " + name + " " + id);
  }
  std::string path(const std::string& name) override {
    note("path " + name);
    return mountpoint;
  }
  std::optional<driver::VolumeInfo> get(const std::string& name) override {
    note("get " + name);
    fail();
    if (!info) return std::nullopt;
    info->name = name;
    return info;
  }
  std::vector<driver::VolumeInfo> list() override {
    note("list");
    fail();
    return all;
  }

  std::vector<std::string> calls() {
    return calls_.with([](auto& calls) { return calls; });
  }
  std::chrono::nanoseconds budget() const { return budget_; }

  // Each call throws an exception of its own.
  base::Synchronized<std::function<void()>> failure;
  std::string mountpoint = "/mnt/davit/volumes/v";
  std::optional<driver::VolumeInfo> info;
  std::vector<driver::VolumeInfo> all;
  std::atomic<bool> wait_for_stop{false};

 private:
  void fail() {
    const auto fail = failure.with([](const auto& function) { return function; });
    if (fail) fail();
  }
  void note(const std::string& what) {
    calls_.with([&](auto& calls) { calls.push_back(what); });
  }
  base::Synchronized<std::vector<std::string>> calls_;
  std::atomic<std::chrono::nanoseconds> budget_{};
};

struct Reply {
  int status = 0;  // 0: the connection was closed without an answer
  json body;
};

class VolumePluginTest : public ::testing::Test {
 protected:
  Reply ask(const std::string& request) {
    UnixClient client(server.path);
    const std::string answer = client.ask(request);
    if (answer.empty()) return {};
    EXPECT_NE(answer.find("Content-Type: application/vnd.docker.plugins.v1.1+json\r\n"),
              std::string::npos)
        << answer;
    return {std::stoi(answer.substr(9, 3)),
            json::parse(answer.substr(answer.find("\r\n\r\n") + 4))};
  }
  // Success: 200 and a body that Docker accepts.
  json get_good(const std::string& request) {
    const Reply reply = ask(request);
    EXPECT_EQ(reply.status, 200) << request;
    EXPECT_TRUE(reply.body.is_object());
    EXPECT_EQ(reply.body.value("Err", ""), "");
    return reply.body;
  }
  std::string get_error(const std::string& request) {
    const Reply reply = ask(request);
    EXPECT_EQ(reply.status, 500) << request;  // Podman ignores Err in a 200
    EXPECT_TRUE(reply.body.contains("Err"));
    return reply.body.value("Err", "");
  }
  void fail_with(const std::function<void()>& failure) {
    driver.failure.with([&](auto& fail) { fail = failure; });
  }

  test::TempDir dir;
  FakeDriver driver;
  Budgets budgets;
  VolumePlugin plugin{[this] { return budgets; }};
  http::ServerOptions server{.path = dir / "s"};
  http::Server running{server, [this](const http::Request& request, http::Responder& responder) {
                         plugin.handle(request, responder);
                       }};
};

class OpenVolumePluginTest : public VolumePluginTest {
 protected:
  OpenVolumePluginTest() { plugin.open(driver); }
};

TEST_F(OpenVolumePluginTest, ActivatesForBothEngines) {
  EXPECT_EQ(ask(docker("Plugin.Activate", "")).body,
            json::parse(R"({"Implements":["VolumeDriver"]})"));
  EXPECT_EQ(get_good(podman("Plugin.Activate", ""))["Implements"][0], "VolumeDriver");
  EXPECT_EQ(get_good(docker("VolumeDriver.Capabilities", "{}\n"))["Capabilities"]["Scope"],
            "local");
}

TEST_F(OpenVolumePluginTest, CreatesAsDockerAsks) {
  get_good(docker("VolumeDriver.Create",
                  "{\"Name\":\"proto-v1\",\"Opts\":{\"size\":\"1\",\"x\":\"y\"}}\n"));
  EXPECT_EQ(driver.calls(), (std::vector<std::string>{"create proto-v1", "size=1", "x=y"}));
  EXPECT_GT(driver.budget(), std::chrono::seconds(20));
}

TEST_F(OpenVolumePluginTest, OptionsMayBeNullAbsentOrEmpty) {
  get_good(docker("VolumeDriver.Create", "{\"Name\":\"a\",\"Opts\":null}\n"));
  get_good(podman("VolumeDriver.Create", "{\"Name\":\"b\"}"));
  get_good(docker("VolumeDriver.Create", "{\"Name\":\"c\",\"Opts\":{}}\n"));
  EXPECT_EQ(driver.calls(), (std::vector<std::string>{"create a", "create b", "create c"}));
  EXPECT_NE(get_error(docker("VolumeDriver.Create", "{\"Name\":\"d\",\"Opts\":{\"n\":1}}\n")), "");
  EXPECT_EQ(driver.calls().size(), 3u);
}

TEST_F(OpenVolumePluginTest, PodmanHasLessPatience) {
  get_good(podman("VolumeDriver.Create", "{\"Name\":\"a\"}"));
  EXPECT_LT(driver.budget(), std::chrono::seconds(5));
  // Newer engines: either sign is enough.
  get_good(
      "POST /VolumeDriver.Create HTTP/1.1\r\nHost: plugin\r\nContent-Length: "
      "12\r\n\r\n{\"Name\":\"a\"}");
  EXPECT_LT(driver.budget(), std::chrono::seconds(5));
  get_good(
      "POST /VolumeDriver.Create HTTP/1.1\r\nHost: plugin.moby.localhost\r\nContent-Length: "
      "12\r\n\r\n{\"Name\":\"a\"}");
  EXPECT_GT(driver.budget(), std::chrono::seconds(20));
  budgets.docker = std::chrono::seconds(100);
  get_good(docker("VolumeDriver.Create", "{\"Name\":\"a\"}\n"));
  EXPECT_GT(driver.budget(), std::chrono::seconds(90));
}

TEST_F(OpenVolumePluginTest, RepeatedRequestWithoutItsBodyDoesNothing) {
  for (const char* call :
       {"VolumeDriver.Create", "VolumeDriver.Remove", "VolumeDriver.Mount", "VolumeDriver.Path"})
    EXPECT_NE(get_error(docker(call, "")).find("without its body"), std::string::npos) << call;
  get_good(docker("VolumeDriver.Unmount", ""));
  // An error would be taken for "no such volume".
  EXPECT_EQ(ask(docker("VolumeDriver.Get", "")).status, 0);
  EXPECT_TRUE(driver.calls().empty());
}

TEST_F(OpenVolumePluginTest, SenselessRequestsDoNothing) {
  for (const char* body : {"{}", "null", "[]", "{\"Name\":7}", "{\"Name\":\"\"}", "{\"Name\":\"a\"",
                           "\"a\"", "{\"Name\":\"a\",\"Opts\":[]}", "{\"Name\":\"\xff\"}"}) {
    EXPECT_NE(get_error(docker("VolumeDriver.Remove", body)), "") << body;
    EXPECT_EQ(ask(docker("VolumeDriver.Get", body)).status, 0) << body;
  }
  EXPECT_NE(get_error(docker("VolumeDriver.Create", std::string(100'000, '['))), "");
  EXPECT_TRUE(driver.calls().empty());
  EXPECT_EQ(ask(docker("VolumeDriver.Frobnicate", "{}")).status, 404);
  EXPECT_EQ(ask(docker("", "{}")).status, 404);
}

TEST_F(OpenVolumePluginTest, FailureIsStatus500WithItsReason) {
  fail_with([] { throw base::Conflict("the volume is in use"); });
  EXPECT_EQ(get_error(docker("VolumeDriver.Create", "{\"Name\":\"a\"}\n")), "the volume is in use");
  EXPECT_EQ(get_error(podman("VolumeDriver.Remove", "{\"Name\":\"a\"}")), "the volume is in use");
  EXPECT_EQ(get_error(podman("VolumeDriver.Mount", "{\"Name\":\"a\",\"ID\":\"1\"}")),
            "the volume is in use");
  EXPECT_EQ(get_error(docker("VolumeDriver.List", "{}\n")), "the volume is in use");
  fail_with([] { throw base::Corrupt("the file b\xff\xfe is damaged"); });
  EXPECT_NE(get_error(docker("VolumeDriver.Create", "{\"Name\":\"a\"}\n")).find("is damaged"),
            std::string::npos);
  fail_with([] { throw std::bad_alloc(); });
  EXPECT_NE(get_error(docker("VolumeDriver.Create", "{\"Name\":\"a\"}\n")), "");
}

TEST_F(OpenVolumePluginTest, MountsAndUnmounts) {
  const std::string id(64, '4');
  EXPECT_EQ(get_good(docker("VolumeDriver.Mount",
                            "{\"Name\":\"v\",\"ID\":\"" + id + "\"}\n"))["Mountpoint"],
            "/mnt/davit/volumes/v");
  get_good(docker("VolumeDriver.Unmount", "{\"Name\":\"v\",\"ID\":\"" + id + "\"}\n"));
  EXPECT_EQ(get_good(docker("VolumeDriver.Path", "{\"Name\":\"v\"}\n"))["Mountpoint"],
            "/mnt/davit/volumes/v");
  EXPECT_EQ(driver.calls(),
            (std::vector<std::string>{"mount v " + id, "unmount v " + id, "path v"}));
}

TEST_F(OpenVolumePluginTest, NeverMountsAnEmptyPath) {
  for (const char* bad : {"", "relative"}) {
    driver.mountpoint = bad;
    EXPECT_NE(get_error(docker("VolumeDriver.Mount", "{\"Name\":\"v\",\"ID\":\"1\"}\n")), "");
  }
}

TEST_F(OpenVolumePluginTest, GetShowsTheVolume) {
  driver.info = driver::VolumeInfo{"v",
                                   "/mnt/davit/volumes/v",
                                   base::parse_rfc3339("2026-11-21T18:00:00Z"),
                                   {{"state", "ready"}}};
  const json volume = get_good(docker("VolumeDriver.Get", "{\"Name\":\"v\"}\n"))["Volume"];
  EXPECT_EQ(
      volume,
      json::parse(
          R"({"Name":"v","Mountpoint":"/mnt/davit/volumes/v","CreatedAt":"2026-11-21T18:00:00Z","Status":{"state":"ready"}})"));
  driver.info->created.reset();
  driver.info->status.clear();
  const json bare = get_good(podman("VolumeDriver.Get", "{\"Name\":\"v\"}"))["Volume"];
  EXPECT_FALSE(bare.contains("CreatedAt"));  // Docker takes "" for "no such volume"
  EXPECT_TRUE(bare["Status"].is_object());
}

TEST_F(OpenVolumePluginTest, GetSaysGoneOnlyOfWhatIsGone) {
  EXPECT_NE(get_error(docker("VolumeDriver.Get", "{\"Name\":\"v\"}\n")).find("no volume v"),
            std::string::npos);
  EXPECT_NE(get_error(podman("VolumeDriver.Get", "{\"Name\":\"v\"}")), "");
  // Anything else would make the engine forget labels and options for good.
  fail_with([] { throw base::IoError("the disk does not answer", EIO); });
  EXPECT_EQ(ask(docker("VolumeDriver.Get", "{\"Name\":\"v\"}\n")).status, 0);
  fail_with([] { throw base::NoRepository("there is no repository"); });
  EXPECT_EQ(ask(docker("VolumeDriver.Get", "{\"Name\":\"v\"}\n")).status, 0);
  fail_with([] { throw std::bad_alloc(); });
  EXPECT_EQ(ask(docker("VolumeDriver.Get", "{\"Name\":\"v\"}\n")).status, 0);
}

TEST_F(OpenVolumePluginTest, ListsForBothEngines) {
  driver.all = {{"a", "/mnt/davit/volumes/a", {}, {}}, {"b", "/mnt/davit/volumes/b", {}, {}}};
  const json expected = json::parse(
      R"([{"Name":"a","Mountpoint":"/mnt/davit/volumes/a"},{"Name":"b","Mountpoint":"/mnt/davit/volumes/b"}])");
  EXPECT_EQ(get_good(docker("VolumeDriver.List", "{}\n"))["Volumes"], expected);
  EXPECT_EQ(get_good(podman("VolumeDriver.List", ""))["Volumes"], expected);
  driver.all.clear();
  EXPECT_EQ(get_good(docker("VolumeDriver.List", "{}\n"))["Volumes"], json::array());
}

TEST_F(OpenVolumePluginTest, CallEndsWhenItsEngineHangsUp) {
  driver.wait_for_stop = true;
  UnixClient client(server.path);
  client.say(docker("VolumeDriver.Mount", "{\"Name\":\"v\",\"ID\":\"1\"}\n"));
  ASSERT_TRUE(eventually([&] { return !driver.calls().empty(); }));
  client.close();
  EXPECT_TRUE(eventually([&] { return driver.calls().back() == "stopped"; }));
}

TEST_F(VolumePluginTest, BeforeItIsReadyCallsWait) {
  get_good(docker("Plugin.Activate", ""));
  get_good(docker("VolumeDriver.Capabilities", "{}\n"));
  get_good(docker("VolumeDriver.Unmount",
                  "{\"Name\":\"v\",\"ID\":\"1\"}\n"));  // holds up a container's end otherwise
  UnixClient get(server.path), list(server.path);
  get.say(docker("VolumeDriver.Get", "{\"Name\":\"v\"}\n"));
  list.say(docker("VolumeDriver.List", "{}\n"));
  driver.info = driver::VolumeInfo{"v", "/mnt/davit/volumes/v", {}, {}};
  plugin.open(driver);
  EXPECT_TRUE(get.hear().starts_with("HTTP/1.1 200"));
  EXPECT_TRUE(list.hear().starts_with("HTTP/1.1 200"));
}

TEST_F(VolumePluginTest, WhatWaitsTooLongGetsNoAnswer) {
  budgets = {std::chrono::milliseconds(10), std::chrono::milliseconds(10)};
  for (const char* call :
       {"VolumeDriver.Get", "VolumeDriver.Create", "VolumeDriver.List", "VolumeDriver.Mount"})
    EXPECT_EQ(ask(docker(call, "{\"Name\":\"v\"}\n")).status, 0) << call;
}

TEST_F(VolumePluginTest, RefusalTellsWhyButNeverInGet) {
  plugin.refuse("this is not the data directory");
  for (const char* call : {"VolumeDriver.Create", "VolumeDriver.Mount", "VolumeDriver.Remove",
                           "VolumeDriver.List", "VolumeDriver.Path"})
    EXPECT_EQ(get_error(docker(call, "{\"Name\":\"v\"}\n")), "this is not the data directory")
        << call;
  EXPECT_EQ(ask(docker("VolumeDriver.Get", "{\"Name\":\"v\"}\n")).status, 0);
  get_good(docker("VolumeDriver.Unmount", "{\"Name\":\"v\",\"ID\":\"1\"}\n"));
  EXPECT_TRUE(driver.calls().empty());
}

}  // namespace
}  // namespace davit::protocol
