#include "jobs/container_spec.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace davit::jobs {

using engine::Kind;
using nlohmann::json;

namespace {

const char* engine_name(Kind kind) { return kind == Kind::docker ? "Docker" : "Podman"; }

std::string text(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

bool says_something(const json& value) {
  if (value.is_null()) return false;
  if (value.is_string()) return !value.get_ref<const std::string&>().empty();
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_number()) return value != 0;
  return !value.empty();
}

// Copied as they are, where they say something.
constexpr const char* kConfigFields[] = {
    "AttachStdin", "AttachStdout", "AttachStderr", "Tty",         "OpenStdin",   "StdinOnce", "User",
    "Env",         "Cmd",          "Entrypoint",   "WorkingDir",  "Labels",      "Volumes",   "StopSignal",
    "StopTimeout", "Shell",        "ExposedPorts", "Healthcheck"};
constexpr const char* kHostFields[] = {
    "AutoRemove",       "BlkioDeviceReadBps", "BlkioDeviceReadIOps", "BlkioDeviceWriteBps", "BlkioDeviceWriteIOps",
    "BlkioWeight",      "BlkioWeightDevice",  "CapAdd",              "CapDrop",             "CgroupnsMode",
    "CpuPeriod",        "CpuQuota",           "CpuRealtimePeriod",   "CpuRealtimeRuntime",  "CpuShares",
    "CpusetCpus",       "CpusetMems",         "DeviceCgroupRules",   "Devices",             "Dns",
    "DnsOptions",       "DnsSearch",          "ExtraHosts",          "GroupAdd",            "Init",
    "Memory",           "MemoryReservation",  "MemorySwap",          "NanoCpus",            "OomKillDisable",
    "OomScoreAdj",      "PidsLimit",          "Privileged",          "ReadonlyRootfs",      "RestartPolicy",
    "ShmSize",          "Sysctls",            "Ulimits",             "UTSMode"};

class Translation {
 public:
  Translation(const ContainerDocument& document, const SpecChoices& choices)
      : document_(document), choices_(choices), from_(document.written_by), to_(choices.engine) {}

  ContainerSpec run() {
    config();
    host();
    capabilities();
    security();
    logging();
    modes();
    ports();
    mounts();
    networks();
    body_["HostConfig"] = host_;
    spec_.body = body_.dump(-1, ' ', false, json::error_handler_t::replace);
    return std::move(spec_);
  }

 private:
  void name(const std::string& what) { spec_.named.push_back(what); }
  bool crosses() const { return from_ != to_; }
  // Of Docker's API, at least 1.`minor`.
  bool docker_has(int minor) const { return to_ == Kind::docker && choices_.api_minor >= minor; }
  const json& saved(const char* key) const {
    static const json kNothing;
    const auto found = document_.host.find(key);
    return found == document_.host.end() ? kNothing : *found;
  }

  void config() {
    body_ = {{"Image", choices_.image}};
    for (const char* key : kConfigFields)
      if (const auto found = document_.config.find(key); found != document_.config.end() && says_something(*found))
        body_[key] = *found;
    if (const auto found = body_.find("Healthcheck"); found != body_.end() && found->is_object()) {
      if (found->contains("StartInterval") && !(docker_has(44)) && says_something((*found)["StartInterval"])) {
        name("the health check's start interval: this engine's API has none");
        found->erase("StartInterval");
      }
    }
    const std::string hostname = text(document_.config, "Hostname");
    using Type = NetworkMode::Type;
    const bool default_name = hostname == document_.id.substr(0, 12) ||
                              document_.mode.type == Type::container || text(document_.host, "UTSMode") == "host" ||
                              (document_.mode.type == Type::host && hostname == choices_.saved_host);
    if (!hostname.empty() && !default_name) body_["Hostname"] = hostname;
    if (const std::string domain = text(document_.config, "Domainname"); !domain.empty()) {
      if (to_ == Kind::docker)
        body_["Domainname"] = domain;
      else
        name("the domain name " + domain + ": Podman has none for a container");
    }
    if (says_something(document_.config.value("NetworkDisabled", json()))) body_["NetworkDisabled"] = true;
  }

  void host() {
    for (const char* key : kHostFields)
      if (says_something(saved(key))) host_[key] = saved(key);
    if (const json& swappiness = saved("MemorySwappiness"); swappiness.is_number() && swappiness >= 0)
      host_["MemorySwappiness"] = swappiness;
    if (const json& kernel = saved("KernelMemory"); says_something(kernel)) {
      if (to_ == Kind::docker && choices_.api_minor < 42)
        host_["KernelMemory"] = kernel;
      else
        name("the limit of kernel memory: this engine has none");
    }
    if (const json& tmpfs = saved("Tmpfs"); says_something(tmpfs)) {
      host_["Tmpfs"] = tmpfs;
      if (from_ == Kind::docker && to_ == Kind::podman)  // Docker's own default
        for (auto& [path, options] : host_["Tmpfs"].items())
          if (options.is_string() && options.get<std::string>().find("exec") == std::string::npos)
            options = options.get<std::string>() + (options == "" ? "" : ",") + "noexec";
    }
    if (const json& annotations = saved("Annotations"); says_something(annotations)) {
      if (to_ == Kind::podman || docker_has(43))
        host_["Annotations"] = annotations;
      else
        name("its annotations: this engine's API has none");
    }
    if (const json& requests = saved("DeviceRequests"); says_something(requests)) {
      if (to_ == Kind::docker)
        host_["DeviceRequests"] = requests;
      else
        name("its device requests (GPUs): Podman's API takes none");
    }
    if (const std::string parent = text(document_.host, "CgroupParent"); !parent.empty()) {
      if (!crosses())
        host_["CgroupParent"] = parent;
      else
        name("the control group's parent " + parent + " is the other engine's");
    }
    const std::string runtime = text(document_.host, "Runtime");
    if (!runtime.empty() && runtime != "runc" && runtime != "crun" && runtime != "io.containerd.runc.v2") {
      if (to_ == Kind::docker && !crosses())
        host_["Runtime"] = runtime;
      else
        name("the runtime " + runtime + ": the engine's default is used");
    }
    const std::string users = text(document_.host, "UsernsMode");
    if (!users.empty()) {
      if (!crosses() || users == "host")
        host_["UsernsMode"] = users;
      else
        name("the user namespace " + users + ": " + engine_name(to_) + " has no such one");
    }
  }

  // What a container may do without asking differs: Docker gives three more than Podman.
  void capabilities() {
    if (from_ != Kind::docker || to_ != Kind::podman || host_.value("Privileged", false)) return;
    const auto holds = [&](const char* list, std::string capability) {
      const auto found = host_.find(list);
      if (found == host_.end() || !found->is_array()) return false;
      return std::any_of(found->begin(), found->end(), [&](const json& each) {
        return each == capability || each == "CAP_" + capability || each == "ALL";
      });
    };
    for (const char* capability : {"AUDIT_WRITE", "MKNOD", "NET_RAW"})
      if (!holds("CapDrop", capability) && !holds("CapAdd", capability)) host_["CapAdd"].push_back(capability);
  }

  void security() {
    json kept = json::array();
    if (const json& options = saved("SecurityOpt"); options.is_array())
      for (const json& each : options) {
        if (!each.is_string()) continue;
        const std::string option = each;
        const bool profile = option.starts_with("seccomp=") || option.starts_with("seccomp:");
        const bool podmans = option.starts_with("unmask=") || option.starts_with("mask=") ||
                             option.starts_with("proc-opts=");
        if (profile && to_ == Kind::podman && option.find('{') != std::string::npos)
          name("its seccomp profile: Podman takes the name of a file, Docker keeps the profile itself");
        else if (podmans && to_ == Kind::docker)
          name("the security option " + option + ": Docker has none of that name");
        else
          kept.push_back(each);
      }
    if (!kept.empty()) host_["SecurityOpt"] = kept;
    // Lists of their own are rare; an empty one means that nothing is hidden. Those of the engine differ by version.
    if (from_ != Kind::docker || to_ != Kind::docker || host_.value("Privileged", false)) return;
    for (const char* key : {"MaskedPaths", "ReadonlyPaths"})
      if (saved(key).is_array() && saved(key).empty()) host_[key] = json::array();
  }

  void logging() {
    const json& saved_log = saved("LogConfig");
    if (!saved_log.is_object()) return;
    std::string type = text(saved_log, "Type");
    json options = saved_log.value("Config", json());
    if (!options.is_object()) options = json::object();
    if (to_ == Kind::podman) {
      if (type == "json-file") type = "k8s-file";  // the same, and what it is called there
      if (type == "local") {
        name("the log driver local: Podman has none of that name, k8s-file is used");
        type = "k8s-file";
        options.clear();
      } else if (type != "json-file" && type != "k8s-file" && type != "journald" && type != "none" &&
                 type != "passthrough" && !type.empty()) {
        name("the log driver " + type + ": Podman has none of that name, its default is used");
        return;
      }
      for (auto each = options.begin(); each != options.end();) {
        if (each.key() == "max-size" || each.key() == "tag" || each.key() == "path") {
          ++each;
        } else {
          name("the log option " + each.key() + ": Podman has none of that name");
          each = options.erase(each);
        }
      }
    } else if (type == "k8s-file") {
      type = "json-file";
    } else if (type == "passthrough") {
      name("the log driver passthrough: Docker has none of that name, its default is used");
      return;
    }
    if (to_ == Kind::docker && options.erase("path") != 0) name("the log option path: Docker has none of that name");
    if (!type.empty()) host_["LogConfig"] = {{"Type", type}, {"Config", options}};
  }

  std::string now(const std::string& container) const {
    const auto found = choices_.containers.find(container);
    return found == choices_.containers.end() ? container : found->second;
  }

  void modes() {
    for (const char* key : {"PidMode", "IpcMode"}) {
      const std::string mode = text(document_.host, key);
      if (const auto other = container_of_mode(mode))
        host_[key] = "container:" + now(*other);
      else if (!mode.empty())
        host_[key] = mode;
    }
    json links = json::array();
    if (const json& all = saved("Links"); all.is_array())
      for (const json& each : all) {
        if (!each.is_string()) continue;
        std::string link = each;  // "/db:/web/alias"
        if (link.starts_with("/")) link.erase(0, 1);
        const size_t colon = link.find(':'), slash = link.rfind('/');
        const std::string target = link.substr(0, colon);
        const std::string alias = slash == std::string::npos || slash < colon ? target : link.substr(slash + 1);
        if (to_ == Kind::docker)
          links.push_back(now(target) + ":" + alias);
        else
          name("the link to " + target + " as " + alias + ": Podman has no links; put both into one network");
      }
    if (!links.empty()) host_["Links"] = links;
  }

  void ports() {
    if (!choices_.publish) return;
    if (says_something(saved("PublishAllPorts"))) host_["PublishAllPorts"] = true;
    const json& bindings = saved("PortBindings");
    if (!bindings.is_object()) return;
    for (const auto& [port, bound] : bindings.items())
      if (bound.is_array() && !bound.empty()) host_["PortBindings"][port] = bound;
  }

  std::string volume_now(const DocumentMount& mount) const {
    const auto found = choices_.volumes.find(mount.source);
    return found == choices_.volumes.end() ? mount.source : found->second;
  }

  std::string option_text(const DocumentMount& mount) {
    std::string options = mount.read_only ? "ro" : "";
    for (const std::string& option : mount.options) {
      const bool volume = mount.type == DocumentMount::Type::volume;
      const bool known = option == "z" || option == "Z" || (option == "nocopy" && volume) ||
                         (!volume && (option.ends_with("private") || option.ends_with("shared") ||
                                      option.ends_with("slave")));
      if (crosses() && to_ == Kind::docker && !known)
        name("the option " + option + " of the mount at " + mount.destination + ": Docker has none of that name");
      else
        options += (options.empty() ? "" : ",") + option;
    }
    return options;
  }

  void mounts() {
    for (const DocumentMount& mount : document_.mounts) {
      const bool volume = mount.type == DocumentMount::Type::volume;
      const std::string source = volume ? volume_now(mount) : mount.source;
      if (volume && source.empty()) {  // a new one, as the image or this says
        body_["Volumes"][mount.destination] = json::object();
        continue;
      }
      if (mount.mount.is_object()) {
        json asked = mount.mount;
        if (volume) asked["Source"] = source;
        if (const auto options = asked.find("VolumeOptions"); options != asked.end() && options->is_object()) {
          options->erase("DriverConfig");  // of how it was made
          if (options->contains("Subpath") && !docker_has(45)) {
            name("the mount at " + mount.destination + " of a part of the volume " + source +
                 ": this engine's API has no such mounts, the whole volume is mounted");
            options->erase("Subpath");
          }
        }
        if (mount.type == DocumentMount::Type::other && crosses() && text(asked, "Type") != "tmpfs") {
          name("the mount at " + mount.destination + " of type " + text(asked, "Type"));
          continue;
        }
        host_["Mounts"].push_back(asked);
        continue;
      }
      const std::string options = option_text(mount);
      host_["Binds"].push_back(source + ":" + mount.destination + (options.empty() ? "" : ":" + options));
    }
  }

  json endpoint_body(const Endpoint& endpoint) {
    json body = json::object();
    if (choices_.publish) {
      if (!endpoint.aliases.empty()) body["Aliases"] = endpoint.aliases;
      json addresses = json::object();
      const auto ask = [&](const char* key, const std::string& address) {
        if (address.empty()) return;
        if (choices_.addresses_left.contains({endpoint.network, address}))
          name("the address " + address + " in network " + endpoint.network + " cannot be kept: a free one is given");
        else
          addresses[key] = address;
      };
      ask("IPv4Address", endpoint.ipv4);
      ask("IPv6Address", endpoint.ipv6);
      if (!addresses.empty()) body["IPAMConfig"] = addresses;
    }
    if (!endpoint.links.empty()) {
      if (to_ == Kind::docker)
        body["Links"] = endpoint.links;
      else
        name("the links in network " + endpoint.network + ": Podman has none");
    }
    if (!endpoint.driver_options.is_null() && !crosses()) body["DriverOpts"] = endpoint.driver_options;
    return body;
  }

  void networks() {
    using Type = NetworkMode::Type;
    std::string mode;
    switch (document_.mode.type) {
      case Type::none: mode = "none"; break;
      case Type::host: mode = "host"; break;
      case Type::container: mode = "container:" + now(document_.mode.value); break;
      case Type::user: mode = document_.mode.value; break;
      case Type::automatic: mode = to_ == Kind::docker ? "default" : "bridge"; break;
      case Type::other:
        mode = crosses() ? "default" : document_.mode.value;
        if (crosses()) name("the network mode " + document_.mode.value + ": Docker has none of that name, its own network is used");
        break;
    }
    host_["NetworkMode"] = mode;
    const std::string mac = text(document_.config, "MacAddress");  // only where it was asked for
    if (!mac.empty() && choices_.publish && !docker_has(44)) body_["MacAddress"] = mac;
    size_t first = 0;
    if (document_.mode.type == Type::user && !document_.endpoints.empty()) {
      json endpoint = endpoint_body(document_.endpoints[0]);
      if (!mac.empty() && choices_.publish && docker_has(44)) endpoint["MacAddress"] = mac;
      body_["NetworkingConfig"]["EndpointsConfig"][mode] = endpoint;
      first = 1;
    }
    // One is all that create takes before API 1.44.
    for (size_t i = first; i < document_.endpoints.size(); ++i) {
      const json connect = {{"Container", choices_.name}, {"EndpointConfig", endpoint_body(document_.endpoints[i])}};
      spec_.connections.emplace_back(document_.endpoints[i].network, connect.dump());
    }
  }

  const ContainerDocument& document_;
  const SpecChoices& choices_;
  const Kind from_, to_;
  ContainerSpec spec_;
  json body_ = json::object(), host_ = json::object();
};

}  // namespace

ContainerSpec make_spec(const ContainerDocument& document, const SpecChoices& choices) {
  return Translation(document, choices).run();
}

int api_minor(const std::string& version) {
  int minor = 0;
  if (!version.starts_with("1.")) return 0;
  const char* end = version.data() + version.size();
  const auto [rest, error] = std::from_chars(version.data() + 2, end, minor);
  return error == std::errc() && rest == end ? minor : 0;
}

}  // namespace davit::jobs
