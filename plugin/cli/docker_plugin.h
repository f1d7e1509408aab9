// Being `docker davit`: Docker finds plugins by asking them for metadata, and calls them with their
// own name, and maybe options of its own, in front of the arguments.
#pragma once

#include <string>
#include <vector>

namespace davit::cli {

struct Invocation {
  std::string called_as;               // "davit" or "docker davit"; for help texts
  std::vector<std::string> arguments;  // of davit's own
};
// `words` is argv, with the program's name. Called as docker-davit, what precedes and includes the
// word davit goes. "help COMMAND" becomes "COMMAND --help".
Invocation understand_call(const std::vector<std::string>& words);

// What `docker-cli-plugin-metadata` prints.
std::string plugin_metadata();

}  // namespace davit::cli
