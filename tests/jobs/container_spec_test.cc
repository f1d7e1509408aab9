// What real engines said of real containers (tests/data/inspect-ENGINE.json), made into requests for each engine.
#include "jobs/container_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/errors.h"
#include "support/vectors.h"

namespace davit::jobs {
namespace {

using engine::Kind;
using nlohmann::json;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

Kind kind_of(const std::string& engine) { return engine.starts_with("podman") ? Kind::podman : Kind::docker; }

ContainerDocument read(const std::string& engine, const std::string& which = "") {
  return read_container(test::read_vectors("inspect-" + engine + which + ".json").dump(), kind_of(engine));
}

SpecChoices choices(Kind kind, int minor = 41) {
  SpecChoices made;
  made.engine = kind;
  made.api_minor = minor;
  made.name = "web";
  made.image = "davit/web:20261122T180000Z";
  return made;
}

json body_of(const ContainerSpec& spec) { return json::parse(spec.body); }

// A document of Docker with this configuration.
ContainerDocument document(const json& config, const json& host, Kind kind = Kind::docker, json more = json::object()) {
  more.update({{"Id", std::string(64, 'a')}, {"Name", "/web"}, {"Config", config}, {"HostConfig", host}});
  return read_container(more.dump(), kind);
}

class EveryEngine : public ::testing::TestWithParam<std::tuple<std::string, Kind>> {
 protected:
  const std::string saved_on = std::get<0>(GetParam());
  const Kind target = std::get<1>(GetParam());
  const ContainerSpec spec = make_spec(read(saved_on), choices(target));
  const json body = body_of(spec), host = body.at("HostConfig");
};

TEST_P(EveryEngine, CarriesWhatTheContainerIs) {
  EXPECT_EQ(body["Image"], "davit/web:20261122T180000Z");
  EXPECT_EQ(body["Hostname"], "weird");
  EXPECT_EQ(body["User"], "0:0");
  EXPECT_EQ(body["WorkingDir"], "/tmp");
  EXPECT_EQ(body["Entrypoint"], json({"/bin/sh"}));
  EXPECT_EQ(body["Cmd"], json({"-c", "while :; do sleep 1; done"}));
  EXPECT_THAT(body["Env"], Contains("B=two words"));
  EXPECT_EQ(body["Labels"]["app"], "shop");
  EXPECT_EQ(body["StopTimeout"], 3);
  EXPECT_EQ(body["Healthcheck"]["Test"], json({"CMD-SHELL", "test -e /ok"}));
  EXPECT_EQ(body["Healthcheck"]["Interval"], 30000000000);
  EXPECT_EQ(body["Healthcheck"]["Retries"], 2);
  EXPECT_TRUE(body["ExposedPorts"].contains("7777/tcp"));
}

TEST_P(EveryEngine, CarriesWhatTheHostGivesIt) {
  EXPECT_EQ(host["RestartPolicy"]["Name"], "on-failure");
  EXPECT_EQ(host["RestartPolicy"]["MaximumRetryCount"], 5);
  EXPECT_EQ(host["Memory"], 64 << 20);
  EXPECT_EQ(host["MemoryReservation"], 32 << 20);
  EXPECT_EQ(host["CpuShares"], 512);
  EXPECT_EQ(host["CpuPeriod"], 100000);
  EXPECT_EQ(host["CpuQuota"], 50000);
  EXPECT_FALSE(host.contains("NanoCpus")) << "an engine takes only one way to say it";
  EXPECT_EQ(host["CpusetCpus"], "0");
  EXPECT_EQ(host["PidsLimit"], 100);
  EXPECT_EQ(host["OomScoreAdj"], 100);
  EXPECT_EQ(host["ShmSize"], 32 << 20);
  EXPECT_EQ(host["Dns"], json({"10.77.0.1"}));
  EXPECT_EQ(host["ExtraHosts"], json({"db:10.77.0.3"}));
  EXPECT_EQ(host["GroupAdd"], json({"20"}));
  EXPECT_THAT(host["SecurityOpt"], Contains("no-new-privileges"));
  EXPECT_THAT(host["Ulimits"], Contains(json{{"Name", "nofile"}, {"Hard", 512}, {"Soft", 512}}));
  EXPECT_THAT(host["Devices"].dump(), HasSubstr("/dev/mynull"));
  for (const json& device : host["Devices"]) EXPECT_THAT(device["CgroupPermissions"], testing::AnyOf("rw", "rwm"));
  EXPECT_THAT(host["CapAdd"].dump(), HasSubstr("SYS_PTRACE"));
}

TEST_P(EveryEngine, CarriesItsMounts) {
  std::vector<std::string> binds = host["Binds"];
  if (host.contains("Mounts"))
    for (const json& mount : host["Mounts"])
      binds.push_back(mount["Source"].get<std::string>() + ":" + mount["Target"].get<std::string>() +
                      (mount["ReadOnly"] == true ? ":ro" : ""));
  EXPECT_THAT(binds, UnorderedElementsAre("vol:/data", "vol:/data2:ro", "/srv/site:/bind:ro"));
  EXPECT_THAT(host["Tmpfs"]["/scratch"].get<std::string>(), HasSubstr("size=1m,mode=1777"));
  EXPECT_EQ(host["Tmpfs"]["/scratch"].get<std::string>().find("tmpcopyup"), std::string::npos);
}

TEST_P(EveryEngine, CarriesItsPortsAndNetworks) {
  EXPECT_EQ(host["PortBindings"]["80/tcp"], json::array({{{"HostIp", "127.0.0.1"}, {"HostPort", "8080"}}}));
  EXPECT_EQ(host["PortBindings"]["9001/udp"][0]["HostPort"], "9001");
  EXPECT_FALSE(host["PortBindings"].contains("7777/tcp"));
  const std::string first = host["NetworkMode"];
  const json& endpoints = body["NetworkingConfig"]["EndpointsConfig"];
  ASSERT_EQ(endpoints.size(), 1u) << "an older API takes one";
  ASSERT_TRUE(endpoints.contains(first));
  ASSERT_EQ(spec.connections.size(), 1u);
  std::map<std::string, json> all{{first, endpoints[first]}};
  const json second = json::parse(spec.connections[0].second);
  EXPECT_EQ(second["Container"], "web");
  all[spec.connections[0].first] = second["EndpointConfig"];
  ASSERT_TRUE(all.contains("shopnet") && all.contains("other"));
  EXPECT_EQ(all["shopnet"]["Aliases"], json({"www"})) << "the engine adds the others itself";
  EXPECT_EQ(all["other"]["Aliases"], json({"second"}));
  EXPECT_EQ(all["shopnet"]["IPAMConfig"]["IPv4Address"], "10.77.0.9");
}

TEST_P(EveryEngine, NamesWhatItLeavesOut) {
  const bool crosses = kind_of(saved_on) != target;
  const std::string all = testing::PrintToString(spec.named);
  if (kind_of(saved_on) == Kind::docker && crosses) {
    EXPECT_THAT(all, HasSubstr("the domain name dom.example"));
  }
  if (saved_on == "docker-26.1" && target == Kind::docker) {
    EXPECT_THAT(all, HasSubstr("annotations"));
  }
  if (!crosses && saved_on != "docker-26.1") {
    EXPECT_THAT(spec.named, IsEmpty());
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, EveryEngine,
    ::testing::Combine(::testing::Values("docker-20.10", "docker-26.1", "podman-4.3", "podman-5.4"),
                       ::testing::Values(Kind::docker, Kind::podman)),
    [](const auto& info) {
      std::string name = std::get<0>(info.param) + (std::get<1>(info.param) == Kind::docker ? "_to_docker" : "_to_podman");
      std::replace_if(name.begin(), name.end(), [](char c) { return c == '-' || c == '.'; }, '_');
      return name;
    });

TEST(ContainerSpec, LeavesADefaultHostNameToTheEngine) {
  EXPECT_FALSE(body_of(make_spec(read("docker-20.10", "-follower"), choices(Kind::docker))).contains("Hostname"));
  auto own = document({{"Hostname", std::string(12, 'a')}}, json::object());
  EXPECT_FALSE(body_of(make_spec(own, choices(Kind::docker))).contains("Hostname"));
  auto wanted = choices(Kind::docker);
  wanted.saved_host = "davit-test";
  EXPECT_FALSE(body_of(make_spec(read("docker-26.1", "-hostnet"), wanted)).contains("Hostname"));
}

TEST(ContainerSpec, FollowsAnotherContainersNetworkUnderItsName) {
  for (const char* engine : {"docker-20.10", "podman-5.4"}) {
    const auto follower = read(engine, "-follower");
    ASSERT_EQ(follower.mode.type, NetworkMode::Type::container);
    const auto needs = needs_of(follower);
    ASSERT_THAT(needs.containers, ElementsAre(testing::Pair(follower.mode.value, "network")));
    auto wanted = choices(Kind::docker);
    wanted.containers[follower.mode.value] = "plain";
    const json body = body_of(make_spec(follower, wanted));
    EXPECT_EQ(body["HostConfig"]["NetworkMode"], "container:plain");
    EXPECT_FALSE(body.contains("NetworkingConfig"));
  }
}

TEST(ContainerSpec, TheEnginesOwnNetworkHasAnotherNameInEach) {
  const auto on_bridge = document(json::object(), {{"NetworkMode", "default"}}, Kind::docker,
                                  {{"NetworkSettings", {{"Networks", {{"bridge", {{"Aliases", nullptr}}}}}}}});
  EXPECT_EQ(body_of(make_spec(on_bridge, choices(Kind::docker)))["HostConfig"]["NetworkMode"], "default");
  EXPECT_EQ(body_of(make_spec(on_bridge, choices(Kind::podman)))["HostConfig"]["NetworkMode"], "bridge");
  EXPECT_THAT(needs_of(on_bridge).networks, IsEmpty());
  const auto on_podman = document(json::object(), {{"NetworkMode", "bridge"}}, Kind::podman,
                                  {{"NetworkSettings", {{"Networks", {{"podman", json::object()}}}}}});
  EXPECT_EQ(body_of(make_spec(on_podman, choices(Kind::docker)))["HostConfig"]["NetworkMode"], "default");
  EXPECT_THAT(needs_of(on_podman).networks, IsEmpty());
}

TEST(ContainerSpec, ACopyBesideTheOriginalClaimsNothingOfIt) {
  auto wanted = choices(Kind::docker);
  wanted.publish = false;
  wanted.volumes["vol"] = "copy-vol";
  const json body = body_of(make_spec(read("docker-20.10"), wanted));
  EXPECT_FALSE(body["HostConfig"].contains("PortBindings"));
  EXPECT_EQ(body["NetworkingConfig"]["EndpointsConfig"]["shopnet"], json::object());
  EXPECT_THAT(body["HostConfig"]["Binds"], Contains("copy-vol:/data"));
  EXPECT_EQ(body["HostConfig"]["Mounts"][0]["Source"], "copy-vol");
}

TEST(ContainerSpec, GivesOnPodmanWhatDockerGaveUnasked) {
  const auto plain = document(json::object(), {{"CapDrop", {"CAP_MKNOD"}}});
  EXPECT_THAT(body_of(make_spec(plain, choices(Kind::podman)))["HostConfig"]["CapAdd"],
              UnorderedElementsAre("AUDIT_WRITE", "NET_RAW"));
  EXPECT_FALSE(body_of(make_spec(plain, choices(Kind::docker)))["HostConfig"].contains("CapAdd"));
  const auto nothing = document(json::object(), {{"CapDrop", {"ALL"}}});
  EXPECT_FALSE(body_of(make_spec(nothing, choices(Kind::podman)))["HostConfig"].contains("CapAdd"));
}

TEST(ContainerSpec, NamesWhatTheOtherEngineCannot) {
  const auto docker = document(
      json::object(),
      {{"LogConfig", {{"Type", "fluentd"}, {"Config", {{"fluentd-address", "x"}}}}},
       {"Links", {"/db:/web/database"}},
       {"SecurityOpt", {"seccomp={\"defaultAction\":\"SCMP_ACT_ALLOW\"}"}},
       {"DeviceRequests", {{{"Driver", "nvidia"}}}},
       {"Runtime", "runsc"},
       {"CgroupParent", "/docker-custom"}});
  const auto on_podman = make_spec(docker, choices(Kind::podman));
  for (const char* what : {"fluentd", "link to db", "seccomp", "GPU", "runsc", "/docker-custom"})
    EXPECT_THAT(on_podman.named, Contains(HasSubstr(what)));
  EXPECT_EQ(on_podman.named.size(), 6u);
  const json on_docker = body_of(make_spec(docker, choices(Kind::docker)));
  EXPECT_EQ(on_docker["HostConfig"]["Links"], json({"db:database"}));
  EXPECT_EQ(on_docker["HostConfig"]["LogConfig"]["Type"], "fluentd");
  EXPECT_EQ(on_docker["HostConfig"]["Runtime"], "runsc");

  const auto podman = document(json::object(),
                               {{"UsernsMode", "keep-id"},
                                {"NetworkMode", "slirp4netns"},
                                {"SecurityOpt", {"unmask=all", "label=disable"}},
                                {"Binds", {"vol:/data:U,rw,rprivate,nosuid,nodev,rbind"}}},
                               Kind::podman);
  const auto crossed = make_spec(podman, choices(Kind::docker));
  for (const char* what : {"keep-id", "slirp4netns", "unmask=all", "option U"})
    EXPECT_THAT(crossed.named, Contains(HasSubstr(what)));
  EXPECT_EQ(body_of(crossed)["HostConfig"]["Binds"], json({"vol:/data"}));
  EXPECT_EQ(body_of(crossed)["HostConfig"]["SecurityOpt"], json({"label=disable"}));
  const auto back = make_spec(podman, choices(Kind::podman));
  EXPECT_THAT(back.named, IsEmpty());
  EXPECT_EQ(body_of(back)["HostConfig"]["Binds"], json({"vol:/data:U"}));
  EXPECT_EQ(body_of(back)["HostConfig"]["NetworkMode"], "slirp4netns");
}

TEST(ContainerSpec, MountsVolumesThatTheEngineNamedAndThoseOfOtherContainers) {
  const std::string anonymous(64, 'f');
  const json mounts = {{{"Type", "volume"}, {"Name", anonymous}, {"Destination", "/anon"}, {"Driver", "local"}, {"RW", true}},
                       {{"Type", "volume"}, {"Name", "shared"}, {"Destination", "/shared"}, {"Driver", "davit"}, {"RW", false}},
                       {{"Type", "bind"}, {"Source", "/srv"}, {"Destination", "/srv"}, {"RW", true}}};
  const auto saved = document({{"Volumes", {{"/anon", json::object()}}}}, {{"VolumesFrom", {"other"}}}, Kind::docker,
                              {{"Mounts", mounts}});
  const auto needs = needs_of(saved);
  ASSERT_EQ(needs.volumes.size(), 2u);
  EXPECT_TRUE(needs.volumes[0].anonymous);
  EXPECT_EQ(needs.volumes[1].driver, "davit");
  EXPECT_THAT(body_of(make_spec(saved, choices(Kind::docker)))["HostConfig"]["Binds"],
              UnorderedElementsAre(anonymous + ":/anon", "shared:/shared:ro", "/srv:/srv"));
  auto fresh = choices(Kind::docker);
  fresh.volumes[anonymous] = "";
  const json body = body_of(make_spec(saved, fresh));
  EXPECT_THAT(body["HostConfig"]["Binds"], UnorderedElementsAre("shared:/shared:ro", "/srv:/srv"));
  EXPECT_TRUE(body["Volumes"].contains("/anon"));
}

TEST(ContainerSpec, AnUnmaskedContainerStaysUnmaskedAndOthersGetTheEnginesOwnLists) {
  const auto open = document(json::object(), {{"MaskedPaths", json::array()}, {"ReadonlyPaths", {"/proc/bus"}}});
  const json host = body_of(make_spec(open, choices(Kind::docker)))["HostConfig"];
  EXPECT_EQ(host["MaskedPaths"], json::array());
  EXPECT_FALSE(host.contains("ReadonlyPaths"));
}

TEST(ContainerDocument, RefusesWhatIsNoDescription) {
  for (const char* damaged :
       {"", "[]", "{}", "{\"Id\":\"a\",\"Name\":\"/web\"}", "{\"Id\":\"a\",\"Name\":\"/web\",\"Config\":[],\"HostConfig\":{}}",
        "{\"Id\":\"a\",\"Name\":\"/web\",\"Config\":{\"Cmd\":\"sh\"},\"HostConfig\":{}}",
        "{\"Id\":\"a\",\"Name\":\"/web\",\"Config\":{},\"HostConfig\":{\"Binds\":[\":\"]}}",
        "{\"Id\":\"a\",\"Name\":\"/web\",\"Config\":{},\"HostConfig\":{\"PortBindings\":[]}}"})
    EXPECT_THROW(read_container(damaged, Kind::docker), base::Corrupt) << damaged;
}

TEST(ContainerDocument, ReadsRangesOfPorts) {
  const auto ranged = document(
      json::object(),
      {{"PortBindings", {{"80/tcp", {{{"HostIp", ""}, {"HostPort", "8080-8090"}}, {{"HostIp", ""}, {"HostPort", ""}},
                                     {{"HostIp", ""}, {"HostPort", "99999"}}}}}}});
  const auto ports = needs_of(ranged).ports;
  ASSERT_EQ(ports.size(), 1u);
  EXPECT_EQ(ports[0].first, 8080);
  EXPECT_EQ(ports[0].last, 8090);
}

TEST(ApiMinor, ReadsVersions) {
  EXPECT_EQ(api_minor("1.41"), 41);
  EXPECT_EQ(api_minor("2.0"), 0);
  EXPECT_EQ(api_minor("1.x"), 0);
}

}  // namespace
}  // namespace davit::jobs
