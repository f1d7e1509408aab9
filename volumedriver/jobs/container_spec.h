// The request that makes a container again from what was saved of it: command, environment, ports, mounts, limits
// and the rest, in the words of the engine and API version that it is for. Pure. What cannot be carried over is
// named, never dropped in silence.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "jobs/container_document.h"

namespace davit::jobs {

struct SpecChoices {
  engine::Kind engine = engine::Kind::docker;
  int api_minor = 41;                         // of API 1.x
  std::string name;                           // its new name
  std::string image;                          // reference
  std::string saved_host;                     // host's name where it was saved
  std::map<std::string, std::string> volumes;     // saved name -> name now; "": left to the engine; absent: as it was
  std::map<std::string, std::string> containers;  // other containers, as the document calls them -> name now
  std::set<std::pair<std::string, std::string>> addresses_left;  // (network, address) not to be asked for
  bool publish = true;                        // its ports, addresses and aliases; false for a copy beside it
};

struct ContainerSpec {
  std::string body;                                               // JSON, for create_container()
  std::vector<std::pair<std::string, std::string>> connections;   // network, JSON for connect_network()
  std::vector<std::string> named;                                 // what differs, a sentence each
};

ContainerSpec make_spec(const ContainerDocument& document, const SpecChoices& choices);

// "1.41" -> 41; 0 for what is no version.
int api_minor(const std::string& version);

}  // namespace davit::jobs
