// What every job works with; made once by the daemon, outlives all jobs.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "base/bandwidth.h"
#include "base/clock.h"
#include "base/zone.h"
#include "engine/engine.h"
#include "jobs/image_turns.h"
#include "jobs/repository_access.h"
#include "jobs/settings.h"
#include "jobs/tracking.h"
#include "upkeep/retention.h"
#include "volumes/registry.h"

namespace davit::jobs {

struct Context {
  const base::Clock& clock;
  Settings& settings;
  volumes::Registry& registry;
  RepositoryAccess& repository;
  engine::Engine* engine = nullptr;  // nullptr: no engine can be reached
  std::string data_directory;
  std::string version;
  ImageTurns image_turns = {};
  // DAVIT_LIMIT_UPLOAD, for all that is written at once.
  base::Bandwidth upload{[this] { return static_cast<uint64_t>(settings.number("DAVIT_LIMIT_UPLOAD")) << 10; }};
  Tracking tracking = {};
  // How long an engine may be at a call whose davit is gone. Docker's last try at a plugin that died begins 15 s after
  // the first.
  std::chrono::milliseconds engine_goes_on{30'000};
  // How long a backup waits for the stores that DAVIT_QUORUM asks for.
  std::chrono::milliseconds quorum_wait{900'000};

  std::string host() const;          // DAVIT_HOSTNAME, else the host's name
  base::Zone zone() const;           // TZ, else the host's
  repo::ZonedTime zoned(base::Time time) const;
  // The volume's own rule where it has any keep-… option, else the settings'.
  upkeep::Policy policy(const volumes::OptionMap& options) const;
  std::string schedule(const volumes::OptionMap& options) const;
  std::string scan_cache_path(const repo::Repository& repository, const std::string& volume_uuid) const;
};

// The driver options that are saved with a snapshot, as the file /davit/volume.json of its tree.
inline constexpr const char* kVolumeFile = "/davit/volume.json";
base::Bytes encode_volume_file(const volumes::Volume& volume);
// Throws Corrupt. `from` and `images`, which are about one create, are never among them.
volumes::OptionMap parse_volume_file(base::ByteView json);

}  // namespace davit::jobs
