// Docker or Podman, asked over its API. Never called from inside a call of the engine about the same volume or
// container (it may hold that lock): jobs call it, the driver's calls do not.
// Any thread may call anything. Deadlines are short; errors are IoError.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace davit::engine {

enum class Kind : uint8_t { docker, podman };

struct Container {
  std::string id, name;
  std::string state;  // created, running, paused, restarting, exited, dead, …
  std::map<std::string, std::string> labels;
  bool is_running() const { return state == "running" || state == "paused" || state == "restarting"; }
};

class Engine {
 public:
  virtual ~Engine() = default;
  virtual Kind kind() = 0;
  virtual std::string api_version() = 0;
  // All containers, running or not, that use the volume by name.
  virtual std::vector<Container> containers_using(const std::string& volume) = 0;
};

// `host`: as DOCKER_HOST ("unix:///run/docker.sock"); "": the first socket that is there of /host/run/docker.sock,
// /host/run/podman/podman.sock, /run/docker.sock, /run/podman/podman.sock. Connects at the first call, and again
// after a failure.
std::unique_ptr<Engine> make_engine(const std::string& host);

}  // namespace davit::engine
