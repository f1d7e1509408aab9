// What stands in the way of a container that is to be made again, found before anything is made. Pure: a survey of
// the engine and its host in, sentences out.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "jobs/container_document.h"
#include "jobs/host_view.h"
#include "jobs/network_spec.h"

namespace davit::jobs {

// What there is.
struct Survey {
  engine::Kind engine = engine::Kind::docker;
  std::string architecture;                    // of the engine, as in images; "": not known
  std::vector<engine::Container> containers;
  std::vector<NetworkFacts> networks;
  std::vector<std::string> network_drivers;    // none: not known
  std::vector<ListeningSocket> sockets;        // of the host
  std::map<std::string, Presence> devices;     // of those that are needed
};

// What is to be made.
struct Intent {
  std::string name;
  std::string architecture;                       // of its image; "": not known
  Needs needs;
  std::map<std::string, std::string> containers;  // of needs.containers: as saved -> name; absent: nobody knows it
  std::vector<NetworkFacts> saved_networks;
  bool publish = true;
};

struct Findings {
  std::vector<std::string> conflicts;      // nothing may be made
  std::vector<std::string> notes;          // what will differ
  std::vector<std::string> networks;       // to be made, by name
  std::set<std::string> without_subnet;    // of those: the saved range is another's now
  std::set<std::pair<std::string, std::string>> addresses_left;  // not asked for: another's now, and chance before
};
Findings find_conflicts(const Intent& intent, const Survey& survey);

}  // namespace davit::jobs
