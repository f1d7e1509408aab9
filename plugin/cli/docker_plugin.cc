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
  Invocation call{"davit", {words.begin() + 1, words.end()}};
  std::vector<std::string>& arguments = call.arguments;
  const auto begins_with = [&](const char* word) {
    return !arguments.empty() && arguments[0].starts_with(word);
  };

  if (words[0].substr(words[0].rfind('/') + 1) == "docker-davit") {
    call.called_as = "docker davit";
    // "docker help davit" and "docker __complete davit" put their own word in front.
    const size_t kept = begins_with("help") || begins_with("__complete") ? 1 : 0;
    size_t at = kept;
    while (at < arguments.size() && arguments[at].starts_with("-"))
      at += takes_value(arguments[at]) ? 2 : 1;
    if (at < arguments.size() && arguments[at] == "davit")
      arguments.erase(arguments.begin() + static_cast<std::ptrdiff_t>(kept),
                      arguments.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
  if (!arguments.empty() && arguments[0] == "help") {
    arguments.erase(arguments.begin());
    arguments.push_back("--help");
  }
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
