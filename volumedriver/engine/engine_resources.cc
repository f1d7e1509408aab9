#include <nlohmann/json.hpp>

#include "engine/answers.h"
#include "engine/docker_engine.h"

namespace davit::engine {

using nlohmann::json;

namespace {

std::string network_path(const std::string& name) {
  return "/networks/" + wire::percent_encode(name);
}
std::string volume_path(const std::string& name) {
  return "/volumes/" + wire::percent_encode(name);
}

}  // namespace

std::vector<std::string> DockerEngine::list_networks() {
  return read_names(get("/networks"));
}

std::optional<std::string> DockerEngine::find_network(const std::string& name) {
  auto body = find(network_path(name));
  // The beginning of another's ID finds that one.
  if (body && read_names("[" + *body + "]").front() != name) return std::nullopt;
  return body;
}

std::string DockerEngine::create_network(const std::string& body_json) {
  // Else Docker before 25 makes a second one of the same name.
  json body = json::parse(body_json);
  body["CheckDuplicate"] = true;
  return read_id(post("/networks/create", body.dump(), /*once=*/true));
}

void DockerEngine::remove_network(const std::string& name) {
  remove(network_path(name));
}

void DockerEngine::connect_network(const std::string& network, const std::string& body_json) {
  post(network_path(network) + "/connect", body_json);
}

std::optional<std::string> DockerEngine::find_volume(const std::string& name) {
  return find(volume_path(name));
}

void DockerEngine::create_volume(const std::string& body_json) {
  post("/volumes/create", body_json);
}

void DockerEngine::remove_volume(const std::string& name) {
  remove(volume_path(name));
}

}  // namespace davit::engine
