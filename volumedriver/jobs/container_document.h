// What an engine said of a container (its inspect document), read into one form: Docker's words, whichever engine
// and version wrote it. Pure; keeps everything that was asked for and leaves out what only happened (IDs, dates,
// addresses that were given out, the aliases that engines add).
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace davit::jobs {

// Where the container is connected. Its addresses are those that were asked for.
struct Endpoint {
  std::string network;
  std::vector<std::string> aliases, links;
  std::string ipv4, ipv6;
  // Podman shows the address that a running container has, and not whether it was asked for.
  bool address_may_be_chance = false;
  nlohmann::json driver_options;  // null where there are none
};

struct NetworkMode {
  enum class Type : uint8_t { none, host, container, automatic, user, other };
  Type type = Type::automatic;  // automatic: the engine's own network; user: networks that somebody made
  std::string value;            // container: its ID or name; other: Podman's own words (slirp4netns, pasta:…)
};

// A mount, whichever way it was asked for. tmpfs is left in the host configuration.
struct DocumentMount {
  enum class Type : uint8_t { volume, bind, other };
  Type type = Type::bind;
  std::string source;                // the volume's name, or a path on the host
  std::string destination, driver;   // driver: a volume's
  bool read_only = false, anonymous = false;
  std::vector<std::string> options;  // z, Z, nocopy, rslave, …: what a -v would say
  nlohmann::json mount;              // as it stood in HostConfig.Mounts, else null
};

struct ContainerDocument {
  engine::Kind written_by = engine::Kind::docker;
  std::string id, name;
  bool running = false;
  nlohmann::json config, host;  // objects
  NetworkMode mode;
  std::vector<Endpoint> endpoints;  // the first is the one that it is made with
  std::vector<DocumentMount> mounts;
};

// Throws Corrupt for what is no inspect document.
ContainerDocument read_container(const std::string& inspect, engine::Kind written_by);

// ---- what it needs of a host, with the names that were saved

struct NeededVolume {
  std::string name, driver;
  std::vector<std::string> destinations;
  bool anonymous = false;  // the engine invented the name: nobody asks for it again
};
struct NeededPort {
  std::string ip, protocol;  // ip "": any
  uint16_t first = 0, last = 0;  // one of them
};
struct NeededAddress {
  std::string network, address;
  bool may_be_chance = false;
};
struct Needs {
  std::vector<NeededVolume> volumes;
  std::vector<std::string> networks;    // that somebody made
  std::vector<NeededPort> ports;        // those that are named; others are given out by the engine
  std::vector<NeededAddress> addresses;
  std::vector<std::string> devices;     // paths on the host
  // Other containers that must be there: IDs or names, and what for ("network", "pid", "ipc", "link").
  std::vector<std::pair<std::string, std::string>> containers;
};
Needs needs_of(const ContainerDocument& document);

// "MODE:…" of pid, ipc and network modes such as "container:web"; nothing for others.
std::optional<std::string> container_of_mode(const std::string& mode);

}  // namespace davit::jobs
