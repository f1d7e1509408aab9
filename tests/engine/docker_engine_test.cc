#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/errors.h"
#include "base/synchronized.h"
#include "engine/engine.h"
#include "support/raw_server.h"
#include "support/temp_dir.h"

namespace davit::engine {
namespace {

using base::IoError;
using test::RawServer;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

// An engine that answers _ping with some headers, and anything else with one status and body.
class FakeEngine {
 public:
  explicit FakeEngine(std::string ping_headers, int status = 200, std::string body = "[]",
                      std::string path = {})
      : answer_(Answer{std::move(ping_headers), status, std::move(body)}),
        server_(
            [this](RawServer::Connection& connection) {
              for (RawServer::Request request; connection.read(request);) {
                lines_.with(
                    [&](std::vector<std::string>& lines) { lines.push_back(request.line); });
                const Answer answer = answer_.with([](const Answer& value) { return value; });
                if (request.line == "GET /_ping HTTP/1.1")
                  connection.answer(200, "OK", answer.ping_headers);
                else
                  connection.answer(answer.status, answer.body);
              }
            },
            path) {}
  void change(std::string ping_headers, int status, std::string body) {
    answer_.with([&](Answer& value) {
      value = {std::move(ping_headers), status, std::move(body)};
    });
  }
  std::string host() const { return "tcp://127.0.0.1:" + std::to_string(server_.port()); }
  std::vector<std::string> lines() const {
    return lines_.with([](const std::vector<std::string>& lines) { return lines; });
  }

 private:
  struct Answer {
    std::string ping_headers;
    int status;
    std::string body;
  };
  base::Synchronized<Answer> answer_;
  base::Synchronized<std::vector<std::string>> lines_;
  RawServer server_;
};

const char* const kDocker = "Api-Version: 1.41\r\nServer: Docker/20.10.24 (linux)\r\n";
const char* const kPodman =
    "Api-Version: 1.41\r\nLibpod-Api-Version: 4.3.1\r\nServer: Libpod/4.3.1 (linux)\r\n";

TEST(DockerEngine, TellsDockerFromPodman) {
  FakeEngine docker(kDocker), podman(kPodman);
  EXPECT_EQ(make_engine(docker.host())->kind(), Kind::docker);
  EXPECT_EQ(make_engine(podman.host())->kind(), Kind::podman);
}

TEST(DockerEngine, NegotiatesAVersionBothKnow) {
  const auto version = [](const char* offered) {
    FakeEngine engine(std::string("Api-Version: ") + offered + "\r\n");
    return make_engine(engine.host())->api_version();
  };
  EXPECT_EQ(version("1.41"), "1.41");
  EXPECT_EQ(version("1.43"), "1.43");
  EXPECT_EQ(version("1.52"), "1.45");
  EXPECT_THROW(version("1.40"), base::Unsupported);
  EXPECT_THROW(version("2.0"), IoError);
  EXPECT_THROW(version("1."), IoError);
}

TEST(DockerEngine, ListsTheContainersOfAVolume) {
  FakeEngine engine(kDocker, 200, R"([
    {"Id":"aa11","Names":["/web/db","/db"],"State":"running","Labels":{"com.docker.compose.project":"shop","davit.commit":"true"},
     "Mounts":[{"Type":"volume","Name":"pgdata","Destination":"/data"},{"Type":"bind","Source":"/etc","Destination":"/x"}]},
    {"Id":"bb22","Names":["/old"],"State":"exited","Labels":null,"Mounts":[{"Type":"volume","Name":"pgdata"}]},
    {"Id":"cc33","Names":["/other"],"State":"running","Labels":{},
     "Mounts":[{"Type":"volume","Name":"unlike","Destination":"pgdata"}]},
    {"Id":"dd44","Names":["/bare"],"State":"paused"}])");
  const auto client = make_engine(engine.host());
  const auto containers = client->containers_using("pgdata");
  ASSERT_EQ(containers.size(), 3u);
  EXPECT_EQ(containers[0].id, "aa11");
  EXPECT_EQ(containers[0].name, "db");
  EXPECT_TRUE(containers[0].is_running());
  EXPECT_EQ(containers[0].labels.at("com.docker.compose.project"), "shop");
  EXPECT_EQ(containers[1].name, "old");
  EXPECT_FALSE(containers[1].is_running());
  EXPECT_EQ(containers[2].id, "dd44");
  EXPECT_TRUE(containers[2].is_running());
  EXPECT_THAT(
      engine.lines(),
      ElementsAre(
          "GET /_ping HTTP/1.1",
          "GET /v1.41/containers/json?all=1&filters=%7B%22volume%22%3A%5B%22pgdata%22%5D%7D "
          "HTTP/1.1"));
  client->containers_using("pgdata");
  EXPECT_EQ(engine.lines().size(), 3u) << "it is greeted once";
}

TEST(DockerEngine, AfterAnUpgradeItNegotiatesAgain) {
  FakeEngine engine("Api-Version: 1.44\r\n");
  const auto client = make_engine(engine.host());
  EXPECT_EQ(client->api_version(), "1.44");
  engine.change("Api-Version: 1.42\r\n", 400, R"({"message":"client version 1.44 is too new"})");
  EXPECT_THROW(client->containers_using("v"), IoError);
  engine.change("Api-Version: 1.42\r\n", 200, "[]");
  EXPECT_TRUE(client->containers_using("v").empty());
  EXPECT_EQ(client->api_version(), "1.42");
}

TEST(DockerEngine, ARefusalHasTheEnginesWords) {
  FakeEngine engine(kDocker, 500, R"({"message":"no space left"})");
  try {
    make_engine(engine.host())->containers_using("v");
    FAIL();
  } catch (const IoError& error) {
    EXPECT_STREQ(error.what(), "the engine refused /containers/json: no space left");
    EXPECT_TRUE(error.transient());
  }
}

TEST(DockerEngine, NonsenseIsCorrupt) {
  for (const char* body :
       {"", "{", "{}x", "[1]", R"([{"Id":1,"State":"running"}])", R"([{"Id":"a"}])", "\xff"}) {
    FakeEngine engine(kDocker, 200, body);
    EXPECT_THROW(make_engine(engine.host())->containers_using("v"), base::Corrupt) << body;
  }
}

TEST(DockerEngine, ASilentEngineEndsWithinSeconds) {
  RawServer silent([](RawServer::Connection& connection) { connection.wait_for_end(); });
  try {
    make_engine("tcp://127.0.0.1:" + std::to_string(silent.port()))->kind();
    FAIL();
  } catch (const IoError& error) {
    EXPECT_TRUE(error.transient());
  }
}

TEST(DockerEngine, ConnectsOnceTheEngineIsThere) {
  test::TempDir directory;
  const auto client = make_engine("unix://" + (directory / "s"));
  EXPECT_THROW(client->kind(), IoError);
  FakeEngine engine(kPodman, 200, "[]", directory / "s");
  EXPECT_EQ(client->kind(), Kind::podman);
}

TEST(DockerEngine, AddressesThatAreNoneAreRefused) {
  for (const char* host :
       {"ssh://me@host", "unix://", "unix://relative", "npipe:////./pipe", "tcp://", "host:2375"})
    EXPECT_THROW(make_engine(host), base::UsageError) << host;
  EXPECT_NO_THROW(make_engine(""));
}

TEST(DockerEngine, NamesOfAnyBytesStayInTheFilter) {
  FakeEngine engine(kDocker);
  make_engine(engine.host())->containers_using("a\"]},\xff&x=1");
  EXPECT_THAT(
      engine.lines().back(),
      AllOf(HasSubstr("filters=%7B%22volume%22%3A%5B%22a%5C%22%5D%7D%2C"), HasSubstr("%26x%3D1")));
}

}  // namespace
}  // namespace davit::engine
