#include "cli/docker_plugin.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace davit::cli {

namespace {

// Docker's own options that take the next word as their value.
bool takes_value(const std::string& option) {
  static const std::vector<std::string> kOptions{
      "--config", "-c",          "--context",   "-H",        "--host",
      "-l",       "--log-level", "--tlscacert", "--tlscert", "--tlskey"};
  return std::find(kOptions.begin(), kOptions.end(), option) != kOptions.end();
}

}  // namespace

Invocation understand_call(const std::vector<std::string>& words) {
  if (words.empty()) return {"davit", {}};
  const std::string program = words[0].substr(words[0].rfind('/') + 1);
  Invocation call{"davit", {words.begin() + 1, words.end()}};
  if (program != "docker-davit") return call;
  call.called_as = "docker davit";
  // "docker __complete davit …" asks as "docker-davit __complete davit …".
  size_t at = 0;
  const bool completes = !call.arguments.empty() && call.arguments[0].starts_with("__complete");
  if (completes) at = 1;
  while (at < call.arguments.size() && call.arguments[at].starts_with("-"))
    at += takes_value(call.arguments[at]) ? 2 : 1;
  if (at < call.arguments.size() && call.arguments[at] == "davit")
    call.arguments.erase(call.arguments.begin() + (completes ? 1 : 0),
                         call.arguments.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  return call;
}

std::string plugin_metadata() {
  nlohmann::ordered_json metadata{{"SchemaVersion", "0.1.0"},
                                  {"Vendor", "davit"},
                                  {"Version", DAVIT_VERSION},
                                  {"ShortDescription", "Volumes that back themselves up"}};
  return metadata.dump() + "\n";
}

}  // namespace davit::cli
