// The daemon: parses, wires together, runs. Listens first and initialises after, so that an engine that starts the
// plugin finds it at once; ends within seconds when told to.
#pragma once

#include <map>
#include <string>

namespace davit::daemon {

struct Options {
  std::string data_directory;    // DATA
  std::string plugin_socket;     // for the engine
  std::string second_directory;  // holds a second copy of the installation's ID; "": nowhere
  std::string client;            // the program `davit` that is copied to DATA/bin; "": none
  std::map<std::string, std::string> environment;
};

// Returns after SIGTERM or SIGINT: the exit code. Throws what makes a start impossible.
int run(const Options& options);

}  // namespace davit::daemon
