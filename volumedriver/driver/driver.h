// The volume driver's calls as plain C++: no HTTP, no JSON. What engines really send and expect is in
// docs/protocol.md. Every call may be repeated, overlap with others, or be lost; none does long work itself.
// Any thread may call anything. Errors are base::Error with a sentence for the user.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "volumes/registry.h"

namespace davit::driver {

// How long the caller's engine waits: Docker 25 s, Podman 4 s (settings).
struct Budget {
  std::chrono::steady_clock::time_point deadline;
};

struct VolumeInfo {
  std::string name;
  std::string mountpoint;                       // as the engine must be told; "" for a volume not ready
  std::optional<base::Time> created;
  std::map<std::string, std::string> status;    // for `docker volume inspect`
};

class Driver {
 public:
  virtual ~Driver() = default;
  virtual void create(const std::string& name, const volumes::OptionMap& options, Budget budget) = 0;
  virtual void remove(const std::string& name) = 0;
  // Waits for a running restore within the budget; returns an absolute path, never "".
  virtual std::string mount(const std::string& name, const std::string& id, Budget budget) = 0;
  virtual void unmount(const std::string& name, const std::string& id) = 0;
  virtual std::string path(const std::string& name) = 0;
  // Nothing only when the volume certainly does not exist.
  virtual std::optional<VolumeInfo> get(const std::string& name) = 0;
  virtual std::vector<VolumeInfo> list() = 0;
};

}  // namespace davit::driver
