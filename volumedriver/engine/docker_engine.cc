#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/errors.h"
#include "base/log.h"
#include "base/synchronized.h"
#include "engine/engine.h"
#include "wire/http_client.h"

namespace davit::engine {

namespace {

using namespace std::chrono_literals;
using base::IoError;
using nlohmann::json;

// What this code was written for; any engine since Docker 20.10 and Podman 4 has some of it.
constexpr int kOldestMinor = 41, kNewestMinor = 44;
constexpr wire::Deadlines kDeadlines{2s, 2s, 4s};
constexpr size_t kMaxAnswerBytes = 64 << 20;
constexpr const char* kSockets[] = {"/host/run/docker.sock", "/host/run/podman/podman.sock",
                                    "/run/docker.sock", "/run/podman/podman.sock"};

struct Address {
  std::string base_url;     // without a slash at its end
  std::string unix_socket;  // "" for TCP
};

// What is known once an engine has answered.
struct Link {
  Address address;
  Kind kind;
  std::string version;  // "1.41"
};

std::optional<Address> parse_host(const std::string& host) {
  if (host.empty()) return std::nullopt;
  const auto after = [&](std::string_view scheme) -> std::optional<std::string> {
    if (host.compare(0, scheme.size(), scheme) != 0) return std::nullopt;
    return host.substr(scheme.size());
  };
  if (const auto path = after("unix://"); path && path->size() > 1 && path->front() == '/')
    return Address{"http://engine", *path};
  if (host.front() == '/') return Address{"http://engine", host};
  std::optional<std::string> rest = after("tcp://");
  if (!rest) rest = after("http://");
  if (rest) {
    while (!rest->empty() && rest->back() == '/') rest->pop_back();
    if (const std::string url = "http://" + *rest; wire::is_http_url(url)) return Address{url, ""};
  }
  throw base::UsageError("the engine's address '" + wire::masked_url(host) +
                         "' is none of unix:///PATH, tcp://HOST:PORT, http://HOST:PORT");
}

bool is_socket(const char* path) {
  struct stat info {};
  return ::stat(path, &info) == 0 && S_ISSOCK(info.st_mode);
}

// "1.41" -> 41; nothing for another major version or no version.
std::optional<int> minor_of(const std::string& version) {
  int minor = 0;
  size_t at = 2;
  if (version.compare(0, 2, "1.") != 0) return std::nullopt;
  for (; at < version.size() && version[at] >= '0' && version[at] <= '9' && minor < 1000; ++at)
    minor = minor * 10 + (version[at] - '0');
  return at == 2 ? std::nullopt : std::optional(minor);
}

// The engine's own words, where it has some.
std::string message_of(const wire::HttpResponse& response) {
  const json answer = json::parse(response.body, nullptr, /*allow_exceptions=*/false);
  if (answer.is_object() && answer.contains("message") && answer["message"].is_string())
    return answer["message"].get<std::string>();
  return "HTTP " + std::to_string(response.status);
}

Container to_container(const json& entry) {
  Container container;
  container.id = entry.at("Id").get<std::string>();
  container.state = entry.at("State").get<std::string>();
  // Links add names such as "/web/db"; its own has one slash.
  for (const json& each : entry.value("Names", json::array())) {
    std::string name = each.get<std::string>();
    if (!name.empty() && name.front() == '/') name.erase(0, 1);
    if (container.name.empty() || name.find('/') == name.npos) container.name = std::move(name);
  }
  if (const auto labels = entry.find("Labels"); labels != entry.end() && labels->is_object())
    for (const auto& [key, value] : labels->items())
      if (value.is_string()) container.labels[key] = value.get<std::string>();
  return container;
}

// The engine's filter also finds a destination of that name; where the mounts are listed, they
// decide.
bool uses_volume(const json& entry, const std::string& volume) {
  const auto mounts = entry.find("Mounts");
  if (mounts == entry.end() || !mounts->is_array()) return true;
  bool any_named = false;
  for (const json& mount : *mounts) {
    if (!mount.is_object()) return true;
    const auto name = mount.find("Name");
    if (name == mount.end() || !name->is_string()) continue;
    any_named = true;
    if (*name == volume) return true;
  }
  return !any_named;
}

class DockerEngine : public Engine {
 public:
  explicit DockerEngine(const std::string& host) : given_(parse_host(host)) {}

  Kind kind() override { return link().kind; }
  std::string api_version() override { return link().version; }

  std::vector<Container> containers_using(const std::string& volume) override {
    const json filters = {{"volume", {volume}}};
    const std::string body =
        get("/containers/json?all=1&filters=" +
            wire::percent_encode(filters.dump(-1, ' ', true, json::error_handler_t::replace)));
    try {
      std::vector<Container> containers;
      for (const json& entry : json::parse(body))
        if (uses_volume(entry, volume)) containers.push_back(to_container(entry));
      return containers;
    } catch (const json::exception& error) {
      throw base::Corrupt(std::string("the engine's list of containers cannot be read: ") +
                          error.what());
    }
  }

 private:
  // The body of a good answer. The connection is looked for anew after any failure, since engines
  // are upgraded and moved.
  std::string get(const std::string& path) {
    for (bool again = false;; again = true) {
      const Link link = this->link();
      wire::HttpResponse response;
      try {
        response = send(link.address, "/v" + link.version + path);
      } catch (const IoError&) {
        forget();
        throw;
      }
      if (response.ok()) return std::move(response.body);
      if (response.status == 400)
        forget();  // an upgrade may have changed which versions are understood
      if (response.status == 400 && !again) continue;
      throw IoError(std::string("the engine refused ") + path.substr(0, path.find('?')) + ": " +
                        message_of(response),
                    0, wire::is_transient_status(response.status));
    }
  }

  wire::HttpResponse send(const Address& address, const std::string& path) {
    wire::HttpRequest request;
    request.url = address.base_url + path;
    request.unix_socket = address.unix_socket;
    request.deadlines = kDeadlines;
    request.max_body_bytes = kMaxAnswerBytes;
    return client_.send(request);
  }

  void forget() { link_.lock()->reset(); }

  Link link() {
    if (const auto known = *link_.lock()) return *known;
    const Link found = find();  // without the lock: it may take seconds
    *link_.lock() = found;
    return found;
  }

  Link find() {
    if (given_) return greet(*given_);
    std::optional<IoError> first;
    for (const char* path : kSockets) {
      if (!is_socket(path)) continue;
      try {
        return greet({"http://engine", path});
      } catch (const IoError& error) {  // left behind by an engine that is no more
        if (!first) first = error;
      }
    }
    if (first) throw *first;
    std::string all;
    for (const char* path : kSockets) all += (all.empty() ? "" : ", ") + std::string(path);
    throw IoError("no container engine found: none of " + all + " is there", ENOENT, true);
  }

  // Asks which engine and which version it is: GET /_ping has no version of its own.
  Link greet(const Address& address) {
    const wire::HttpResponse response = send(address, "/_ping");
    const std::string where =
        address.unix_socket.empty() ? wire::masked_url(address.base_url) : address.unix_socket;
    if (!response.ok())
      throw IoError("the engine at " + where + ": " + message_of(response), 0,
                    wire::is_transient_status(response.status));
    const std::string offered = response.find_header("api-version").value_or("");
    const auto minor = minor_of(offered);
    if (!minor) throw IoError("what answers at " + where + " is no container engine", 0, false);
    if (*minor < kOldestMinor)
      throw base::Unsupported("the engine at " + where + " has API " + offered +
                              "; davit needs 1." + std::to_string(kOldestMinor) +
                              " (Docker 20.10, Podman 4) or later");
    Link link;
    link.address = address;
    link.kind = response.find_header("libpod-api-version") ? Kind::podman : Kind::docker;
    link.version = "1." + std::to_string(std::min(*minor, kNewestMinor));
    spdlog::info("engine at {}: {}, API {} of {}", where,
                 link.kind == Kind::podman ? "podman" : "docker", link.version, offered);
    return link;
  }

  const std::optional<Address> given_;
  wire::HttpClient client_;
  base::Synchronized<std::optional<Link>> link_;
};

}  // namespace

std::unique_ptr<Engine> make_engine(const std::string& host) {
  return std::make_unique<DockerEngine>(host);
}

}  // namespace davit::engine
