#include "jobs/container_conflicts.h"

#include <algorithm>
#include <optional>

namespace davit::jobs {

namespace {

bool is_any(const std::string& ip) { return ip.empty() || ip == "0.0.0.0" || ip == "::"; }

// Whether both cannot listen: one address, or one of them means all. IPv4 and IPv6 count as one, for engines bind both.
bool addresses_clash(const std::string& one, const std::string& other) {
  return is_any(one) || is_any(other) || one == other;
}

std::string port_name(const NeededPort& port) {
  std::string range = std::to_string(port.first);
  if (port.last != port.first) range += "-" + std::to_string(port.last);
  return (port.ip.empty() ? "" : port.ip + ":") + range + "/" + port.protocol;
}

class Search {
 public:
  Search(const Intent& intent, const Survey& survey) : intent_(intent), survey_(survey) {}

  Findings run() {
    name();
    image();
    if (intent_.publish) ports();
    devices();
    containers();
    networks();
    if (intent_.publish) addresses();
    return std::move(findings_);
  }

 private:
  void conflict(const std::string& what) { findings_.conflicts.push_back(what); }

  const engine::Container* container(const std::string& name) const {
    const auto found = std::find_if(survey_.containers.begin(), survey_.containers.end(),
                                    [&](const auto& each) { return each.name == name; });
    return found == survey_.containers.end() ? nullptr : &*found;
  }
  const NetworkFacts* network(const std::vector<NetworkFacts>& all, const std::string& name) const {
    const auto found = std::find_if(all.begin(), all.end(), [&](const auto& each) { return each.name == name; });
    return found == all.end() ? nullptr : &*found;
  }

  void name() {
    if (const auto* other = container(intent_.name))
      conflict("there is a container " + other->name + " already (" + other->id.substr(0, 12) + ", " + other->state +
               "): remove or rename it, or give another name (--as NEW)");
  }

  void image() {
    if (!intent_.architecture.empty() && !survey_.architecture.empty() &&
        intent_.architecture != survey_.architecture)
      conflict("its image is for " + intent_.architecture + ", this host is " + survey_.architecture);
  }

  // Who has the port; nothing where it is free.
  std::optional<std::string> holder(const NeededPort& wanted, uint16_t port) const {
    for (const auto& other : survey_.containers)
      for (const auto& published : other.ports)
        if (published.host_port == port && published.protocol == wanted.protocol &&
            addresses_clash(published.ip, wanted.ip))
          return "the container " + other.name;
    for (const auto& socket : survey_.sockets)
      if (socket.port == port && socket.protocol == wanted.protocol && addresses_clash(socket.address, wanted.ip))
        return "a process of this host";
    return std::nullopt;
  }

  void ports() {
    for (const NeededPort& wanted : intent_.needs.ports) {
      std::optional<std::string> last;
      bool free = false;
      for (uint32_t port = wanted.first; port <= wanted.last && !free; ++port) {
        last = holder(wanted, static_cast<uint16_t>(port));
        free = !last;
      }
      if (!free)
        conflict("port " + port_name(wanted) + " is in use by " + *last +
                 ": stop it, or publish nothing (--no-publish)");
    }
  }

  void devices() {
    for (const std::string& path : intent_.needs.devices) {
      const auto found = survey_.devices.find(path);
      const Presence presence = found == survey_.devices.end() ? Presence::unknown : found->second;
      if (presence == Presence::absent) conflict("the device " + path + " is not on this host");
      if (presence == Presence::unknown)
        findings_.notes.push_back("whether the device " + path + " is on this host cannot be seen from here");
    }
  }

  void containers() {
    for (const auto& [saved, what] : intent_.needs.containers) {
      const auto known = intent_.containers.find(saved);
      if (known == intent_.containers.end()) {
        conflict("its " + what + " is that of the container " + saved.substr(0, 12) +
                 ", which is not here and has no snapshot that would tell its name");
      } else if (container(known->second) == nullptr) {
        conflict((what == "link" ? "it has a link to the container " : "its " + what + " is that of the container ") +
                 known->second + ", which is not here: restore that first");
      }
    }
  }

  bool has_fixed_address_in(const std::string& name) const {
    return intent_.publish &&
           std::any_of(intent_.needs.addresses.begin(), intent_.needs.addresses.end(),
                       [&](const auto& each) { return each.network == name && !each.may_be_chance; });
  }

  void networks() {
    for (const std::string& name : intent_.needs.networks) {
      if (network(survey_.networks, name) != nullptr) continue;
      const auto* saved = network(intent_.saved_networks, name);
      if (saved == nullptr) {
        conflict("the network " + name + " is not here, and was not saved: make it first");
        continue;
      }
      if (!saved->can_be_made) {
        conflict("the network " + name + " is not here, and is a swarm's or made from another's configuration: "
                 "make it first");
        continue;
      }
      const auto& drivers = survey_.network_drivers;
      if (!drivers.empty() && std::find(drivers.begin(), drivers.end(), saved->driver) == drivers.end())
        conflict("the network " + name + " needs the driver " + saved->driver + ", which this engine does not have");
      findings_.networks.push_back(name);
      subnets(*saved);
    }
  }

  void subnets(const NetworkFacts& saved) {
    for (const std::string& subnet : saved.subnets)
      for (const auto& other : survey_.networks)
        for (const std::string& taken : other.subnets) {
          if (!subnets_overlap(subnet, taken)) continue;
          const std::string what = "the range " + subnet + " of network " + saved.name + " overlaps with " + taken +
                                   " of network " + other.name;
          if (has_fixed_address_in(saved.name))
            conflict(what + ", and the container has a fixed address in it");
          else if (findings_.without_subnet.insert(saved.name).second)
            findings_.notes.push_back(what + ": the engine chooses another one");
          return;
        }
  }

  void addresses() {
    for (const NeededAddress& wanted : intent_.needs.addresses) {
      const auto* here = network(survey_.networks, wanted.network);
      if (here == nullptr) {
        if (findings_.without_subnet.contains(wanted.network))
          findings_.addresses_left.emplace(wanted.network, wanted.address);
        continue;
      }
      std::string problem;
      // Docker gives an address that is asked for only where somebody chose the network's range, which it does not tell.
      if (wanted.may_be_chance && survey_.engine == engine::Kind::docker) problem = "may not be asked for";
      if (!here->subnets.empty() && std::none_of(here->subnets.begin(), here->subnets.end(), [&](const auto& subnet) {
            return subnet_holds(subnet, wanted.address);
          }))
        problem = "is not in the range of network " + wanted.network + " (" + here->subnets.front() + ")";
      for (const auto& member : here->members)
        for (const std::string& taken : member.addresses)
          if (taken == wanted.address)
            problem = "in network " + wanted.network + " is that of the container " + member.container;
      if (problem.empty()) continue;
      if (wanted.may_be_chance)
        findings_.addresses_left.emplace(wanted.network, wanted.address);
      else
        conflict("its fixed address " + wanted.address + " " + problem +
                 ": free it, or claim no address (--no-publish)");
    }
  }

  const Intent& intent_;
  const Survey& survey_;
  Findings findings_;
};

}  // namespace

Findings find_conflicts(const Intent& intent, const Survey& survey) { return Search(intent, survey).run(); }

}  // namespace davit::jobs
