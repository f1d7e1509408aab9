// Whether the engine finds the volumes where a managed plugin says that they are.
//
// The plugin's mounts reach the host through Docker's propagated mount. After a dockerd that died while the plugin
// lived, the next one ends the plugin, starts it anew and takes the old mounts away; the last two run at the same time
// (20.10 to 26.1, seen), and now and then the new plugin's mount on the host goes too. The plugin then works as ever,
// and no container can be started with a volume until the plugin is started once more. So davit looks, once its engine
// answers, and asks for that itself by ending: dockerd starts a plugin again that ends by itself.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>

#include "engine/engine.h"

namespace davit::daemon {

// What `path` is called on the host, below the engine's data root ("plugins/ID/propagated-mount/data"), from
// /proc/self/mountinfo. Nothing where this is no managed plugin.
std::optional<std::string> find_propagated(std::string_view mountinfo, const std::string& path);

enum class Sight : uint8_t { seen, missing, unknown };

// Whether there is something of that path on the engine's host. Makes nothing. Throws what the engine's calls throw.
Sight find_sight(engine::Engine& engine, const std::string& host_path);

// Starts the containers that the engine wanted to start and could not, for want of something below `host_path`: those
// with a restart policy whose last error names it. An engine does not try that again. One that a person stopped has no
// such error.
void start_stranded(engine::Engine& engine, const std::string& host_path);

class MountCheck {
 public:
  // Looks in the background, until it is known, whether `directory` below the engine's data root is seen on the host,
  // and calls `restart` where it is not; not twice within ten minutes, for which it keeps the file `state`. Where that
  // helped, starts what was stranded meanwhile. The engine is borrowed.
  MountCheck(engine::Engine& engine, std::string directory, std::string state, std::function<void()> restart);
  ~MountCheck() { stop(); }
  void start();
  void stop();

 private:
  void run(std::stop_token stop);
  void heal();

  engine::Engine& engine_;
  const std::string directory_, state_;
  const std::function<void()> restart_;
  std::mutex mutex_;
  std::condition_variable_any never_;
  std::jthread thread_;
};

}  // namespace davit::daemon
