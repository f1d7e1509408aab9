// The file in which a fake engine outlives its process.
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/bytes.h"
#include "base/fault.h"
#include "base/files.h"
#include "support/fake_engine.h"

namespace davit::test {

using nlohmann::json;

void FakeEngine::World::passes(const char* fault_point) const {
  if (!path.empty()) base::fault_point(fault_point);
}

void FakeEngine::World::keep() const {
  if (path.empty()) return;
  json file = {{"next", next},
               {"containers", json::array()},
               {"images", json::array()},
               {"networks", networks},
               {"volumes", volumes},
               {"unfinished", {unfinished.call, unfinished.name, base::base64(base::as_bytes(unfinished.body))}}};
  for (const auto& [id, each] : containers) {
    json mounts = json::array();
    for (const auto& mount : each.container.volumes) mounts.push_back(mount.name);
    file["containers"].push_back({{"id", id},
                                  {"name", each.container.name},
                                  {"state", each.container.state},
                                  {"image", each.container.image},
                                  {"image_id", each.container.image_id},
                                  {"labels", each.container.labels},
                                  {"volumes", mounts},
                                  {"started_at", each.started_at},
                                  {"networks", each.networks},
                                  {"body", each.body},
                                  {"layer", base::base64(base::as_bytes(each.layer))}});
  }
  for (const auto& [id, each] : images) {
    json layers = json::array();
    for (const auto& layer : each.layers) layers.push_back(base::base64(base::as_bytes(layer)));
    file["images"].push_back({{"id", id},
                              {"references", each.image.references},
                              {"labels", each.image.labels},
                              {"size", each.image.size_bytes},
                              {"layers", layers}});
  }
  // Not davit's way of writing files: its fault points are davit's.
  std::ofstream(path + ".new") << file.dump();
  std::rename((path + ".new").c_str(), path.c_str());
}

void FakeEngine::World::load() {
  const auto text = [](const std::string& encoded) { return std::string(base::as_text(base::from_base64(encoded))); };
  const auto bytes = base::find_file(path);
  if (!bytes) return;
  const json file = json::parse(base::as_text(*bytes));
  next = file.at("next");
  networks = file.at("networks").get<std::map<std::string, std::string>>();
  volumes = file.at("volumes").get<std::map<std::string, std::string>>();
  const json& left = file.at("unfinished");
  unfinished = {left.at(0), left.at(1), text(left.at(2))};
  for (const json& each : file.at("containers")) {
    ContainerState state;
    state.container.id = each.at("id");
    state.container.name = each.at("name");
    state.container.state = each.at("state");
    state.container.image = each.at("image");
    state.container.image_id = each.at("image_id");
    state.container.labels = each.at("labels").get<engine::Labels>();
    for (const json& volume : each.at("volumes")) {
      const std::string name = volume;
      state.container.volumes.push_back({name, "davit", "/" + name});
    }
    state.started_at = each.at("started_at");
    state.layer = text(each.at("layer"));
    state.networks = each.at("networks").get<std::vector<std::string>>();
    state.body = each.at("body");
    containers.insert_or_assign(state.container.id, std::move(state));
  }
  for (const json& each : file.at("images")) {
    ImageState state;
    state.image.id = each.at("id");
    state.image.references = each.at("references").get<std::vector<std::string>>();
    state.image.labels = each.at("labels").get<engine::Labels>();
    state.image.architecture = "amd64";
    state.image.size_bytes = each.at("size");
    for (const json& layer : each.at("layers")) state.layers.push_back(text(layer));
    images.insert_or_assign(state.image.id, std::move(state));
  }
}

void FakeEngine::World::begin(const Unfinished& what) {
  unfinished = what;
  keep();
  passes("engine:begun");
}

std::string FakeEngine::unfinished() {
  return world_.with([](const World& world) {
    return world.unfinished.call.empty() ? "" : world.unfinished.call + " " + world.unfinished.name;
  });
}

void FakeEngine::finish() {
  const Unfinished left = world_.with([](World& world) { return std::exchange(world.unfinished, {}); });
  if (left.call == "create_container") create_container(left.name, left.body);
  if (left.call == "create_network") create_network(left.body);
  if (left.call == "create_volume") create_volume(left.body);
  if (left.call == "load_image") unpack(left.body);
}

void FakeEngine::persist_in(const std::string& path) {
  world_.with([&](World& world) {
    world.path = path;
    world.load();
    world.keep();
  });
}

}  // namespace davit::test
