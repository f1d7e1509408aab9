// Volumes that an engine has mounted for a container that may not run yet: between its Mount and
// the start the engine tells of no user. Mounts and Unmounts do not balance (docs/protocol.md), so
// a mount counts for a while only, and nobody is counted. In memory: a restart forgets. Any thread
// may call anything.
#pragma once

#include <map>
#include <mutex>
#include <string>

#include "base/clock.h"

namespace davit::volumes {

class Mounts {
 public:
  // Docker gives each Mount 120 s; a container that does not run so long after it never will.
  static constexpr std::chrono::minutes kStarting{2};

  explicit Mounts(const base::Clock& clock) : clock_(clock) {}

  // `id` is the engine's, of one mount or of all.
  void mounted(const std::string& uuid, const std::string& id);
  void unmounted(const std::string& uuid, const std::string& id);
  // Whether there is a mount of it without an unmount, not older than kStarting.
  bool is_fresh(const std::string& uuid);

 private:
  void forget_old();  // with the mutex held

  const base::Clock& clock_;
  std::mutex mutex_;
  std::map<std::pair<std::string, std::string>, base::Time> mounts_;  // by volume and ID
};

}  // namespace davit::volumes
