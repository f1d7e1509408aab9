// The short calls: what is sent, and what refusals become.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "base/errors.h"
#include "engine/scripted_engine.h"

namespace davit::engine {
namespace {

using namespace std::chrono_literals;
using base::IoError;
using test::ScriptedEngine;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

TEST(EngineCalls, GoWhereTheApiHasThem) {
  ScriptedEngine engine(ScriptedEngine::saying(200, R"({"Id":"x","Name":"n"})"));
  const auto client = engine.client();
  client->changes("c");
  client->pause("c");
  client->unpause("c");
  client->create_container("n a", R"({"Image":"i"})");
  client->start_container("c");
  client->stop_container("c", 7s);
  client->remove_container("c", true);
  client->remove_container("c/../d?e", false);
  client->remove_image("localhost/davit/c:t");
  client->tag_image("sha256:aa", "a/b", "t");
  client->create_network(R"({"Name":"n"})");
  client->find_network("n");
  client->connect_network("n", "{}");
  client->remove_network("n");
  client->create_volume(R"({"Name":"v"})");
  client->find_volume("v");
  client->remove_volume("v");
  std::string all;
  for (const std::string& line : engine.asked()) all += line.substr(0, line.rfind(' ')) + "\n";
  EXPECT_EQ(all,
            "GET /v1.41/containers/c/changes\n"
            "POST /v1.41/containers/c/pause\n"
            "POST /v1.41/containers/c/unpause\n"
            "POST /v1.41/containers/create?name=n%20a\n"
            "POST /v1.41/containers/c/start\n"
            "POST /v1.41/containers/c/stop?t=7\n"
            "DELETE /v1.41/containers/c?force=1&v=0\n"
            "DELETE /v1.41/containers/c%2F..%2Fd%3Fe?force=0&v=0\n"
            "DELETE /v1.41/images/localhost/davit/c%3At?noprune=1&force=0\n"
            "POST /v1.41/images/sha256%3Aaa/tag?repo=a%2Fb&tag=t\n"
            "POST /v1.41/networks/create\n"
            "GET /v1.41/networks/n\n"
            "POST /v1.41/networks/n/connect\n"
            "DELETE /v1.41/networks/n\n"
            "POST /v1.41/volumes/create\n"
            "GET /v1.41/volumes/v\n"
            "DELETE /v1.41/volumes/v\n");
}

TEST(EngineCalls, BodiesAreJsonAndNetworksAreNotDoubled) {
  std::string seen;
  ScriptedEngine engine([&](ScriptedEngine::Connection& connection, ScriptedEngine::Request& request) {
    connection.read_body(request);
    seen = request.head + request.body;
    return connection.answer(201, R"({"Id":"x"})");
  });
  const auto client = engine.client();
  EXPECT_EQ(client->create_network(R"({"Name":"n"})"), "x");
  EXPECT_THAT(seen, testing::AllOf(HasSubstr("Content-Type: application/json"), HasSubstr(R"("CheckDuplicate":true)")));
  client->create_volume(R"({"Name": "v"})");
  EXPECT_THAT(seen, HasSubstr(R"({"Name": "v"})"));
}

TEST(EngineCalls, RefusalsAreErrorsOfTheirKind) {
  const auto refused = [](int status, const std::string& words) {
    ScriptedEngine engine(ScriptedEngine::saying(status, R"({"message":")" + words + R"("})"));
    engine.client()->pause("c");
  };
  EXPECT_THROW(refused(404, "No such container: c"), base::NotFound);
  EXPECT_THROW(refused(409, "Container c is already paused"), base::Conflict);
  EXPECT_THROW(refused(400, "bad parameter"), base::UsageError);
  EXPECT_THROW(refused(403, "forbidden"), base::Error);
  for (const char* words : {"c is already paused: container state improper", "Container c is not paused",
                            "the container name is in use by x: that name is already in use",
                            "network name n already used: network already exists"})
    EXPECT_THROW(refused(500, words), base::Conflict) << words;
  EXPECT_THROW(refused(500, "no volume plugin with name x: required plugin missing"), base::NotFound);
  for (const auto& [status, words, transient] :
       {std::tuple(500, "no space left", true), std::tuple(503, "starting", true), std::tuple(501, "swarm", false),
        std::tuple(500, "payload does not match any of the supported image formats", false)}) {
    try {
      refused(status, words);
      ADD_FAILURE();
    } catch (const IoError& error) {
      EXPECT_EQ(error.transient(), transient) << words;
      EXPECT_EQ(dynamic_cast<const NoAnswer*>(&error), nullptr) << "it is one: " << words;
      EXPECT_EQ(error.what(), std::string("the engine refused POST /containers/c/pause: ") + words);
    }
  }
}

TEST(EngineCalls, WhatIsGoneAlreadyNeedsNoRemoval) {
  ScriptedEngine engine(ScriptedEngine::saying(404, R"({"message":"No such thing"})"));
  const auto client = engine.client();
  EXPECT_NO_THROW(client->remove_container("c", false));
  EXPECT_NO_THROW(client->remove_image("i:t"));
  EXPECT_NO_THROW(client->remove_network("n"));
  EXPECT_NO_THROW(client->remove_volume("v"));
  EXPECT_FALSE(client->find_image("i:t"));
  EXPECT_FALSE(client->find_network("n"));
  EXPECT_FALSE(client->find_volume("v"));
  EXPECT_THROW(client->start_container("c"), base::NotFound);
  EXPECT_THROW(client->tag_image("i:t", "a", "b"), base::NotFound);
}

TEST(EngineCalls, WhatStandsAlreadyNeedsNoStartOrStop) {
  ScriptedEngine engine([](ScriptedEngine::Connection& connection, ScriptedEngine::Request& request) {
    return connection.read_body(request) && connection.write("HTTP/1.1 304 Not Modified\r\n\r\n");
  });
  EXPECT_NO_THROW(engine.client()->start_container("c"));
  EXPECT_NO_THROW(engine.client()->stop_container("c", 1s));
}

TEST(EngineCalls, TheBeginningOfAnIdIsNoName) {
  const std::string id = "abcdef012345" + std::string(52, '0');
  ScriptedEngine engine(ScriptedEngine::saying(
      200, R"({"Id":")" + id + R"(","Name":"/db","State":{},"Config":{}})"));
  const auto client = engine.client();
  EXPECT_THROW(client->inspect_container("abc"), base::NotFound) << "a name that is the beginning of another's ID";
  EXPECT_EQ(client->inspect_container("db").id, id);
  EXPECT_EQ(client->inspect_container(id).name, "db");
  EXPECT_EQ(client->inspect_container("abcdef012345").name, "db");
  EXPECT_THROW(client->inspect_container("abcdef012346"), base::NotFound);
  ScriptedEngine network(ScriptedEngine::saying(200, R"({"Id":"abc","Name":"front"})"));
  EXPECT_FALSE(network.client()->find_network("abc"));
  EXPECT_TRUE(network.client()->find_network("front"));
}

TEST(EngineCalls, NoProcessesMeansThatItDoesNotRun) {
  ScriptedEngine podman(ScriptedEngine::saying(200, "\n"), test::kPodman);
  EXPECT_THROW(podman.client()->top("c"), base::Conflict);
  ScriptedEngine docker(ScriptedEngine::saying(200, R"({"Processes":[["1"]],"Titles":["PID"]})"));
  EXPECT_EQ(docker.client()->top("c"), R"({"Processes":[["1"]],"Titles":["PID"]})");
}

TEST(EngineCalls, FiltersSayWhatIsWanted) {
  ScriptedEngine engine(ScriptedEngine::saying(200, "[]"));
  const auto client = engine.client();
  client->list_containers();
  client->list_containers("davit.commit=true");
  client->list_images({{"davit.point", "01"}, {"davit.host", ""}}, true);
  client->list_images({}, false);
  EXPECT_THAT(engine.asked(),
              ElementsAre("GET /v1.41/containers/json?all=1 HTTP/1.1",
                          "GET /v1.41/containers/json?all=1&filters=%7B%22label%22%3A%5B%22davit.commit%3Dtrue%22%5D%7D HTTP/1.1",
                          "GET /v1.41/images/json?filters=%7B%22dangling%22%3A%5B%22true%22%5D%2C%22label%22%3A%5B%22davit.host%22%2C"
                          "%22davit.point%3D01%22%5D%7D HTTP/1.1",
                          "GET /v1.41/images/json?filters=%7B%7D HTTP/1.1"));
}

TEST(EngineCalls, InfoNamesManagedPluginsOfDockerToo) {
  const auto handle = [](ScriptedEngine::Connection& connection, ScriptedEngine::Request& request) {
    const auto asks = [&](const char* what) { return request.line.find(what) != std::string::npos; };
    return connection.answer(
        200, asks("/info")      ? R"({"Driver":"overlay2","Plugins":{"Volume":["local"],"Network":["bridge"]}})"
             : asks("/version") ? R"({"Version":"20.10.24","Arch":"amd64"})"
                                : R"([{"Name":"davit:latest","Enabled":true,"Config":{"Interface":{"Types":["docker.volumedriver/1.0"]}}}])");
  };
  ScriptedEngine docker(handle), podman(handle, test::kPodman);
  const EngineInfo info = docker.client()->info();
  EXPECT_EQ(info.kind, Kind::docker);
  EXPECT_EQ(info.api_version, "1.41");
  EXPECT_THAT(info.volume_drivers, ElementsAre("local", "davit:latest"));
  EXPECT_THAT(podman.client()->info().volume_drivers, ElementsAre("local"));
  EXPECT_THAT(podman.asked(), Not(testing::Contains(HasSubstr("/plugins"))));
}

TEST(EngineCalls, AnEngineThatSaysNothingEndsWithinItsPatience) {
  ScriptedEngine engine([](ScriptedEngine::Connection& connection, ScriptedEngine::Request&) {
    connection.wait_for_end();
    return false;
  });
  const auto client = engine.client({.question = 50ms, .change = 60ms});
  for (const std::function<void()>& call : std::initializer_list<std::function<void()>>{
           [&] { client->list_containers(); }, [&] { client->start_container("c"); },
           [&] { client->changes("c"); }, [&] { client->create_volume("{}"); }}) {
    try {
      call();
      ADD_FAILURE();
    } catch (const IoError& error) {
      EXPECT_TRUE(error.transient());
      EXPECT_EQ(error.number(), ETIMEDOUT);
    }
  }
}

TEST(EngineCalls, ManyThreadsUseOneClient) {
  ScriptedEngine engine(ScriptedEngine::saying(200, "[]"));
  const auto client = engine.client();
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      for (int n = 0; n < 20; ++n) client->list_containers();
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(engine.asked().size(), 160u);
}

}  // namespace
}  // namespace davit::engine
