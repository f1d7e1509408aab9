#include "jobs/points.h"

#include <algorithm>
#include <array>
#include <map>
#include <tuple>

#include "base/bytes.h"
#include "volumes/name.h"

namespace davit::jobs {

namespace {

constexpr size_t kIdBytes = 8;

}  // namespace

PointMark make_point(base::Time began) {
  std::array<uint8_t, kIdBytes> bytes;
  base::random_fill(bytes);
  return {base::hex(bytes), began};
}

bool is_point_id(std::string_view text) {
  return text.size() == 2 * kIdBytes && text.find_first_not_of("0123456789abcdef") == text.npos;
}

std::string point_tag(const std::string& id) { return std::string(kTagPoint) + id; }
std::string volume_tag(const std::string& volume) { return std::string(kTagVolume) + volume; }

std::string point_of(const repo::Snapshot& snapshot) {
  for (const auto& tag : snapshot.tags)
    if (tag.starts_with(kTagPoint) && is_point_id(std::string_view(tag).substr(kTagPoint.size())))
      return tag.substr(kTagPoint.size());
  return "";
}

std::string container_of(const repo::Snapshot& snapshot) {
  if (snapshot.paths.size() != 1 || !snapshot.paths[0].starts_with(kContainersPath)) return "";
  std::string name = snapshot.paths[0].substr(std::string_view(kContainersPath).size());
  return volumes::is_valid_name(name) ? name : "";  // the engines' rule for containers is ours for volumes
}

std::vector<std::string> volumes_used(const repo::Snapshot& snapshot) {
  std::vector<std::string> names;
  for (const auto& tag : snapshot.tags)
    if (tag.starts_with(kTagVolume)) names.push_back(tag.substr(kTagVolume.size()));
  return names;
}

const SnapshotInfo* Point::find_volume(const std::string& name) const {
  const auto found = std::find_if(pieces.begin(), pieces.end(), [&](const auto& piece) { return piece.volume == name; });
  return name.empty() || found == pieces.end() ? nullptr : &*found;
}

const SnapshotInfo* Point::find_container(const std::string& name) const {
  const auto found =
      std::find_if(pieces.begin(), pieces.end(), [&](const auto& piece) { return piece.container == name; });
  return name.empty() || found == pieces.end() ? nullptr : &*found;
}

std::vector<Point> group_points(const std::vector<SnapshotInfo>& snapshots) {
  std::map<std::string, Point> points;
  for (const auto& info : snapshots) {
    if (info.point.empty()) continue;
    const auto [place, is_new] = points.try_emplace(info.point);
    Point& point = place->second;
    if (is_new) {
      point.id = info.point;
      point.host = info.snapshot.hostname;
      point.time = info.snapshot.time.time;
    }
    point.time = std::min(point.time, info.snapshot.time.time);
    point.pieces.push_back(info);
  }
  std::vector<Point> ordered;
  for (auto& [id, point] : points) {
    std::stable_sort(point.pieces.begin(), point.pieces.end(), [](const SnapshotInfo& a, const SnapshotInfo& b) {
      const auto key = [](const SnapshotInfo& info) { return std::tuple(!info.container.empty(), info.volume, info.container); };
      return key(a) < key(b);
    });
    ordered.push_back(std::move(point));
  }
  std::stable_sort(ordered.begin(), ordered.end(), [](const Point& a, const Point& b) { return a.time < b.time; });
  return ordered;
}

std::optional<Point> find_point(const std::vector<SnapshotInfo>& snapshots, const std::string& id) {
  std::vector<SnapshotInfo> of_it;
  for (const auto& info : snapshots)
    if (info.point == id) of_it.push_back(info);
  auto points = group_points(of_it);
  if (points.empty()) return std::nullopt;
  return std::move(points.front());
}

}  // namespace davit::jobs
