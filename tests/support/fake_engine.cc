#include "support/fake_engine.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "crypto/sha256.h"
#include "support/small_tar.h"

namespace davit::test {

using base::Conflict;
using base::IoError;
using base::NotFound;
using nlohmann::json;

namespace {

std::string digest(const std::string& text) { return crypto::sha256(base::as_bytes(text)).hex(); }

bool has_label(const engine::Labels& labels, const std::string& key, const std::string& value) {
  const auto found = labels.find(key);
  return found != labels.end() && (value.empty() || found->second == value);
}

json mounts_of(const std::vector<engine::VolumeMount>& volumes) {
  json mounts = json::array();
  for (const auto& each : volumes)
    mounts.push_back({{"Type", "volume"}, {"Name", each.name}, {"Driver", each.driver},
                      {"Destination", each.destination}});
  return mounts;
}

}  // namespace

// ---- the world

std::string FakeEngine::World::make_id() { return digest("id " + std::to_string(next++)); }
std::string FakeEngine::World::make_time() {
  char text[48];
  std::snprintf(text, sizeof text, "2026-01-01T00:00:00.%09dZ", static_cast<int>(next++));
  return text;
}

FakeEngine::ContainerState& FakeEngine::World::container(const std::string& id_or_name) {
  for (auto& [id, each] : containers)
    if (id == id_or_name || each.container.name == id_or_name) return each;
  throw NotFound("the engine refused it: No such container: " + id_or_name);
}

FakeEngine::ImageState* FakeEngine::World::find(const std::string& name) {
  for (auto& [id, each] : images) {
    const auto& references = each.image.references;
    if (id == name || std::find(references.begin(), references.end(), name) != references.end()) return &each;
  }
  return nullptr;
}

void FakeEngine::World::take_reference(const std::string& reference) {
  for (auto& [id, each] : images) std::erase(each.image.references, reference);
}

std::string FakeEngine::World::add_image(const std::vector<std::string>& references, const engine::Labels& labels,
                                         const std::vector<std::string>& layers) {
  ImageState made{{.id = "", .references = {}, .labels = labels, .architecture = "amd64", .size_bytes = 0}, layers};
  for (const std::string& layer : layers) made.image.size_bytes += layer.size();
  const std::string id = "sha256:" + digest(tar_files(stream_of(made)).at("config.json"));
  made.image.id = id;
  auto& image = images.try_emplace(id, made).first->second.image;
  for (const std::string& reference : references) {
    take_reference(reference);
    image.references.push_back(reference);
  }
  return id;
}

// As docker-archive has it, but for the names of the members.
std::string FakeEngine::World::stream_of(const ImageState& state) const {
  json diff_ids = json::array(), paths = json::array();
  std::string tar;
  for (const std::string& layer : state.layers) {
    const std::string path = digest(layer) + "/layer.tar";
    if (std::find(paths.begin(), paths.end(), path) == paths.end()) tar += tar_member(path, layer);
    paths.push_back(path);
    diff_ids.push_back("sha256:" + digest(layer));
  }
  const json config = {{"architecture", "amd64"}, {"os", "linux"}, {"config", {{"Labels", state.image.labels}}},
                       {"rootfs", {{"type", "layers"}, {"diff_ids", diff_ids}}}};
  const json manifest = json::array(
      {{{"Config", "config.json"}, {"RepoTags", state.image.references}, {"Layers", paths}}});
  return tar + tar_member("config.json", config.dump()) + tar_member("manifest.json", manifest.dump()) + tar_end();
}

std::string FakeEngine::add_container(const NewContainer& made) {
  return world_.with([&](World& world) {
    const ImageState* image = world.find(made.image);
    const std::string image_id = image ? image->image.id : world.add_image({made.image}, {}, {"base"});
    ContainerState state;
    state.container = {.id = world.make_id(), .name = made.name, .state = made.state, .image = made.image,
                       .image_id = image_id, .labels = made.labels, .volumes = {}, .ports = made.ports};
    for (const std::string& volume : made.volumes) state.container.volumes.push_back({volume, "davit", "/" + volume});
    state.networks = made.networks;
    for (const std::string& network : made.networks)
      world.networks.try_emplace(network, json{{"Name", network}, {"Driver", "bridge"}}.dump());
    state.started_at = world.make_time();
    state.layer = made.layer;
    state.error = made.error;
    state.body = json{{"HostConfig", {{"RestartPolicy", {{"Name", made.restart}}}}}}.dump();
    const std::string id = state.container.id;
    world.containers.emplace(id, std::move(state));
    world.keep();
    return id;
  });
}

void FakeEngine::set_layer(const std::string& container, const std::string& bytes) {
  world_.with([&](World& world) { world.container(container).layer = bytes; });
}

std::string FakeEngine::add_image(const std::string& reference, const engine::Labels& labels,
                                  const std::string& layer) {
  return world_.with([&](World& world) { return world.add_image({reference}, labels, {layer}); });
}

void FakeEngine::set(const std::string& volume, const std::string& name, const std::string& state) {
  const bool known = world_.with([&](World& world) {
    for (auto& [id, each] : world.containers)
      if (each.container.name == name) {
        auto& volumes = each.container.volumes;
        each.container.state = state;
        if (std::none_of(volumes.begin(), volumes.end(), [&](const auto& mount) { return mount.name == volume; }))
          volumes.push_back({volume, "davit", "/" + volume});
        return true;
      }
    return false;
  });
  if (!known) add_container({.name = name, .state = state, .volumes = {volume}});
}

// ---- faults and looks

void FakeEngine::on_call(Hook hook) { world_.lock()->called = std::move(hook); }
void FakeEngine::on_done(Hook hook) { world_.lock()->done = std::move(hook); }
void FakeEngine::drive_volumes(MakeVolume make, Hook remove) {
  world_.with([&](World& world) {
    world.make_volume = std::move(make);
    world.remove_volume = std::move(remove);
  });
}
void FakeEngine::on_stream(std::function<void(const std::string&, uint64_t)> hook) {
  world_.lock()->streamed = std::move(hook);
}

void FakeEngine::begin(const std::string& call) {
  const auto [hook, why] = world_.with([&](World& world) {
    world.calls.push_back(call);
    world.passes("engine:called");
    return std::pair(world.called, world.failure);
  });
  if (hook) hook(call);
  if (!why.empty()) throw IoError(why, 0);
}
void FakeEngine::end(const std::string& call) {
  const Hook hook = world_.with([](World& world) {
    world.passes("engine:done");
    return world.done;
  });
  if (hook) hook(call);
}

std::vector<std::string> FakeEngine::calls() { return world_.lock()->calls; }
std::string FakeEngine::state(const std::string& name) {
  return world_.with([&](World& world) -> std::string {
    for (const auto& [id, each] : world.containers)
      if (id == name || each.container.name == name) return each.container.state;
    return "";
  });
}
std::vector<std::string> FakeEngine::references() {
  return world_.with([](World& world) {
    std::vector<std::string> all;
    for (const auto& [id, each] : world.images)
      all.insert(all.end(), each.image.references.begin(), each.image.references.end());
    std::sort(all.begin(), all.end());
    return all;
  });
}
size_t FakeEngine::dangling() {
  return world_.with([](World& world) {
    return static_cast<size_t>(std::count_if(world.images.begin(), world.images.end(),
                                             [](const auto& each) { return each.second.image.references.empty(); }));
  });
}
bool FakeEngine::has_volume(const std::string& name) { return world_.lock()->volumes.count(name) > 0; }
bool FakeEngine::has_network(const std::string& name) { return world_.lock()->networks.count(name) > 0; }

// ---- containers

engine::EngineInfo FakeEngine::info() {
  return during("info", [&](World&) {
    return engine::EngineInfo{.kind = kind_, .version = "20.10.24", .api_version = "1.41", .architecture = "amd64",
                              .storage_driver = "overlay2", .data_root = "/var/lib/docker", .containerd_store = false,
                              .volume_drivers = {"local", "davit:latest"}, .network_drivers = {"bridge", "host"}};
  });
}

std::vector<engine::Container> FakeEngine::containers_using(const std::string& volume) {
  return during("containers_using " + volume, [&](World& world) {
    std::vector<engine::Container> found;
    for (const auto& [id, each] : world.containers)
      if (std::any_of(each.container.volumes.begin(), each.container.volumes.end(),
                      [&](const auto& mount) { return mount.name == volume; }))
        found.push_back(each.container);
    return found;
  });
}

std::vector<engine::Container> FakeEngine::list_containers(const std::string& label) {
  return during("list_containers", [&](World& world) {
    const size_t equals = std::min(label.find('='), label.size());
    const std::string value = equals < label.size() ? label.substr(equals + 1) : "";
    std::vector<engine::Container> found;
    for (const auto& [id, each] : world.containers)
      if (label.empty() || has_label(each.container.labels, label.substr(0, equals), value))
        found.push_back(each.container);
    return found;
  });
}

engine::ContainerDetails FakeEngine::inspect_container(const std::string& id_or_name) {
  return during("inspect_container " + id_or_name, [&](World& world) {
    const ContainerState& state = world.container(id_or_name);
    const engine::Container& container = state.container;
    engine::ContainerDetails details;
    details.id = container.id;
    details.name = container.name;
    details.image = container.image;
    details.image_id = container.image_id;
    details.started_at = state.started_at;
    details.running = container.is_running();
    details.paused = container.state == "paused";
    details.labels = container.labels;
    details.volumes = container.volumes;
    details.networks = state.networks;
    json networks = json::object();
    for (const std::string& name : state.networks) networks[name] = json::object();
    json document = json::parse(state.body);
    const json host = document.value("HostConfig", json::object());
    document.erase("HostConfig");
    document.erase("NetworkingConfig");
    document["Image"] = container.image;
    document["Labels"] = container.labels;
    details.json = json{{"Id", container.id},
                        {"Name", "/" + container.name},
                        {"Image", container.image_id},
                        {"Config", document},
                        {"HostConfig", host},
                        {"State",
                         {{"Status", container.state},
                          {"Running", details.running},
                          {"Paused", details.paused},
                          {"Error", state.error},
                          {"StartedAt", state.started_at}}},
                        {"Mounts", mounts_of(container.volumes)},
                        {"NetworkSettings", {{"Networks", networks}}}}
                       .dump();
    return details;
  });
}

std::string FakeEngine::top(const std::string& id) {
  return during("top " + id, [&](World& world) {
    const auto& container = world.container(id).container;
    if (!container.is_running())
      throw Conflict("the engine refused it: Container " + container.id + " is not running");
    return std::string(R"({"Titles":["PID","CMD"],"Processes":[["1","sleep"]]})");
  });
}

std::string FakeEngine::changes(const std::string& id) {
  return during("changes " + id, [&](World& world) {
    world.container(id);
    return std::string(R"([{"Kind":1,"Path":"/new"}])");
  });
}

void FakeEngine::pause(const std::string& id) {
  during("pause " + id, [&](World& world) {
    auto& container = world.container(id).container;
    if (container.state != "running") throw Conflict("the engine refused it: Container " + id + " is " + container.state);
    container.state = "paused";
  });
}

void FakeEngine::unpause(const std::string& id) {
  during("unpause " + id, [&](World& world) {
    auto& container = world.container(id).container;
    if (container.state != "paused") throw Conflict("the engine refused it: Container " + id + " is not paused");
    container.state = "running";
  });
}

std::string FakeEngine::create_container(const std::string& name, const std::string& body_json) {
  const std::string call = "create_container " + name;
  begin(call);
  world_.with([&](World& world) { world.begin({"create_container", name, body_json}); });
  make_volumes_of(body_json);
  const std::string made = world_.with([&](World& world) {
    const json body = json::parse(body_json);
    world.unfinished = {};
    for (const auto& [id, each] : world.containers)
      if (each.container.name == name) throw Conflict("the engine refused it: the name " + name + " is in use");
    const std::string image = body.at("Image").get<std::string>();
    const ImageState* from = world.find(image);
    if (!from) throw NotFound("the engine refused it: No such image: " + image);
    ContainerState state;
    state.container.id = world.make_id();
    state.container.name = name;
    state.container.state = "created";
    state.container.image = image;
    state.container.image_id = from->image.id;
    state.container.labels = body.value("Labels", engine::Labels());
    const json host = body.value("HostConfig", json::object());
    const json mounts = host.value("Mounts", json::array()), binds = host.value("Binds", json::array());
    for (const json& mount : mounts)
      if (mount.value("Type", "") == "volume")
        state.container.volumes.push_back({mount.value("Source", ""), "davit", mount.value("Target", "")});
    for (const json& bind : binds) {
      const std::string text = bind.get<std::string>();
      if (text.front() == '/' || text.find(':') == text.npos) continue;
      const std::string rest = text.substr(text.find(':') + 1);
      state.container.volumes.push_back({text.substr(0, text.find(':')), "davit", rest.substr(0, rest.find(':'))});
    }
    const json networking = body.value("NetworkingConfig", json::object());
    const json endpoints = networking.value("EndpointsConfig", json::object());
    for (const auto& endpoint : endpoints.items()) state.networks.push_back(endpoint.key());
    state.started_at = "0001-01-01T00:00:00Z";
    state.body = body_json;
    const std::string id = state.container.id;
    world.containers.emplace(id, std::move(state));
    world.keep();
    return id;
  });
  end(call);
  return made;
}

void FakeEngine::start_container(const std::string& id) {
  during("start_container " + id, [&](World& world) {
    ContainerState& state = world.container(id);
    if (state.container.is_running()) return;
    state.container.state = "running";
    state.started_at = world.make_time();
  });
}

void FakeEngine::stop_container(const std::string& id, std::chrono::seconds) {
  during("stop_container " + id, [&](World& world) {
    auto& container = world.container(id).container;
    if (container.is_running()) container.state = "exited";
  });
}

void FakeEngine::remove_container(const std::string& id, bool force) {
  during("remove_container " + id, [&](World& world) {
    for (auto& [key, each] : world.containers) {
      if (key != id && each.container.name != id) continue;
      if (each.container.is_running() && !force) throw Conflict("the engine refused it: container " + id + " runs");
      world.containers.erase(key);
      return;
    }
  });
}

}  // namespace davit::test
