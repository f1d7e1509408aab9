// Points: sets of snapshots of one moment, volumes and the containers that use them, known by one tag. All snapshots of
// a point carry the moment at which it began as their time. Pure.
//
//   point:ID      on each of them; ID: 16 lower-case hex digits, random
//   volume:NAME   on a container's: each volume of davit that the container uses
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "jobs/operations.h"
#include "repo/snapshot.h"

namespace davit::jobs {

inline constexpr std::string_view kTagPoint = "point:";
inline constexpr std::string_view kTagVolume = "volume:";
inline constexpr const char* kContainersPath = "/containers/";

// Which point, and when it began.
struct PointMark {
  std::string id;
  base::Time time{};
  bool operator==(const PointMark&) const = default;
};
// A new one, with a random ID.
PointMark make_point(base::Time began);
bool is_point_id(std::string_view text);
std::string point_tag(const std::string& id);
std::string volume_tag(const std::string& volume);

// The ID of the snapshot's point; "": it is of none, as those of other programs and of older versions.
std::string point_of(const repo::Snapshot& snapshot);
// "NAME" of a snapshot of "/containers/NAME"; "" for any other.
std::string container_of(const repo::Snapshot& snapshot);
// The volumes of davit that the snapshot's container used; of a container's snapshot only.
std::vector<std::string> volumes_used(const repo::Snapshot& snapshot);

struct Point {
  std::string id, host;
  base::Time time{};                   // at which it began
  std::vector<SnapshotInfo> pieces;    // volumes first, by name
  // The pieces of this name; nullptr: the point has none.
  const SnapshotInfo* find_volume(const std::string& name) const;
  const SnapshotInfo* find_container(const std::string& name) const;
};
// The points of these snapshots, oldest first; snapshots without a point are left out.
std::vector<Point> group_points(const std::vector<SnapshotInfo>& snapshots);
std::optional<Point> find_point(const std::vector<SnapshotInfo>& snapshots, const std::string& id);

}  // namespace davit::jobs
