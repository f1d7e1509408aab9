#include "engine/answers.h"

#include <algorithm>

#include "base/errors.h"

namespace davit::engine {

using nlohmann::json;

namespace {

constexpr size_t kMaxLoadLineBytes = 1 << 20;
constexpr size_t kTarEndBytes = 1024, kTarBlockBytes = 512, kTailBytes = 8192;

// Runs `read` upon the parsed body; whatever is not as it must be is Corrupt.
template <typename Read>
auto parsed(const std::string& body, const char* what, Read read) {
  try {
    return read(json::parse(body));
  } catch (const json::exception& error) {
    throw base::Corrupt(std::string("the engine's ") + what + " cannot be read: " + error.what());
  }
}

// A list must be one: an object would pass for an empty list.
const json::array_t& members_of(const json& list) {
  return list.get_ref<const json::array_t&>();
}

// What may be absent, null, or of another kind.
std::string text_of(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}
bool is_true(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_boolean() && found->get<bool>();
}
const json& part_of(const json& object, const char* key) {
  static const json kNone;
  const auto found = object.find(key);
  return found != object.end() ? *found : kNone;
}
uint64_t number_of(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number_integer() && *found >= 0 ? found->get<uint64_t>()
                                                                            : 0;
}
std::vector<std::string> texts_of(const json& list) {
  std::vector<std::string> texts;
  if (list.is_array())
    for (const json& each : list)
      if (each.is_string()) texts.push_back(each.get<std::string>());
  return texts;
}
Labels labels_of(const json& object) {
  Labels labels;
  if (object.is_object())
    for (const auto& [key, value] : object.items())
      if (value.is_string()) labels[key] = value.get<std::string>();
  return labels;
}

std::string without_slash(std::string name) {
  if (!name.empty() && name.front() == '/') name.erase(0, 1);
  return name;
}

std::vector<VolumeMount> volumes_of(const json& mounts) {
  std::vector<VolumeMount> volumes;
  if (mounts.is_array())
    for (const json& mount : mounts)
      if (mount.is_object() && text_of(mount, "Type") == "volume")
        volumes.push_back(
            {text_of(mount, "Name"), text_of(mount, "Driver"), text_of(mount, "Destination")});
  return volumes;
}

std::vector<PublishedPort> ports_of(const json& list) {
  std::vector<PublishedPort> ports;
  if (list.is_array())
    for (const json& port : list)
      if (port.is_object() && number_of(port, "PublicPort") != 0)
        ports.push_back({text_of(port, "IP"), text_of(port, "Type"),
                         static_cast<uint16_t>(number_of(port, "PrivatePort")),
                         static_cast<uint16_t>(number_of(port, "PublicPort"))});
  return ports;
}

std::vector<std::string> references_of(const json& list) {
  std::vector<std::string> references = texts_of(list);
  std::erase(references, "<none>:<none>");
  return references;
}

Container to_container(const json& entry) {
  Container container;
  container.id = entry.at("Id").get<std::string>();
  container.state = entry.at("State").get<std::string>();
  container.image = text_of(entry, "Image");
  container.image_id = image_id(text_of(entry, "ImageID"));
  // Links add names such as "/web/db"; its own has one slash.
  for (const std::string& each : texts_of(part_of(entry, "Names"))) {
    std::string name = without_slash(each);
    if (container.name.empty() || name.find('/') == name.npos) container.name = std::move(name);
  }
  container.labels = labels_of(part_of(entry, "Labels"));
  container.volumes = volumes_of(part_of(entry, "Mounts"));
  container.ports = ports_of(part_of(entry, "Ports"));
  return container;
}

Image to_image(const json& entry) {
  Image image;
  image.id = image_id(entry.at("Id").get<std::string>());
  image.references = references_of(part_of(entry, "RepoTags"));
  image.labels = labels_of(part_of(entry, "Labels"));
  image.architecture = text_of(entry, "Architecture");
  image.size_bytes = number_of(entry, "Size");
  return image;
}

// The words of {"error":…} or {"errorDetail":{"message":…}}; "" where it is neither.
std::string error_in(std::string_view line) {
  const json object = json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return "";
  std::string words = text_of(part_of(object, "errorDetail"), "message");
  if (words.empty()) words = text_of(object, "error");
  return words.empty() && (object.contains("error") || object.contains("errorDetail"))
             ? "an error without words"
             : words;
}

}  // namespace

std::string image_id(const std::string& id) {
  return id.size() == 64 && id.find(':') == id.npos ? "sha256:" + id : id;
}

std::string message_of(const wire::HttpResponse& response) {
  const json answer = json::parse(response.body, nullptr, /*allow_exceptions=*/false);
  std::string words = answer.is_object() ? text_of(answer, "message") : "";
  std::replace(words.begin(), words.end(), '\n', ' ');
  return words.empty() ? "HTTP " + std::to_string(response.status) : words;
}

std::vector<Container> read_containers(const std::string& body) {
  return parsed(body, "list of containers", [](const json& list) {
    std::vector<Container> containers;
    for (const json& entry : members_of(list)) containers.push_back(to_container(entry));
    return containers;
  });
}

ContainerDetails read_container_details(const std::string& body) {
  ContainerDetails details = parsed(body, "description of a container", [](const json& object) {
    ContainerDetails details;
    details.id = object.at("Id").get<std::string>();
    details.name = without_slash(object.at("Name").get<std::string>());
    details.image_id = image_id(text_of(object, "Image"));
    const json& state = object.at("State");
    details.started_at = text_of(state, "StartedAt");
    details.paused = is_true(state, "Paused");
    details.running = is_true(state, "Running") || details.paused;
    const json& config = object.at("Config");
    details.image = text_of(config, "Image");
    details.labels = labels_of(part_of(config, "Labels"));
    details.volumes = volumes_of(part_of(object, "Mounts"));
    const json& networks = part_of(part_of(object, "NetworkSettings"), "Networks");
    if (networks.is_object())
      for (const auto& network : networks.items()) details.networks.push_back(network.key());
    return details;
  });
  details.json = body;
  return details;
}

std::vector<Image> read_images(const std::string& body) {
  return parsed(body, "list of images", [](const json& list) {
    std::vector<Image> images;
    for (const json& entry : members_of(list)) images.push_back(to_image(entry));
    return images;
  });
}

Image read_image(const std::string& body) {
  return parsed(body, "description of an image", [](const json& object) {
    Image image = to_image(object);
    image.labels = labels_of(part_of(part_of(object, "Config"), "Labels"));
    return image;
  });
}

std::string read_id(const std::string& body) {
  return parsed(body, "answer",
                [](const json& object) { return object.at("Id").get<std::string>(); });
}

std::vector<std::string> read_names(const std::string& body) {
  return parsed(body, "list of names", [](const json& list) {
    std::vector<std::string> names;
    for (const json& entry : members_of(list)) names.push_back(entry.at("Name").get<std::string>());
    return names;
  });
}

std::vector<std::string> read_plugins(const std::string& body, std::string_view interface) {
  return parsed(body, "list of plugins", [&](const json& list) {
    std::vector<std::string> names;
    for (const json& plugin : members_of(list)) {
      if (!is_true(plugin, "Enabled")) continue;
      const json& types = part_of(part_of(part_of(plugin, "Config"), "Interface"), "Types");
      const auto implements = texts_of(types);
      if (std::any_of(implements.begin(), implements.end(), [&](const std::string& type) {
            return type.compare(0, interface.size(), interface) == 0;
          }))
        names.push_back(plugin.at("Name").get<std::string>());
    }
    return names;
  });
}

EngineInfo read_info(const std::string& info_body, const std::string& version_body) {
  EngineInfo info;
  parsed(info_body, "description of itself", [&](const json& object) {
    info.storage_driver = text_of(object, "Driver");
    info.data_root = text_of(object, "DockerRootDir");
    // [["driver-type","io.containerd.snapshotter.v1"]] with containerd's store
    for (const json& pair : part_of(object, "DriverStatus"))
      if (const auto words = texts_of(pair); words.size() == 2 && words[0] == "driver-type")
        info.containerd_store = words[1].find("containerd.snapshotter") != std::string::npos;
    const json& plugins = part_of(object, "Plugins");
    info.volume_drivers = texts_of(part_of(plugins, "Volume"));
    info.network_drivers = texts_of(part_of(plugins, "Network"));
    return 0;
  });
  parsed(version_body, "version", [&](const json& object) {
    info.version = object.at("Version").get<std::string>();
    info.architecture = text_of(object, "Arch");
    return 0;
  });
  return info;
}

void LoadAnswer::add(base::ByteView part) {
  pending_ += base::as_text(part);
  size_t begin = 0;
  for (size_t end; (end = pending_.find('\n', begin)) != pending_.npos; begin = end + 1)
    take(std::string_view(pending_).substr(begin, end - begin));
  pending_.erase(0, begin);
  if (pending_.size() > kMaxLoadLineBytes)
    throw base::Corrupt("the engine's answer to a load has a line without an end");
}

std::vector<std::string> LoadAnswer::finish() {
  take(pending_);
  if (loaded_.empty())
    throw base::IoError("the engine took the stream of an image and loaded nothing", 0, false);
  return std::move(loaded_);
}

void LoadAnswer::take(std::string_view line) {
  if (const std::string words = error_in(line); !words.empty())
    throw base::IoError("the engine cannot load the image: " + words, 0, false);
  const json object = json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return;
  std::string_view words;
  const std::string stream = text_of(object, "stream");
  for (const std::string_view begin : {"Loaded image: ", "Loaded image ID: "})
    if (stream.compare(0, begin.size(), begin) == 0)
      words = std::string_view(stream).substr(begin.size());
  while (!words.empty()) {  // Podman: several with commas between
    const size_t end = std::min(words.find_first_of(",\r\n"), words.size());
    if (end > 0) loaded_.emplace_back(words.substr(0, end));
    words.remove_prefix(std::min(end + 1, words.size()));
  }
}

void TarEnd::add(base::ByteView part) {
  size_bytes_ += part.size();
  if (part.size() >= kTailBytes) {
    tail_.assign(base::as_text(part.last(kTailBytes)));
    return;
  }
  tail_ += base::as_text(part);
  if (tail_.size() > 4 * kTailBytes) tail_.erase(0, tail_.size() - kTailBytes);
}

void TarEnd::check() const {
  const std::string_view tail = tail_;
  if (size_bytes_ % kTarBlockBytes == 0 && tail.size() >= kTarEndBytes &&
      tail.substr(tail.size() - kTarEndBytes).find_first_not_of('\0') == tail.npos)
    return;
  std::string words;
  if (const size_t error = tail.rfind("{\"error"); error != tail.npos)
    words = error_in(tail.substr(error));
  throw base::IoError(words.empty() ? "the tar has no end" : words, 0, true);
}

}  // namespace davit::engine
