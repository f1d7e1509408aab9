// What the process does that dies while it restores a container, or loads the image behind a volume.
//
//   restore_crash_child DATA POINT WORK   dies at its POINTth fault point (0: never), counted from the beginning of WORK
//
// DATA holds a repository with the point of the container `web`, which uses the volume `data`; the engine's state is in
// DATA-engine.json, and nothing of it is there. WORK: "container" restores the container, "volume" makes the volume
// `copy` with its image, "both" the one beside the other.
#pragma once

#include <string>

#include "support/rooms.h"

namespace davit::crash {

inline constexpr int kKilled = 77;
inline constexpr const char *kContainer = "web", *kVolume = "data", *kNetwork = "shop", *kCopy = "copy";
inline std::string engine_state(const std::string& data) { return data + "-engine.json"; }

// The engine's calls about volumes reach the driver, as they do.
inline void connect(test::Rooms& rooms) {
  rooms.engine.drive_volumes(
      [&rooms](const std::string& name, const volumes::OptionMap& options) {
        rooms.driver.create(name, options, test::Rooms::budget());
      },
      [&rooms](const std::string& name) {
        if (rooms.registry.find(name)) rooms.driver.remove(name);
      });
}

// The snapshot of the volume in the container's point.
inline std::string snapshot_of_volume(test::Rooms& rooms) {
  for (const auto& info : rooms.manager.snapshots("", ""))
    if (info.volume == kVolume && info.point == "0123456789abcdef") return info.id.hex();
  return "";
}

inline std::string copy_body(const std::string& snapshot) {
  return R"({"Name":"copy","Driver":"davit:latest","DriverOpts":{"from":")" + snapshot + R"("}})";
}

}  // namespace davit::crash
