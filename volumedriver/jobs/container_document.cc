#include "jobs/container_document.h"

#include <algorithm>
#include <charconv>

#include "base/errors.h"
#include "volumes/name.h"

namespace davit::jobs {

using nlohmann::json;

namespace {

// Never throws: what is of another type counts as absent.
std::string text(const json& object, const char* key) {
  if (!object.is_object()) return "";
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

const json& member(const json& object, const char* key) {
  static const json kNothing;
  if (!object.is_object()) return kNothing;
  const auto found = object.find(key);
  return found == object.end() ? kNothing : *found;
}

bool flag(const json& object, const char* key) {
  const json& value = member(object, key);
  return value.is_boolean() && value.get<bool>();
}

std::vector<std::string> texts(const json& list) {
  std::vector<std::string> all;
  if (list.is_array())
    for (const json& each : list)
      if (each.is_string()) all.push_back(each.get<std::string>());
  return all;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  size_t begin = 0;
  for (size_t end; (end = text.find(separator, begin)) != std::string::npos; begin = end + 1)
    parts.push_back(text.substr(begin, end - begin));
  parts.push_back(text.substr(begin));
  return parts;
}

std::string without_slash_at_end(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

bool is_one_of(const std::string& word, std::initializer_list<const char*> words) {
  return std::any_of(words.begin(), words.end(), [&](const char* each) { return word == each; });
}

// ---- mounts

// What every mount of Podman has, and no -v need say.
bool is_default_option(const std::string& option, bool volume, engine::Kind written_by) {
  if (option.empty() || option == "rw") return true;
  if (written_by == engine::Kind::docker) return false;
  return is_one_of(option, {"rprivate", "rbind"}) || (volume && is_one_of(option, {"nosuid", "nodev"}));
}

DocumentMount read_bind(const std::string& bind, engine::Kind written_by) {
  const auto parts = split(bind, ':');
  if (parts.size() < 2 || parts[0].empty() || parts[1].empty())
    throw base::Corrupt("the mount '" + bind + "' cannot be understood");
  DocumentMount mount;
  mount.source = parts[0];
  mount.destination = without_slash_at_end(parts[1]);
  mount.type = parts[0].front() == '/' ? DocumentMount::Type::bind : DocumentMount::Type::volume;
  const bool volume = mount.type == DocumentMount::Type::volume;
  if (parts.size() > 2)
    for (const std::string& option : split(parts[2], ',')) {
      if (option == "ro")
        mount.read_only = true;
      else if (!is_default_option(option, volume, written_by))
        mount.options.push_back(option);
    }
  return mount;
}

DocumentMount read_mount(const json& asked) {
  DocumentMount mount;
  const std::string type = text(asked, "Type");
  mount.type = type == "volume" ? DocumentMount::Type::volume
               : type == "bind" ? DocumentMount::Type::bind
                                : DocumentMount::Type::other;
  mount.source = text(asked, "Source");
  mount.destination = without_slash_at_end(text(asked, "Target"));
  mount.read_only = flag(asked, "ReadOnly");
  mount.mount = asked;
  return mount;
}

// All that was asked for; and what the engine made of it, for volumes without a name and those of other containers.
std::vector<DocumentMount> read_mounts(const json& inspect, const json& host, engine::Kind written_by) {
  std::vector<DocumentMount> mounts;
  for (const std::string& bind : texts(member(host, "Binds"))) mounts.push_back(read_bind(bind, written_by));
  if (const json& asked = member(host, "Mounts"); asked.is_array())
    for (const json& each : asked) mounts.push_back(read_mount(each));
  const json& tmpfs = member(host, "Tmpfs");
  const json& actual = member(inspect, "Mounts");
  if (!actual.is_array()) return mounts;
  for (const json& each : actual) {
    const std::string type = text(each, "Type"), destination = without_slash_at_end(text(each, "Destination"));
    const bool volume = type == "volume";
    if ((!volume && type != "bind") || destination.empty()) continue;
    if (tmpfs.is_object() && tmpfs.contains(destination)) continue;
    const auto asked = std::find_if(mounts.begin(), mounts.end(),
                                    [&](const DocumentMount& mount) { return mount.destination == destination; });
    if (asked != mounts.end()) {
      if (volume && asked->source.empty()) asked->source = text(each, "Name");
      if (volume) asked->driver = text(each, "Driver");
      continue;
    }
    DocumentMount mount;
    mount.type = volume ? DocumentMount::Type::volume : DocumentMount::Type::bind;
    mount.source = text(each, volume ? "Name" : "Source");
    mount.destination = destination;
    mount.driver = text(each, "Driver");
    mount.read_only = member(each, "RW").is_boolean() && !flag(each, "RW");
    if (!mount.source.empty()) mounts.push_back(std::move(mount));
  }
  for (DocumentMount& mount : mounts)
    mount.anonymous = mount.type == DocumentMount::Type::volume &&
                      (mount.source.empty() || volumes::is_anonymous(mount.source));
  return mounts;
}

// ---- networks

NetworkMode read_mode(const std::string& mode, engine::Kind written_by) {
  using Type = NetworkMode::Type;
  if (mode == "none") return {Type::none, ""};
  if (mode == "host") return {Type::host, ""};
  if (const auto other = container_of_mode(mode)) return {Type::container, *other};
  if (mode.empty() || is_one_of(mode, {"default", "bridge"})) return {Type::automatic, ""};
  if (written_by == engine::Kind::podman && (mode.starts_with("slirp4netns") || mode.starts_with("pasta") ||
                                             mode.starts_with("ns:") || mode == "private"))
    return {Type::other, mode};
  return {Type::user, mode};
}

Endpoint read_endpoint(const std::string& network, const json& saved, const ContainerDocument& document) {
  Endpoint endpoint{.network = network, .aliases = {}, .links = {}, .ipv4 = {}, .ipv6 = {}, .driver_options = {}};
  const std::string short_id = document.id.substr(0, 12), hostname = text(document.config, "Hostname");
  for (const std::string& alias : texts(member(saved, "Aliases")))
    if (alias != short_id && alias != hostname &&
        std::find(endpoint.aliases.begin(), endpoint.aliases.end(), alias) == endpoint.aliases.end())
      endpoint.aliases.push_back(alias);
  endpoint.links = texts(member(saved, "Links"));
  const json& asked = member(saved, "IPAMConfig");
  endpoint.ipv4 = text(asked, "IPv4Address");
  endpoint.ipv6 = text(asked, "IPv6Address");
  if (document.written_by == engine::Kind::podman && endpoint.ipv4.empty() && endpoint.ipv6.empty()) {
    endpoint.ipv4 = text(saved, "IPAddress");
    endpoint.ipv6 = text(saved, "GlobalIPv6Address");
    endpoint.address_may_be_chance = true;
  }
  if (const json& options = member(saved, "DriverOpts"); options.is_object() && !options.empty())
    endpoint.driver_options = options;
  return endpoint;
}

bool is_own_network(const std::string& name, engine::Kind kind) {
  if (name == "host" || name == "none") return true;
  return kind == engine::Kind::docker ? name == "bridge" : is_one_of(name, {"podman", "slirp4netns", "pasta"});
}

void read_networks(const json& inspect, ContainerDocument& document) {
  document.mode = read_mode(text(document.host, "NetworkMode"), document.written_by);
  using Type = NetworkMode::Type;
  if (document.mode.type != Type::automatic && document.mode.type != Type::user) return;
  const json& networks = member(member(inspect, "NetworkSettings"), "Networks");
  bool on_own_network = document.mode.type == Type::automatic && document.written_by == engine::Kind::docker;
  if (networks.is_object())
    for (const auto& [name, saved] : networks.items()) {
      if (is_own_network(name, document.written_by))
        on_own_network = true;
      else
        document.endpoints.push_back(read_endpoint(name, saved, document));
    }
  // Podman says "bridge" for networks that somebody made, too.
  if (document.mode.type == Type::automatic && !on_own_network && !document.endpoints.empty())
    document.mode = {Type::user, document.endpoints.front().network};
  if (document.mode.type != Type::user) return;
  const auto first = std::find_if(document.endpoints.begin(), document.endpoints.end(),
                                  [&](const Endpoint& each) { return each.network == document.mode.value; });
  if (first == document.endpoints.end())  // never started, or its network has gone
    document.endpoints.insert(document.endpoints.begin(), read_endpoint(document.mode.value, json::object(), document));
  else
    std::rotate(document.endpoints.begin(), first, first + 1);
}

// ---- what Podman writes otherwise

void into_docker_words(json& config, json& host) {
  if (json& limits = host["Ulimits"]; limits.is_array())
    for (json& limit : limits) {
      std::string name = text(limit, "Name");
      if (name.starts_with("RLIMIT_")) name.erase(0, 7);
      std::transform(name.begin(), name.end(), name.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; });
      if (limit.is_object()) limit["Name"] = name;
    }
  if (json& devices = host["Devices"]; devices.is_array())
    for (json& device : devices)
      if (device.is_object() && text(device, "CgroupPermissions").empty()) device["CgroupPermissions"] = "rwm";
  // It lists all of the host's.
  if (flag(host, "Privileged")) host["Devices"] = nullptr;
  for (const char* key : {"PidMode", "UTSMode"})
    if (text(host, key) == "private") host[key] = "";
  // Both say the same, and an engine takes only one.
  if (member(host, "CpuQuota").is_number() && host["CpuQuota"] != 0) host["NanoCpus"] = 0;
  if (text(host, "Runtime") == "oci") host["Runtime"] = "";
  if (json& tmpfs = host["Tmpfs"]; tmpfs.is_object())
    for (auto& [path, options] : tmpfs.items()) {
      std::string kept;
      if (options.is_string())
        for (const std::string& option : split(options.get<std::string>(), ','))
          if (!is_one_of(option, {"", "rw", "rprivate", "nosuid", "nodev", "tmpcopyup"}))
            kept += (kept.empty() ? "" : ",") + option;
      options = kept;
    }
  if (json& env = config["Env"]; env.is_array()) {
    const std::string hostname = "HOSTNAME=" + text(config, "Hostname");
    json kept = json::array();
    for (const json& each : env)
      if (each != hostname && each != "container=podman" && each != "container=oci") kept.push_back(each);
    env = kept;
  }
  if (json& annotations = host["Annotations"]; annotations.is_object())
    for (auto each = annotations.begin(); each != annotations.end();)
      each = each.key().starts_with("io.podman.") || each.key().starts_with("io.container.") ||
                     each.key().starts_with("org.opencontainers.image.")
                 ? annotations.erase(each)
                 : std::next(each);
}

// A text that is null or no text, and lists of other things, would be met again when the engine refuses them.
void check_types(const ContainerDocument& document) {
  for (const char* key : {"Cmd", "Entrypoint", "Env"})
    if (const json& value = member(document.config, key); !value.is_null() && !value.is_array())
      throw base::Corrupt(std::string("its ") + key + " is no list");
  for (const char* key : {"Binds", "Mounts", "Devices", "CapAdd", "CapDrop", "Links"})
    if (const json& value = member(document.host, key); !value.is_null() && !value.is_array())
      throw base::Corrupt(std::string("its ") + key + " is no list");
  for (const char* key : {"PortBindings", "Tmpfs", "LogConfig", "RestartPolicy", "Sysctls"})
    if (const json& value = member(document.host, key); !value.is_null() && !value.is_object())
      throw base::Corrupt(std::string("its ") + key + " is no object");
}

std::optional<std::pair<uint16_t, uint16_t>> port_range(const std::string& text) {
  const auto number = [](std::string_view digits) -> std::optional<uint16_t> {
    uint16_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size() || value == 0) return std::nullopt;
    return value;
  };
  const size_t dash = text.find('-');
  const auto first = number(std::string_view(text).substr(0, dash));
  const auto last = dash == std::string::npos ? first : number(std::string_view(text).substr(dash + 1));
  if (!first || !last || *last < *first) return std::nullopt;
  return std::pair(*first, *last);
}

}  // namespace

std::optional<std::string> container_of_mode(const std::string& mode) {
  constexpr std::string_view kPrefix = "container:";
  if (!mode.starts_with(kPrefix) || mode.size() == kPrefix.size()) return std::nullopt;
  return mode.substr(kPrefix.size());
}

ContainerDocument read_container(const std::string& inspect_text, engine::Kind written_by) {
  const json inspect = json::parse(inspect_text, nullptr, /*allow_exceptions=*/false);
  try {
    if (!inspect.is_object()) throw base::Corrupt("it is no JSON object");
    ContainerDocument document;
    document.written_by = written_by;
    document.id = text(inspect, "Id");
    document.name = text(inspect, "Name");
    if (document.name.starts_with("/")) document.name.erase(0, 1);
    document.running = flag(member(inspect, "State"), "Running");
    document.config = member(inspect, "Config");
    document.host = member(inspect, "HostConfig");
    if (document.id.empty() || document.name.empty()) throw base::Corrupt("it names no container");
    if (!document.config.is_object() || !document.host.is_object())
      throw base::Corrupt("it holds no configuration");
    check_types(document);
    if (written_by == engine::Kind::podman) into_docker_words(document.config, document.host);
    document.mounts = read_mounts(inspect, document.host, written_by);
    read_networks(inspect, document);
    return document;
  } catch (const base::Corrupt& error) {
    throw base::Corrupt(std::string("the saved description of the container is damaged: ") + error.what());
  }
}

Needs needs_of(const ContainerDocument& document) {
  Needs needs;
  for (const DocumentMount& mount : document.mounts) {
    if (mount.type != DocumentMount::Type::volume || mount.source.empty()) continue;
    const auto known = std::find_if(needs.volumes.begin(), needs.volumes.end(),
                                    [&](const NeededVolume& each) { return each.name == mount.source; });
    if (known == needs.volumes.end()) {
      needs.volumes.push_back({mount.source, mount.driver, {mount.destination}, mount.anonymous});
    } else {
      known->destinations.push_back(mount.destination);
      if (known->driver.empty()) known->driver = mount.driver;
    }
  }
  for (const Endpoint& endpoint : document.endpoints) {
    needs.networks.push_back(endpoint.network);
    for (const std::string& address : {endpoint.ipv4, endpoint.ipv6})
      if (!address.empty()) needs.addresses.push_back({endpoint.network, address, endpoint.address_may_be_chance});
  }
  if (const json& ports = member(document.host, "PortBindings"); ports.is_object())
    for (const auto& [port, bindings] : ports.items()) {
      const size_t slash = port.find('/');
      const std::string protocol = slash == std::string::npos ? "tcp" : port.substr(slash + 1);
      if (!bindings.is_array()) continue;
      for (const json& binding : bindings)
        if (const auto range = port_range(text(binding, "HostPort")))
          needs.ports.push_back({text(binding, "HostIp"), protocol, range->first, range->second});
    }
  if (const json& devices = member(document.host, "Devices"); devices.is_array())
    for (const json& device : devices)
      if (const std::string path = text(device, "PathOnHost"); !path.empty()) needs.devices.push_back(path);
  if (document.mode.type == NetworkMode::Type::container)
    needs.containers.emplace_back(document.mode.value, "network");
  for (const auto& [key, what] : {std::pair("PidMode", "pid"), std::pair("IpcMode", "ipc")})
    if (const auto other = container_of_mode(text(document.host, key))) needs.containers.emplace_back(*other, what);
  for (std::string link : texts(member(document.host, "Links"))) {
    if (link.starts_with("/")) link.erase(0, 1);
    needs.containers.emplace_back(link.substr(0, link.find(':')), "link");
  }
  return needs;
}

}  // namespace davit::jobs
