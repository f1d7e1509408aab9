// Networks that somebody made, read from their inspect documents, and the request that makes one again. Pure.
#pragma once

#include <string>
#include <vector>

#include "engine/engine.h"

namespace davit::jobs {

struct NetworkMember {
  std::string container;               // its name
  std::vector<std::string> addresses;  // without a prefix length
};
struct NetworkFacts {
  std::string name, driver, scope;
  std::vector<std::string> subnets;    // "10.1.0.0/16"
  std::vector<NetworkMember> members;  // those that run
  bool can_be_made = true;             // false: a swarm's, or made from another's configuration
  std::string restore;                 // the label of a restore that made it, else ""
};

// Throws Corrupt for what is no inspect document of a network.
NetworkFacts read_network(const std::string& inspect);
// The documents in a saved networks.json, by themselves. Throws Corrupt.
std::vector<std::string> split_networks(const std::string& networks_json);

// The label that a network carries which a restore made.
inline constexpr const char* kRestoreLabel = "davit.restore";

struct NetworkChoices {
  engine::Kind saved_by = engine::Kind::docker, engine = engine::Kind::docker;
  bool keep_subnets = true;  // false: the engine gives some
  std::string restore;       // value of the label; "": none
};
// Throws Corrupt. Appends to `named` what cannot be carried over, a sentence each.
std::string network_body(const std::string& inspect, const NetworkChoices& choices, std::vector<std::string>& named);

// Whether two ranges ("10.1.0.0/16", "fd00::/8") have an address in common. What is no range has none.
bool subnets_overlap(const std::string& one, const std::string& other);
bool subnet_holds(const std::string& subnet, const std::string& address);

}  // namespace davit::jobs
