// davitd: the daemon's main. Settings come from the environment and DATA/davit.conf; the few options here are what must
// be known before that file is found.
#include <malloc.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <climits>
#include <cstdio>

#include "base/errors.h"
#include "base/log.h"
#include "daemon.h"
#include "version.h"

namespace {

constexpr const char* kPluginData = "/mnt/davit/data";
constexpr const char* kPluginMount = "/mnt/davit";

std::map<std::string, std::string> environment() {
  std::map<std::string, std::string> variables;
  for (char** entry = ::environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (const size_t equals = text.find('='); equals != std::string_view::npos)
      variables.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return variables;
}

std::string or_default(const std::map<std::string, std::string>& variables, const char* key, std::string otherwise) {
  const auto found = variables.find(key);
  return found != variables.end() && !found->second.empty() ? found->second : otherwise;
}

// The client lies beside the daemon, or in the build tree's bin directory.
std::string find_client() {
  char path[PATH_MAX] = {};
  if (::readlink("/proc/self/exe", path, sizeof path - 1) < 0) return "";
  const std::string self = path;
  const std::string directory = self.substr(0, self.rfind('/'));
  for (const char* place : {"/davit", "/../bin/davit"})
    if (::access((directory + place).c_str(), X_OK) == 0) return directory + place;
  return "";
}

}  // namespace

int main(int argc, char** argv) {
  // Buffers get pages of their own and give them back: as it is, the allocator learns from the first large one that was
  // freed to keep them in its heaps, one of which each thread has, and a daemon would keep its largest hour for ever.
  ::mallopt(M_MMAP_THRESHOLD, 1 << 20);
  davit::daemon::Options options;
  options.environment = environment();
  CLI::App app("davitd: volumes that back themselves up");
  app.set_version_flag("--version", std::string("davitd ") + davit::kVersion);
  options.data_directory = or_default(options.environment, "DAVIT_DATA", "/var/lib/davit");
  options.plugin_socket = or_default(options.environment, "DAVIT_PLUGIN_SOCKET", "/run/docker/plugins/davit.sock");
  app.add_option("--data", options.data_directory, "the data directory (DAVIT_DATA)")->capture_default_str();
  app.add_option("--socket", options.plugin_socket, "the socket for the engine (DAVIT_PLUGIN_SOCKET)")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  options.second_directory =
      or_default(options.environment, "DAVIT_STATE", options.data_directory == kPluginData ? kPluginMount : "");
  if (options.second_directory == "off") options.second_directory.clear();
  options.client = find_client();
  try {
    davit::base::start_log("info");
    return davit::daemon::run(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "davitd: %s\n", error.what());
    return 1;
  }
}
