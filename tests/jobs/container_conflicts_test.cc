#include "jobs/container_conflicts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "support/temp_dir.h"

namespace davit::jobs {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

NetworkFacts network(const std::string& name, const std::string& subnet = "", std::vector<NetworkMember> members = {}) {
  NetworkFacts facts;
  facts.name = name;
  facts.driver = "bridge";
  if (!subnet.empty()) facts.subnets = {subnet};
  facts.members = std::move(members);
  return facts;
}

engine::Container container(const std::string& name, std::vector<engine::PublishedPort> ports = {}) {
  engine::Container made;
  made.id = std::string(64, 'c');
  made.name = name;
  made.state = "running";
  made.ports = std::move(ports);
  return made;
}

Intent intent() {
  Intent made;
  made.name = "web";
  made.architecture = "amd64";
  return made;
}
Survey survey() {
  Survey made;
  made.architecture = "amd64";
  made.network_drivers = {"bridge"};
  return made;
}

TEST(ContainerConflicts, AllAreFoundAtOnce) {
  Intent wanted = intent();
  wanted.architecture = "arm64";
  wanted.needs.ports = {{"", "tcp", 80, 80}, {"127.0.0.1", "udp", 53, 53}};
  wanted.needs.devices = {"/dev/here", "/dev/gone", "/dev/by-id/disk"};
  wanted.needs.networks = {"unsaved", "odd"};
  wanted.needs.containers = {{"0123456789abcdef", "network"}, {"db", "link"}};
  wanted.containers = {{"db", "db"}};
  wanted.saved_networks = {network("odd")};
  wanted.saved_networks[0].driver = "weave";
  Survey there = survey();
  there.containers = {container("web", {{"0.0.0.0", "tcp", 80, 80}})};
  there.sockets = {{"udp", "127.0.0.1", 53}};
  there.devices = {{"/dev/here", Presence::here}, {"/dev/gone", Presence::absent}, {"/dev/by-id/disk", Presence::unknown}};
  const Findings found = find_conflicts(wanted, there);
  EXPECT_THAT(found.conflicts,
              testing::UnorderedElementsAre(
                  HasSubstr("there is a container web already"), HasSubstr("image is for arm64"),
                  HasSubstr("port 80/tcp is in use by the container web"),
                  HasSubstr("port 127.0.0.1:53/udp is in use by a process of this host"), HasSubstr("/dev/gone"),
                  HasSubstr("0123456789ab"), HasSubstr("a link to the container db, which is not here"),
                  HasSubstr("network unsaved is not here"), HasSubstr("the driver weave")));
  EXPECT_THAT(found.notes, ElementsAre(HasSubstr("/dev/by-id/disk")));
}

TEST(ContainerConflicts, NothingStandsInTheWayOfWhatIsFree) {
  Intent wanted = intent();
  wanted.needs.ports = {{"127.0.0.1", "tcp", 80, 80}};
  wanted.needs.networks = {"shop", "here"};
  wanted.needs.addresses = {{"shop", "10.7.0.9", false}, {"here", "10.8.0.9", false}};
  wanted.saved_networks = {network("shop", "10.7.0.0/24")};
  Survey there = survey();
  there.containers = {container("other", {{"127.0.0.2", "tcp", 80, 80}, {"", "udp", 80, 80}})};
  there.networks = {network("here", "10.8.0.0/24", {{"other", {"10.8.0.2"}}})};
  there.sockets = {{"tcp", "0.0.0.0", 81}, {"udp", "127.0.0.1", 80}};
  const Findings found = find_conflicts(wanted, there);
  EXPECT_THAT(found.conflicts, IsEmpty());
  EXPECT_THAT(found.notes, IsEmpty());
  EXPECT_THAT(found.networks, ElementsAre("shop"));
}

TEST(ContainerConflicts, OneFreePortOfARangeIsEnough) {
  Intent wanted = intent();
  wanted.needs.ports = {{"", "tcp", 8080, 8081}};
  Survey there = survey();
  there.sockets = {{"tcp", "::", 8080}};
  EXPECT_THAT(find_conflicts(wanted, there).conflicts, IsEmpty());
  there.sockets.push_back({"tcp", "127.0.0.1", 8081});
  EXPECT_THAT(find_conflicts(wanted, there).conflicts, ElementsAre(HasSubstr("port 8080-8081/tcp")));
  wanted.publish = false;
  EXPECT_THAT(find_conflicts(wanted, there).conflicts, IsEmpty());
}

TEST(ContainerConflicts, ARangeOfAnotherNetworkIsGivenUpUnlessAnAddressIsFixedInIt) {
  Intent wanted = intent();
  wanted.needs.networks = {"shop"};
  wanted.needs.addresses = {{"shop", "10.7.0.9", true}};
  wanted.saved_networks = {network("shop", "10.7.0.0/24")};
  Survey there = survey();
  there.networks = {network("else", "10.0.0.0/8")};
  Findings found = find_conflicts(wanted, there);
  EXPECT_THAT(found.conflicts, IsEmpty());
  EXPECT_THAT(found.without_subnet, ElementsAre("shop"));
  EXPECT_THAT(found.addresses_left, ElementsAre(testing::Pair("shop", "10.7.0.9")));
  EXPECT_THAT(found.notes, ElementsAre(HasSubstr("overlaps with 10.0.0.0/8 of network else")));
  wanted.needs.addresses[0].may_be_chance = false;
  EXPECT_THAT(find_conflicts(wanted, there).conflicts, ElementsAre(HasSubstr("has a fixed address in it")));
}

TEST(ContainerConflicts, AnAddressThatIsAnothersIsAConflictUnlessItWasChance) {
  Intent wanted = intent();
  wanted.needs.networks = {"shop"};
  wanted.needs.addresses = {{"shop", "10.7.0.9", false}};
  Survey there = survey();
  there.networks = {network("shop", "10.7.0.0/24", {{"thief", {"10.7.0.9"}}})};
  EXPECT_THAT(find_conflicts(wanted, there).conflicts, ElementsAre(HasSubstr("the container thief")));
  there.networks[0] = network("shop", "10.9.0.0/24");
  EXPECT_THAT(find_conflicts(wanted, there).conflicts, ElementsAre(HasSubstr("not in the range of network shop")));
  wanted.needs.addresses[0].may_be_chance = true;
  const Findings found = find_conflicts(wanted, there);
  EXPECT_THAT(found.conflicts, IsEmpty());
  EXPECT_EQ(found.addresses_left.size(), 1u);
  // One that is free is asked for again on Podman, and on Docker only in a network that is made with its range.
  there.networks[0] = network("shop", "10.7.0.0/24");
  there.engine = engine::Kind::podman;
  EXPECT_THAT(find_conflicts(wanted, there).addresses_left, IsEmpty());
  there.engine = engine::Kind::docker;
  EXPECT_EQ(find_conflicts(wanted, there).addresses_left.size(), 1u);
}

TEST(HostView, ReadsTheKernelsListsOfSockets) {
  const auto tcp = parse_sockets(
      "  sl  local_address rem_address   st tx_queue rx_queue\n"
      "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000\n"
      "   1: 0100007F:A1B2 0100007F:1F90 01 00000000:00000000 00:00000000\n"
      "   2: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000\n"
      "   3: nonsense\n",
      "tcp");
  ASSERT_EQ(tcp.size(), 2u);
  EXPECT_EQ(tcp[0].address, "127.0.0.1");
  EXPECT_EQ(tcp[0].port, 8080);
  EXPECT_EQ(tcp[1].address, "0.0.0.0");
  const auto tcp6 = parse_sockets(
      "header\n   0: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 0\n", "tcp");
  ASSERT_EQ(tcp6.size(), 1u);
  EXPECT_EQ(tcp6[0].address, "::1");
  EXPECT_EQ(tcp6[0].port, 22);
  EXPECT_EQ(parse_sockets("header\n  0: 00000000:0035 00000000:0000 07 0\n", "udp").size(), 1u);
}

TEST(HostView, FindsDevicesInDevAndInTheKernelsList) {
  const test::TempDir root;
  const auto write = [&](const std::string& path, const std::string& text) {
    base::make_directories((root / path).substr(0, (root / path).rfind('/')), 0755);
    base::write_file_atomic(root / path, base::as_bytes(text));
  };
  // As in a plugin: a /dev of its own.
  write("proc/self/mountinfo", "22 1 0:5 / /dev rw shared:2 - tmpfs tmpfs rw\n");
  write("dev/mine", "");
  write("sys/dev/char/10:229/uevent", "MAJOR=10\nMINOR=229\nDEVNAME=fuse\n");
  write("sys/dev/char/116:1/uevent", "MAJOR=116\nMINOR=1\nDEVNAME=snd/timer\n");
  write("sys/dev/block/8:0/uevent", "MAJOR=8\nMINOR=0\nDEVNAME=sda\nDEVTYPE=disk\n");
  EXPECT_EQ(find_device("/dev/fuse", root.path()), Presence::here);
  EXPECT_EQ(find_device("/dev/snd", root.path()), Presence::here);
  EXPECT_EQ(find_device("/dev/sda", root.path()), Presence::here);
  EXPECT_EQ(find_device("/dev/sdb", root.path()), Presence::absent);
  EXPECT_EQ(find_device("/dev/mine", root.path()), Presence::absent);
  EXPECT_EQ(find_device("/dev/disk/by-id/x", root.path()), Presence::unknown);
  EXPECT_EQ(find_device("/srv/device", root.path()), Presence::unknown);
  write("host/run/udev/links/\\x2fdisk\\x2fby-id\\x2fx/b8:0", "");
  write("host/run/udev/links/\\x2fzigbee/c188:0", "");
  EXPECT_EQ(find_device("/dev/disk/by-id/x", root.path()), Presence::here);
  EXPECT_EQ(find_device("/dev/disk/by-id/y", root.path()), Presence::absent);
  EXPECT_EQ(find_device("/dev/zigbee", root.path()), Presence::here);
  // As a service of the host.
  write("proc/self/mountinfo", "22 1 0:5 / /dev rw shared:2 - devtmpfs udev rw\n");
  EXPECT_EQ(find_device("/dev/mine", root.path()), Presence::here);
  EXPECT_EQ(find_device("/dev/sda", root.path()), Presence::absent);
}

}  // namespace
}  // namespace davit::jobs
