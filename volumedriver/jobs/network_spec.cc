#include "jobs/network_spec.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/errors.h"

namespace davit::jobs {

using engine::Kind;
using nlohmann::json;

namespace {

constexpr const char* kDockerMtu = "com.docker.network.driver.mtu";
constexpr const char* kPodmanMtu = "mtu";

std::string text(const json& object, const char* key) {
  if (!object.is_object()) return "";
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

json member(const json& object, const char* key) {
  if (!object.is_object()) return {};
  const auto found = object.find(key);
  return found == object.end() ? json() : *found;
}

json parse(const std::string& inspect) {
  json network = json::parse(inspect, nullptr, /*allow_exceptions=*/false);
  if (text(network, "Name").empty()) throw base::Corrupt("the saved description of a network is damaged");
  return network;
}

std::string without_prefix(const std::string& address) { return address.substr(0, address.find('/')); }

struct Range {
  int family = 0;
  std::array<uint8_t, 16> bytes{};
  int bits = 0;
};

std::optional<Range> parse_range(const std::string& range) {
  Range result;
  const std::string address = without_prefix(range);
  result.family = address.find(':') == std::string::npos ? AF_INET : AF_INET6;
  if (::inet_pton(result.family, address.c_str(), result.bytes.data()) != 1) return std::nullopt;
  const int most = result.family == AF_INET ? 32 : 128;
  result.bits = most;
  if (const size_t slash = range.find('/'); slash != std::string::npos) {
    const char* end = range.data() + range.size();
    const auto [rest, error] = std::from_chars(range.data() + slash + 1, end, result.bits);
    if (error != std::errc() || rest != end || result.bits < 0 || result.bits > most) return std::nullopt;
  }
  return result;
}

bool same_beginning(const Range& one, const Range& other, int bits) {
  const int bytes = bits / 8, rest = bits % 8;
  if (std::memcmp(one.bytes.data(), other.bytes.data(), static_cast<size_t>(bytes)) != 0) return false;
  if (rest == 0) return true;
  const int mask = 0xff << (8 - rest);
  return ((one.bytes[static_cast<size_t>(bytes)] ^ other.bytes[static_cast<size_t>(bytes)]) & mask) == 0;
}

}  // namespace

bool subnets_overlap(const std::string& one, const std::string& other) {
  const auto a = parse_range(one), b = parse_range(other);
  return a && b && a->family == b->family && same_beginning(*a, *b, std::min(a->bits, b->bits));
}

bool subnet_holds(const std::string& subnet, const std::string& address) {
  return subnets_overlap(subnet, without_prefix(address));
}

NetworkFacts read_network(const std::string& inspect) {
  const json network = parse(inspect);
  NetworkFacts facts;
  facts.name = text(network, "Name");
  facts.driver = text(network, "Driver");
  facts.scope = text(network, "Scope");
  if (const json ranges = member(member(network, "IPAM"), "Config"); ranges.is_array())
    for (const json& range : ranges)
      if (const std::string subnet = text(range, "Subnet"); !subnet.empty()) facts.subnets.push_back(subnet);
  if (const json members = member(network, "Containers"); members.is_object())
    for (const auto& [id, each] : members.items()) {
      NetworkMember one{text(each, "Name"), {}};
      for (const char* key : {"IPv4Address", "IPv6Address"})
        if (const std::string address = text(each, key); !address.empty())
          one.addresses.push_back(without_prefix(address));
      facts.members.push_back(std::move(one));
    }
  facts.can_be_made = facts.scope != "swarm" && member(network, "Ingress") != true &&
                      member(network, "ConfigOnly") != true && text(member(network, "ConfigFrom"), "Network").empty();
  facts.restore = text(member(network, "Labels"), kRestoreLabel);
  return facts;
}

std::vector<std::string> split_networks(const std::string& networks_json) {
  const json all = json::parse(networks_json, nullptr, /*allow_exceptions=*/false);
  if (!all.is_array()) throw base::Corrupt("the saved descriptions of its networks are damaged");
  std::vector<std::string> documents;
  for (const json& each : all) {
    if (text(each, "Name").empty()) throw base::Corrupt("the saved description of a network is damaged");
    documents.push_back(each.dump());
  }
  return documents;
}

std::string network_body(const std::string& inspect, const NetworkChoices& choices, std::vector<std::string>& named) {
  const json network = parse(inspect);
  const std::string name = text(network, "Name");
  const bool crosses = choices.saved_by != choices.engine;
  json body = {{"Name", name}, {"Driver", text(network, "Driver")}};
  if (choices.engine == Kind::docker) body["CheckDuplicate"] = true;
  for (const char* key : {"Internal", "EnableIPv6"})
    if (member(network, key) == true) body[key] = true;
  if (member(network, "Attachable") == true && choices.engine == Kind::docker) body["Attachable"] = true;

  json options = json::object();
  if (const json saved = member(network, "Options"); saved.is_object())
    for (const auto& [key, value] : saved.items()) {
      if (!crosses || key == "parent" || key == "vlan" || key == "macvlan_mode")
        options[key] = value;
      else if (key == kDockerMtu || key == kPodmanMtu)
        options[choices.engine == Kind::docker ? kDockerMtu : kPodmanMtu] = value;
      else
        named.push_back("the option " + key + " of network " + name + " is the other engine's");
    }
  if (!options.empty()) body["Options"] = options;

  json labels = member(network, "Labels");
  if (!labels.is_object()) labels = json::object();
  labels.erase(kRestoreLabel);
  if (!choices.restore.empty()) labels[kRestoreLabel] = choices.restore;
  if (!labels.empty()) body["Labels"] = labels;

  json ranges = json::array();
  if (const json saved = member(member(network, "IPAM"), "Config"); saved.is_array() && choices.keep_subnets)
    for (const json& each : saved) {
      json range = json::object();
      for (const char* key : {"Subnet", "IPRange"})
        if (const std::string value = text(each, key); !value.empty()) range[key] = value;
      // Some versions write the prefix length to it.
      if (const std::string gateway = text(each, "Gateway"); !gateway.empty())
        range["Gateway"] = without_prefix(gateway);
      if (const json others = member(each, "AuxiliaryAddresses"); others.is_object() && !others.empty())
        range["AuxiliaryAddresses"] = others;
      if (!range.empty()) ranges.push_back(range);
    }
  const json ipam = member(network, "IPAM");
  const std::string driver = text(ipam, "Driver");
  json management = json::object();
  if (!ranges.empty()) management["Config"] = ranges;
  if (!crosses && !driver.empty() && driver != "default") {
    management["Driver"] = driver;
    if (const json saved = member(ipam, "Options"); saved.is_object() && !saved.empty()) management["Options"] = saved;
  } else if (crosses && driver != "default" && driver != "host-local" && !driver.empty()) {
    named.push_back("the address driver " + driver + " of network " + name + " is the other engine's");
  }
  if (!management.empty()) body["IPAM"] = management;
  return body.dump();
}

}  // namespace davit::jobs
