#include "jobs/network_spec.h"

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

std::string saved(const std::string& engine) { return test::read_vectors("network-" + engine + ".json").dump(); }

TEST(NetworkSpec, EveryEnginesNetworkCanBeMadeOnEveryEngine) {
  for (const char* engine : {"docker-20.10", "docker-26.1", "podman-4.3", "podman-5.4"})
    for (const Kind target : {Kind::docker, Kind::podman}) {
      SCOPED_TRACE(std::string(engine) + (target == Kind::docker ? " to docker" : " to podman"));
      const Kind from = std::string(engine).starts_with("podman") ? Kind::podman : Kind::docker;
      std::vector<std::string> named;
      const json body = json::parse(network_body(saved(engine), {from, target, true, "job"}, named));
      EXPECT_EQ(body["Name"], "shopnet");
      EXPECT_EQ(body["Driver"], "bridge");
      EXPECT_EQ(body["IPAM"]["Config"], json::array({{{"Subnet", "10.77.0.0/24"}, {"Gateway", "10.77.0.1"}}}));
      EXPECT_FALSE(body["IPAM"].contains("Options")) << "the other engine's";
      EXPECT_EQ(body["Options"][target == Kind::docker ? "com.docker.network.driver.mtu" : "mtu"], "1400");
      EXPECT_EQ(body["Labels"], (json{{"a", "b"}, {kRestoreLabel, "job"}}));
      EXPECT_THAT(named, IsEmpty());
    }
}

TEST(NetworkSpec, NamesOptionsOfTheOtherEngine) {
  const json network = {{"Name", "n"}, {"Driver", "bridge"}, {"Options", {{"com.docker.network.bridge.name", "br7"}}}};
  std::vector<std::string> named;
  const json body = json::parse(network_body(network.dump(), {Kind::docker, Kind::podman, true, ""}, named));
  EXPECT_FALSE(body.contains("Options"));
  EXPECT_FALSE(body.contains("Labels"));
  EXPECT_THAT(named, ElementsAre(HasSubstr("com.docker.network.bridge.name")));
}

TEST(NetworkSpec, LeavesTheRangeOutWhereItIsTold) {
  std::vector<std::string> named;
  EXPECT_FALSE(
      json::parse(network_body(saved("docker-20.10"), {Kind::docker, Kind::docker, false, ""}, named)).contains("IPAM"));
}

TEST(NetworkFacts, SayWhoHasWhichAddress) {
  const auto facts = read_network(saved("docker-20.10"));
  EXPECT_THAT(facts.subnets, ElementsAre("10.77.0.0/24"));
  ASSERT_EQ(facts.members.size(), 1u);
  EXPECT_EQ(facts.members[0].container, "web");
  EXPECT_THAT(facts.members[0].addresses, ElementsAre("10.77.0.9"));
  EXPECT_TRUE(facts.can_be_made);
  EXPECT_FALSE(read_network(json{{"Name", "n"}, {"Scope", "swarm"}}.dump()).can_be_made);
  EXPECT_THROW(read_network("{}"), base::Corrupt);
  EXPECT_THROW(split_networks("{}"), base::Corrupt);
  EXPECT_THROW(split_networks("[{}]"), base::Corrupt);
}

TEST(Subnets, OverlapWhereTheyShareAddresses) {
  EXPECT_TRUE(subnets_overlap("10.1.0.0/16", "10.1.2.0/24"));
  EXPECT_TRUE(subnets_overlap("10.1.2.0/24", "10.0.0.0/8"));
  EXPECT_FALSE(subnets_overlap("10.1.2.0/24", "10.1.3.0/24"));
  EXPECT_TRUE(subnets_overlap("10.1.2.0/23", "10.1.3.0/24"));
  EXPECT_TRUE(subnets_overlap("0.0.0.0/0", "192.168.0.0/16"));
  EXPECT_TRUE(subnets_overlap("fd00::/8", "fd00:1::/64"));
  EXPECT_FALSE(subnets_overlap("fd00::/64", "10.0.0.0/8"));
  EXPECT_FALSE(subnets_overlap("", "10.0.0.0/8"));
  EXPECT_FALSE(subnets_overlap("10.0.0.0/99", "10.0.0.0/8"));
  EXPECT_TRUE(subnet_holds("10.77.0.0/24", "10.77.0.9"));
  EXPECT_FALSE(subnet_holds("10.77.0.0/24", "10.77.1.9"));
}

}  // namespace
}  // namespace davit::jobs
