#include "engine/docker_engine.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "engine/answers.h"

namespace davit::engine {

using nlohmann::json;

namespace {

constexpr size_t kShortIdBytes = 12;

// The engine's filter also finds a destination of that name; where the mounts are listed, they
// decide.
bool uses_volume(const Container& container, const std::string& volume) {
  return container.volumes.empty() ||
         std::any_of(container.volumes.begin(), container.volumes.end(),
                     [&](const VolumeMount& mount) { return mount.name == volume; });
}

std::string container_path(const std::string& id_or_name, const char* verb) {
  return "/containers/" + wire::percent_encode(id_or_name) + verb;
}

}  // namespace

std::string path_of(const std::string& name) {
  std::string path;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('/', begin), name.size());
    path += (begin > 0 ? "/" : "") + wire::percent_encode(name.substr(begin, end - begin));
    begin = end + 1;
  }
  return path;
}

std::string query_of(const json& filters) {
  return wire::percent_encode(filters.dump(-1, ' ', true, json::error_handler_t::replace));
}

wire::Deadlines DockerEngine::question() const {
  return {.idle = patience_.question, .total = patience_.question};
}
wire::Deadlines DockerEngine::change() const {
  return {.idle = patience_.change, .total = patience_.change};
}
wire::Deadlines DockerEngine::silence() const {
  return {.idle = patience_.silence};
}

std::string DockerEngine::get(const std::string& path) {
  return channel_.call({.path = path, .deadlines = question()}).body;
}

std::optional<std::string> DockerEngine::find(const std::string& path) {
  try {
    return get(path);
  } catch (const base::NotFound&) {
    return std::nullopt;
  }
}

std::string DockerEngine::post(const std::string& path, const std::string& body, bool once) {
  return channel_
      .call({.method = "POST", .path = path, .body = body, .deadlines = change(), .once = once})
      .body;
}

void DockerEngine::remove(const std::string& path) {
  try {
    channel_.call({.method = "DELETE", .path = path, .deadlines = change()});
  } catch (const base::NotFound&) {
  }
}

EngineInfo DockerEngine::info() {
  EngineInfo info = read_info(get("/info"), get("/version"));
  const Link link = channel_.link();
  info.kind = link.kind;
  info.api_version = link.version;
  // Managed plugins are not in /info; Podman has none.
  if (link.kind == Kind::docker)
    for (std::string& name : read_plugins(get("/plugins"), "docker.volumedriver/"))
      info.volume_drivers.push_back(std::move(name));
  return info;
}

std::vector<Container> DockerEngine::containers(const std::string& filters) {
  return read_containers(
      get("/containers/json?all=1" + (filters.empty() ? "" : "&filters=" + filters)));
}

std::vector<Container> DockerEngine::containers_using(const std::string& volume) {
  std::vector<Container> found = containers(query_of({{"volume", {volume}}}));
  std::erase_if(found, [&](const Container& each) { return !uses_volume(each, volume); });
  return found;
}

std::vector<Container> DockerEngine::list_containers(const std::string& label) {
  return containers(label.empty() ? "" : query_of({{"label", {label}}}));
}

ContainerDetails DockerEngine::inspect_container(const std::string& id_or_name) {
  ContainerDetails details = read_container_details(get(container_path(id_or_name, "/json")));
  // The beginning of another's ID finds that one.
  if (details.name != id_or_name && (id_or_name.size() < kShortIdBytes ||
                                     details.id.compare(0, id_or_name.size(), id_or_name) != 0))
    throw base::NotFound("the engine has no container " + id_or_name);
  return details;
}

std::string DockerEngine::top(const std::string& id) {
  std::string body = get(container_path(id, "/top"));
  // So Podman 4 answers of one that does not run.
  if (body.find_first_not_of(" \n") == body.npos)
    throw base::Conflict("the engine names no processes of container " + id + ": it does not run");
  return body;
}

std::string DockerEngine::changes(const std::string& id) {
  return channel_.call({.path = container_path(id, "/changes"), .deadlines = change()}).body;
}

void DockerEngine::pause(const std::string& id) {
  post(container_path(id, "/pause"));
}
void DockerEngine::unpause(const std::string& id) {
  post(container_path(id, "/unpause"));
}

std::string DockerEngine::create_container(const std::string& name, const std::string& body_json) {
  return read_id(
      post("/containers/create?name=" + wire::percent_encode(name), body_json, /*once=*/true));
}

void DockerEngine::start_container(const std::string& id) {
  post(container_path(id, "/start"));
}

void DockerEngine::stop_container(const std::string& id, std::chrono::seconds grace) {
  wire::Deadlines deadlines = change();
  if (deadlines.total.count() > 0) deadlines.idle = deadlines.total += grace;
  channel_.call({.method = "POST",
                 .path = container_path(id, "/stop?t=") + std::to_string(grace.count()),
                 .deadlines = deadlines});
}

void DockerEngine::remove_container(const std::string& id, bool force) {
  remove(container_path(id, force ? "?force=1&v=0" : "?force=0&v=0"));
}

std::unique_ptr<Engine> make_engine(const std::string& host, const Patience& patience) {
  return std::make_unique<DockerEngine>(host, patience);
}

}  // namespace davit::engine
