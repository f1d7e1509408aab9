// The images, networks and volumes of fake_engine.h.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "support/fake_engine.h"
#include "support/small_tar.h"

namespace davit::test {

using base::Conflict;
using base::IoError;
using base::NotFound;
using nlohmann::json;

namespace {

constexpr size_t kPartBytes = 1024;

std::string name_in(const std::string& body_json) { return json::parse(body_json).at("Name").get<std::string>(); }

void stop_if(const std::stop_token& stop) {
  if (stop.stop_requested()) throw base::Cancelled();
}

}  // namespace

std::string FakeEngine::commit(const engine::CommitRequest& request, std::stop_token stop) {
  const std::string call = "commit " + request.container_id;
  begin(call);
  stop_if(stop);
  const auto [id, killed] = world_.with([&](World& world) {
    ContainerState& state = world.container(request.container_id);
    std::vector<std::string> layers{"base"};
    if (const ImageState* from = world.find(state.container.image_id)) layers = from->layers;
    layers.push_back(state.layer);
    engine::Labels labels = state.container.labels;
    for (const auto& [key, value] : request.labels) labels[key] = value;
    const Killed how = std::exchange(world.killed, Killed::never);
    const bool pauses = request.pause && state.container.state == "running";
    if (pauses) state.container.state = "paused";
    world.keep();
    world.passes("engine:paused");
    if (how == Killed::paused) return std::pair(std::string(), how);
    std::vector<std::string> references;
    if (how == Killed::never) references.push_back(request.repository + ":" + request.tag);
    const std::string made = world.add_image(references, labels, layers);
    world.keep();
    world.passes("engine:made");
    if (how == Killed::never && pauses) state.container.state = "running";
    world.keep();
    return std::pair(made, how);
  });
  if (killed != Killed::never) throw IoError("the engine was killed in a commit", 0, true);
  end(call);
  return id;
}

void FakeEngine::save_image(const std::string& reference, const std::function<void(base::ByteView)>& sink,
                            std::stop_token stop) {
  const std::string call = "save_image " + reference;
  begin(call);
  const auto [stream, hook] = world_.with([&](World& world) {
    const ImageState* image = world.find(reference);
    if (!image) throw NotFound("the engine refused it: reference does not exist: " + reference);
    return std::pair(world.stream_of(*image), world.streamed);
  });
  for (size_t at = 0; at < stream.size(); at += kPartBytes) {
    stop_if(stop);
    const std::string part = stream.substr(at, kPartBytes);
    sink(base::as_bytes(part));
    if (hook) hook(call, at + part.size());
  }
  end(call);
}

std::vector<std::string> FakeEngine::load_image(const wire::BodySource& tar, std::stop_token stop) {
  const std::string call = "load_image";
  begin(call);
  const auto hook = world_.with([](World& world) { return world.streamed; });
  std::string stream;
  for (uint8_t part[kPartBytes];;) {
    stop_if(stop);
    const size_t count = tar.read(part);
    if (count == 0) break;
    stream += base::as_text({part, count});
    if (hook) hook(call, stream.size());
  }
  if (tar.size_bytes && *tar.size_bytes != stream.size())
    throw IoError("a load said " + std::to_string(*tar.size_bytes) + " bytes and sent " +
                      std::to_string(stream.size()),
                  0, false);
  world_.with([&](World& world) { world.begin({"load_image", "", stream}); });
  const auto loaded = unpack(stream);
  end(call);
  return loaded;
}

std::vector<std::string> FakeEngine::unpack(const std::string& stream) {
  const auto files = tar_files(stream);
  std::vector<std::string> loaded;
  try {
    const json manifest = json::parse(files.at("manifest.json"));
    for (const json& entry : manifest) {
      const json config = json::parse(files.at(entry.at("Config").get<std::string>()));
      std::vector<std::string> layers, references;
      for (const json& path : entry.at("Layers")) layers.push_back(files.at(path.get<std::string>()));
      if (entry.at("RepoTags").is_array()) references = entry["RepoTags"].get<std::vector<std::string>>();
      const auto labels = config.at("config").at("Labels").get<engine::Labels>();
      const std::string id =
          world_.with([&](World& world) { return world.add_image(references, labels, layers); });
      if (references.empty()) references.push_back(id);
      loaded.insert(loaded.end(), references.begin(), references.end());
    }
  } catch (const json::exception& error) {
    throw IoError(std::string("the engine cannot load the image: ") + error.what(), 0, false);
  } catch (const std::out_of_range&) {
    throw IoError("the engine cannot load the image: a file that its manifest names is missing", 0, false);
  }
  world_.with([](World& world) {
    world.unfinished = {};
    world.keep();
  });
  return loaded;
}

std::optional<engine::Image> FakeEngine::find_image(const std::string& name) {
  return during("find_image " + name, [&](World& world) -> std::optional<engine::Image> {
    const ImageState* image = world.find(name);
    return image ? std::optional(image->image) : std::nullopt;
  });
}

std::vector<engine::Image> FakeEngine::list_images(const engine::Labels& labels, bool dangling_only) {
  return during("list_images", [&](World& world) {
    std::vector<engine::Image> found;
    for (const auto& [id, each] : world.images) {
      if (dangling_only && !each.image.references.empty()) continue;
      if (std::all_of(labels.begin(), labels.end(), [&, &has = each.image.labels](const auto& label) {
            const auto it = has.find(label.first);
            return it != has.end() && (label.second.empty() || it->second == label.second);
          }))
        found.push_back(each.image);
    }
    return found;
  });
}

void FakeEngine::remove_image(const std::string& name) {
  during("remove_image " + name, [&](World& world) {
    ImageState* image = world.find(name);
    if (!image) return;
    const std::string id = image->image.id;
    auto& references = image->image.references;
    const bool last = references.size() <= 1;
    if (name == id && !last)
      throw Conflict("the engine refused it: image is referenced in multiple repositories: " + name);
    for (const auto& [key, each] : world.containers)
      if (last && each.container.image_id == id)
        throw Conflict("the engine refused it: container " + each.container.name + " is using the image " + name);
    std::erase(references, name);
    if (last) world.images.erase(id);
  });
}

void FakeEngine::tag_image(const std::string& name, const std::string& repository, const std::string& tag) {
  during("tag_image " + name, [&](World& world) {
    if (!world.find(name)) throw NotFound("the engine refused it: No such image: " + name);
    world.take_reference(repository + ":" + tag);
    world.find(name)->image.references.push_back(repository + ":" + tag);
  });
}

std::vector<std::string> FakeEngine::list_networks() {
  return during("list_networks", [&](World& world) {
    std::vector<std::string> names{"bridge", "host", "none"};
    for (const auto& [name, body] : world.networks) names.push_back(name);
    return names;
  });
}

std::optional<std::string> FakeEngine::find_network(const std::string& name) {
  return during("find_network " + name, [&](World& world) -> std::optional<std::string> {
    const auto found = world.networks.find(name);
    return found == world.networks.end() ? std::nullopt : std::optional(found->second);
  });
}

std::string FakeEngine::create_network(const std::string& body_json) {
  const std::string name = name_in(body_json);
  return during("create_network " + name, [&](World& world) {
    world.begin({"create_network", name, body_json});
    world.unfinished = {};
    if (!world.networks.emplace(name, body_json).second)
      throw Conflict("the engine refused it: network with name " + name + " already exists");
    return world.make_id();
  });
}

void FakeEngine::remove_network(const std::string& name) {
  during("remove_network " + name, [&](World& world) { world.networks.erase(name); });
}

void FakeEngine::connect_network(const std::string& network, const std::string& body_json) {
  during("connect_network " + network, [&](World& world) {
    if (!world.networks.count(network)) throw NotFound("the engine refused it: network " + network + " not found");
    world.container(json::parse(body_json).at("Container").get<std::string>()).networks.push_back(network);
  });
}

std::optional<std::string> FakeEngine::find_volume(const std::string& name) {
  return during("find_volume " + name, [&](World& world) -> std::optional<std::string> {
    const auto found = world.volumes.find(name);
    return found == world.volumes.end() ? std::nullopt : std::optional(found->second);
  });
}

void FakeEngine::create_volume(const std::string& body_json) {
  const std::string name = name_in(body_json), call = "create_volume " + name;
  begin(call);
  const auto make = world_.with([&](World& world) {
    world.begin({"create_volume", name, body_json});
    return world.volumes.contains(name) ? nullptr : world.make_volume;
  });
  if (make) make(name, json::parse(body_json).value("DriverOpts", std::map<std::string, std::string>()));
  world_.with([&](World& world) {
    world.unfinished = {};
    world.volumes.try_emplace(name, body_json);
    world.keep();
  });
  end(call);
}

// As engines do: a name that is not there is a new volume.
void FakeEngine::make_volumes_of(const std::string& body_json) {
  const json binds = json::parse(body_json).value("HostConfig", json::object()).value("Binds", json::array());
  for (const json& bind : binds) {
    const std::string text = bind, name = text.substr(0, text.find(':'));
    const auto make = world_.with([&](World& world) { return world.volumes.contains(name) ? nullptr : world.make_volume; });
    if (!make || name.empty() || name.front() == '/') continue;
    make(name, {});
    world_.with([&](World& world) {
      world.volumes.try_emplace(name, json{{"Name", name}, {"Driver", "davit:latest"}}.dump());
      world.keep();
    });
  }
}

void FakeEngine::remove_volume(const std::string& name) {
  const std::string call = "remove_volume " + name;
  begin(call);
  const auto remove = world_.with([&](World& world) {
    for (const auto& [id, each] : world.containers)
      for (const auto& mount : each.container.volumes)
        if (mount.name == name) throw Conflict("the engine refused it: volume is in use - " + each.container.name);
    return world.volumes.contains(name) ? world.remove_volume : nullptr;
  });
  if (remove) remove(name);
  world_.with([&](World& world) {
    world.volumes.erase(name);
    world.keep();
  });
  end(call);
}

}  // namespace davit::test
