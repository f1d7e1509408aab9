#include "engine/channel.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "base/errors.h"
#include "base/log.h"
#include "engine/answers.h"

namespace davit::engine {

namespace {

using namespace std::chrono_literals;
using base::IoError;

// What this code was tried with; any engine since Docker 20.10 and Podman 4 has some of it.
constexpr int kOldestMinor = 41, kNewestMinor = 45;
constexpr std::chrono::milliseconds kConnect = 2s;
constexpr size_t kMaxAnswerBytes = 64 << 20;
constexpr const char* kSockets[] = {"/host/run/docker.sock", "/host/run/podman/podman.sock",
                                    "/run/docker.sock", "/run/podman/podman.sock"};

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

// An engine that was upgraded or downgraded may not understand the version any more.
bool is_about_version(const wire::HttpResponse& response) {
  const std::string words = response.status == 400 ? message_of(response) : "";
  return words.find("client version") != words.npos || words.find("API version") != words.npos;
}

// Some refusals come as 500, as if the engine itself had failed.
enum class Meaning { conflict, not_found, final };
struct Phrase {
  std::string_view words;
  Meaning meaning;
};
constexpr Phrase kPhrases[] = {
    {"container state improper", Meaning::conflict},         // Podman: pause, unpause, remove
    {"top can only be used on running", Meaning::conflict},  // Podman
    {"name is already in use", Meaning::conflict},           // Podman: create
    {"network already exists", Meaning::conflict},           // Podman 4
    {"by ID with more than one tag", Meaning::conflict},     // Podman
    {"required plugin missing", Meaning::not_found},         // Podman: volume create
    {"payload does not match any of", Meaning::final},       // Podman: load
    {"invalid reference format", Meaning::final},            // Docker 20.10
    {" is not paused", Meaning::conflict},                   // Docker
};

[[noreturn]] void refuse(const Call& call, const wire::HttpResponse& response) {
  const std::string words = message_of(response);
  const std::string path = call.path.substr(0, call.path.find('?'));
  const std::string message =
      "the engine refused " + (call.method == "GET" ? "" : call.method + " ") + path + ": " + words;
  const int status = response.status;
  std::optional<Meaning> meaning;
  if (status == 404) meaning = Meaning::not_found;
  if (status == 409) meaning = Meaning::conflict;
  if (status == 500)
    for (const Phrase& phrase : kPhrases)
      if (!meaning && words.find(phrase.words) != words.npos) meaning = phrase.meaning;
  if (meaning == Meaning::not_found) throw base::NotFound(message);
  if (meaning == Meaning::conflict) throw base::Conflict(message);
  if (meaning == Meaning::final) throw IoError(message, 0, false);
  if (status == 400) throw base::UsageError(message);
  const bool transient = wire::is_transient_status(status);
  if (status >= 400 && status < 500 && !transient) throw base::Error(message);
  throw IoError(message, 0, transient);
}

}  // namespace

Channel::Channel(const std::string& host, const Patience& patience)
    : given_(parse_host(host)), patience_(patience) {}

wire::HttpResponse Channel::call(const Call& call) {
  for (bool again = false;; again = true) {
    const Link link = this->link();
    wire::HttpResponse response;
    try {
      response = send(link.address, "/v" + link.version + call.path, call);
    } catch (const IoError&) {
      forget();  // engines are upgraded and moved
      throw;
    }
    if (response.ok() || response.status == 304) return response;
    if (is_about_version(response)) {
      forget();
      if (!again && (!call.upload || call.upload->rewind)) {
        if (call.upload) call.upload->rewind();
        continue;
      }
      throw IoError("the engine changed its API: " + message_of(response), 0, true);
    }
    refuse(call, response);
  }
}

wire::HttpResponse Channel::send(const Address& address, const std::string& path,
                                 const Call& call) {
  wire::HttpRequest request;
  request.method = call.method;
  request.url = address.base_url + path;
  request.unix_socket = address.unix_socket;
  request.deadlines = call.deadlines;
  request.deadlines.connect = kConnect;
  request.stop = call.stop;
  request.max_body_bytes = kMaxAnswerBytes;
  size_t sent = 0;
  if (call.upload) {
    request.headers = {{"Content-Type", "application/x-tar"}};
    request.body_source = *call.upload;
  } else if (!call.body.empty()) {
    request.headers = {{"Content-Type", "application/json"}};
    request.body = call.body;
  }
  if (call.once && !call.upload)  // a body that cannot begin again
    request.body_source = wire::BodySource{
        [&](std::span<uint8_t> out) {
          const size_t count = std::min(out.size(), call.body.size() - sent);
          std::copy_n(call.body.begin() + static_cast<ptrdiff_t>(sent), count, out.begin());
          sent += count;
          return count;
        },
        call.body.size(),
        {}};
  return call.sink ? client_.stream(request, *call.sink) : client_.send(request);
}

Link Channel::link() {
  if (const auto known = *link_.lock()) return *known;
  const Link found = find();  // without the lock: it may take seconds
  *link_.lock() = found;
  return found;
}

Link Channel::find() {
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
Link Channel::greet(const Address& address) {
  Call ping;
  ping.deadlines.idle = patience_.greeting;
  ping.deadlines.total = patience_.greeting;
  const wire::HttpResponse response = send(address, "/_ping", ping);
  const std::string where =
      address.unix_socket.empty() ? wire::masked_url(address.base_url) : address.unix_socket;
  if (!response.ok())
    throw IoError("the engine at " + where + ": " + message_of(response), 0,
                  wire::is_transient_status(response.status));
  const std::string offered = response.find_header("api-version").value_or("");
  const auto minor = minor_of(offered);
  if (!minor) throw IoError("what answers at " + where + " is no container engine", 0, false);
  if (*minor < kOldestMinor)
    throw base::Unsupported("the engine at " + where + " has API " + offered + "; davit needs 1." +
                            std::to_string(kOldestMinor) + " (Docker 20.10, Podman 4) or later");
  Link link;
  link.address = address;
  link.kind = response.find_header("libpod-api-version") ? Kind::podman : Kind::docker;
  link.version = "1." + std::to_string(std::min(*minor, kNewestMinor));
  spdlog::info("engine at {}: {}, API {} of {}", where,
               link.kind == Kind::podman ? "podman" : "docker", link.version, offered);
  return link;
}

}  // namespace davit::engine
