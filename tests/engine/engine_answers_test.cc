// What engines answer, as seen on Docker 20.10 and 26.1, Podman 4.3 and 5.4, and as no engine should.
#include "engine/answers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "base/errors.h"

namespace davit::engine {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

const std::string kId(64, 'c');
const std::string kInspect = R"({"Id":")" + kId + R"(","Name":"/db","Image":"sha256:11","State":{"Status":"paused","Running":true,
  "Paused":true,"StartedAt":"2026-11-22T19:25:16.090382033Z"},"Config":{"Image":"postgres:17","Labels":{"davit.commit":"true"}},
  "Mounts":[{"Type":"volume","Name":"pgdata","Driver":"davit:latest","Destination":"/data"},
            {"Type":"bind","Source":"/etc","Destination":"/x"},{"Type":"tmpfs","Destination":"/y"}],
  "NetworkSettings":{"Networks":{"shop_default":{},"front":{}}}})";
const std::string kList = R"([{"Id":")" + kId + R"(","Names":["/web/db","/db"],"Image":"postgres:17","ImageID":"sha256:11",
  "State":"running","Labels":{"a":"b"},"Mounts":[{"Type":"volume","Name":"pgdata","Driver":"davit","Destination":"/data"}],
  "Ports":[{"IP":"0.0.0.0","PrivatePort":5432,"PublicPort":15432,"Type":"tcp"},{"PrivatePort":80,"Type":"tcp"},
           {"IP":"::","PrivatePort":53,"PublicPort":53,"Type":"udp"}]}])";
const std::string kImages = R"([{"Id":")" + std::string(64, 'a') + R"(","RepoTags":["a:1","b:2"],"Labels":{"davit.point":"01"},"Size":12},
  {"Id":"sha256:bb","RepoTags":["<none>:<none>"],"Labels":null,"Size":3},{"Id":"sha256:cc","RepoTags":null}])";
const std::string kImage =
    R"({"Id":"sha256:aa","RepoTags":["a:1"],"Config":{"Labels":{"k":"v"}},"Architecture":"arm64","Size":7})";
const std::string kInfo = R"({"Driver":"overlayfs","DriverStatus":[["driver-type","io.containerd.snapshotter.v1"]],
  "Plugins":{"Volume":["local"],"Network":["bridge","host"]}})";
const std::string kVersion = R"({"Version":"26.1.5","Arch":"amd64"})";
const std::string kPlugins = R"([{"Name":"davit:latest","Enabled":true,"Config":{"Interface":{"Types":["docker.volumedriver/1.0"]}}},
  {"Name":"off:1","Enabled":false,"Config":{"Interface":{"Types":["docker.volumedriver/1.0"]}}},
  {"Name":"net:1","Enabled":true,"Config":{"Interface":{"Types":["docker.networkdriver/1.0"]}}}])";

TEST(EngineAnswers, AContainersDescription) {
  const ContainerDetails details = read_container_details(kInspect);
  EXPECT_EQ(details.id, kId);
  EXPECT_EQ(details.name, "db");
  EXPECT_EQ(details.image, "postgres:17");
  EXPECT_EQ(details.image_id, "sha256:11");
  EXPECT_EQ(details.started_at, "2026-11-22T19:25:16.090382033Z");
  EXPECT_TRUE(details.running);
  EXPECT_TRUE(details.paused);
  EXPECT_THAT(details.labels, ElementsAre(Pair("davit.commit", "true")));
  ASSERT_EQ(details.volumes.size(), 1u);
  EXPECT_EQ(details.volumes[0].name, "pgdata");
  EXPECT_EQ(details.volumes[0].driver, "davit:latest");
  EXPECT_EQ(details.volumes[0].destination, "/data");
  EXPECT_THAT(details.networks, ElementsAre("front", "shop_default"));
  EXPECT_EQ(details.json, kInspect) << "byte for byte";
}

TEST(EngineAnswers, PodmanSaysOfAPausedContainerThatItDoesNotRun) {
  EXPECT_TRUE(read_container_details(R"({"Id":"a","Name":"b","State":{"Running":false,"Paused":true},"Config":{}})").running);
}

TEST(EngineAnswers, AListOfContainers) {
  const auto containers = read_containers(kList);
  ASSERT_EQ(containers.size(), 1u);
  EXPECT_EQ(containers[0].name, "db");
  EXPECT_EQ(containers[0].image, "postgres:17");
  EXPECT_EQ(containers[0].image_id, "sha256:11");
  EXPECT_EQ(containers[0].volumes.at(0).driver, "davit");
  ASSERT_EQ(containers[0].ports.size(), 2u) << "published ones only";
  EXPECT_EQ(containers[0].ports[0].ip, "0.0.0.0");
  EXPECT_EQ(containers[0].ports[0].host_port, 15432);
  EXPECT_EQ(containers[0].ports[0].container_port, 5432);
  EXPECT_EQ(containers[0].ports[1].protocol, "udp");
}

TEST(EngineAnswers, Images) {
  const auto images = read_images(kImages);
  ASSERT_EQ(images.size(), 3u);
  EXPECT_EQ(images[0].id, "sha256:" + std::string(64, 'a')) << "Podman may leave the prefix away";
  EXPECT_THAT(images[0].references, ElementsAre("a:1", "b:2"));
  EXPECT_THAT(images[0].labels, ElementsAre(Pair("davit.point", "01")));
  EXPECT_EQ(images[0].size_bytes, 12u);
  EXPECT_THAT(images[1].references, IsEmpty());
  EXPECT_THAT(images[2].references, IsEmpty());
  const Image image = read_image(kImage);
  EXPECT_THAT(image.labels, ElementsAre(Pair("k", "v")));
  EXPECT_EQ(image.architecture, "arm64");
}

TEST(EngineAnswers, WhatAnEngineIs) {
  const EngineInfo info = read_info(kInfo, kVersion);
  EXPECT_EQ(info.version, "26.1.5");
  EXPECT_EQ(info.architecture, "amd64");
  EXPECT_EQ(info.storage_driver, "overlayfs");
  EXPECT_TRUE(info.containerd_store);
  EXPECT_THAT(info.volume_drivers, ElementsAre("local"));
  EXPECT_THAT(info.network_drivers, ElementsAre("bridge", "host"));
  EXPECT_FALSE(read_info(R"({"Driver":"overlay2","DriverStatus":[["Backing Filesystem","extfs"]]})", kVersion).containerd_store);
  EXPECT_THAT(read_plugins(kPlugins, "docker.volumedriver/"), ElementsAre("davit:latest"));
}

// Puts each of these in the place of each value in turn.
void for_each_change(json& document, json& value, const std::function<void(const std::string&)>& use) {
  const json kept = value;
  for (const char* other : {"null", "0", "-1", "1e99", "\"x\"", "true", "[]", "{}", "[null]", "[[1]]", "{\"\":1}"}) {
    value = json::parse(other);
    use(document.dump());
  }
  value = kept;
  if (value.is_structured())
    for (json& inner : value) for_each_change(document, inner, use);
}

TEST(EngineAnswers, AnythingElseIsReadOrCorruptAndNeverWorse) {
  const std::pair<std::string, std::function<void(const std::string&)>> readers[] = {
      {kInspect, [](const std::string& body) { read_container_details(body); }},
      {kList, [](const std::string& body) { read_containers(body); }},
      {kImages, [](const std::string& body) { read_images(body); }},
      {kImage, [](const std::string& body) { read_image(body); }},
      {kInfo, [](const std::string& body) { read_info(body, kVersion); }},
      {kVersion, [](const std::string& body) { read_info(kInfo, body); }},
      {kPlugins, [](const std::string& body) { read_plugins(body, "docker.volumedriver/"); }},
      {R"([{"Name":"n1"}])", [](const std::string& body) { read_names(body); }},
      {R"({"Id":"n1"})", [](const std::string& body) { read_id(body); }}};
  int corrupt = 0, changes = 0;
  for (const auto& [good, read] : readers) {
    EXPECT_NO_THROW(read(good)) << good;
    const auto use = [&](const std::string& body) {
      ++changes;
      try {
        read(body);
      } catch (const base::Corrupt&) {
        ++corrupt;
      } catch (const std::exception& error) {
        ADD_FAILURE() << error.what() << " of " << body;
      }
    };
    json document = json::parse(good);
    for_each_change(document, document, use);
    for (size_t size = 0; size < good.size(); ++size) use(good.substr(0, size));
    for (const char* list : {"{}", "null", "3"})
      if (good.front() == '[') {
        EXPECT_THROW(read(list), base::Corrupt) << "an object is no empty list";
      }
  }
  EXPECT_GT(corrupt, 1000);
  EXPECT_LT(corrupt, changes);
}

TEST(EngineAnswers, ARefusalsWords) {
  const auto words = [](const std::string& body) {
    wire::HttpResponse response;
    response.status = 500;
    response.body = body;
    return message_of(response);
  };
  EXPECT_EQ(words(R"({"message":"no space left"})"), "no space left");
  EXPECT_EQ(words(R"({"cause":"x","message":"several\nlines","response":500})"), "several lines");
  for (const char* body : {"", "<html>", "[]", "{}", R"({"message":7})", R"({"message":""})"})
    EXPECT_EQ(words(body), "HTTP 500") << body;
}

}  // namespace
}  // namespace davit::engine
