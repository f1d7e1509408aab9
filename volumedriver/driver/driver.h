// The volume driver's calls as plain C++: no HTTP, no JSON. What engines really send and expect is
// in docs/protocol.md. Every call may be repeated, overlap with others, or be lost; none does long
// work itself. Any thread may call anything. Errors are base::Error with a sentence for the user.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "volumes/registry.h"

namespace davit::driver {

// How long the caller's engine waits: Docker 25 s, Podman 4 s (settings). `stop`: the caller has
// hung up, or the daemon ends; a call that waits throws base::Cancelled then.
struct Budget {
  std::chrono::steady_clock::time_point deadline;
  std::stop_token stop = {};
};

struct VolumeInfo {
  std::string name;
  std::string mountpoint;  // absolute, never "": where the data is, or will be once it is ready
  std::optional<base::Time> created;
  std::map<std::string, std::string> status;  // for `docker volume inspect`
};

class Driver {
 public:
  virtual ~Driver() = default;
  virtual void create(const std::string& name, const volumes::OptionMap& options,
                      Budget budget) = 0;
  virtual void remove(const std::string& name) = 0;
  // Waits for a running restore within the budget; returns an absolute path, never "".
  virtual std::string mount(const std::string& name, const std::string& id, Budget budget) = 0;
  virtual void unmount(const std::string& name, const std::string& id) = 0;
  virtual std::string path(const std::string& name) = 0;
  // Nothing only when the volume certainly does not exist, or its name cannot be one: the engine
  // then forgets it.
  virtual std::optional<VolumeInfo> get(const std::string& name) = 0;
  // Without those whose create or remove is running: the engine holds their locks. Their status is
  // left empty.
  virtual std::vector<VolumeInfo> list() = 0;
};

}  // namespace davit::driver
