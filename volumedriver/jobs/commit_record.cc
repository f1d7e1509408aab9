#include "jobs/commit_record.h"

#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "jobs/points.h"
#include "restore/restorer.h"

namespace davit::jobs {

using nlohmann::json;

namespace {
constexpr size_t kMaxBytes = 1 << 20;
}  // namespace

CommitRecord parse_commit_record(base::ByteView bytes) {
  const json file = json::parse(base::as_text(bytes), nullptr, /*allow_exceptions=*/false);
  try {
    CommitRecord record;
    const std::string engine = file.value("engine", "docker");
    if (engine != "docker" && engine != "podman") throw base::Corrupt("davit.json names no engine");
    record.engine = engine == "podman" ? engine::Kind::podman : engine::Kind::docker;
    record.engine_version = file.value("engine_version", "");
    record.api_version = file.value("api_version", "");
    record.image = file.at("image");
    record.image_id = file.value("image_id", "");
    record.original_image = file.value("original_image", "");
    record.point = file.value("point", "");
    record.volumes = file.value("volumes", std::vector<std::string>());
    const size_t colon = record.image.rfind(':');
    if (colon == std::string::npos || colon == 0 || colon + 1 == record.image.size() ||
        record.image.find('/', colon) != std::string::npos)
      throw base::Corrupt("davit.json calls the image '" + record.image + "', which is no name with a tag");
    return record;
  } catch (const json::exception&) {
    throw base::Corrupt("davit.json in the snapshot of the container is damaged");
  }
}

CommitRecord read_commit_record(const repo::Repository& repository, const repo::Snapshot& snapshot) {
  if (snapshot.paths.size() != 1) throw base::Corrupt("the snapshot " + snapshot.id.short_hex() + " has several paths");
  const auto bytes = restore::find_small_file(repository, snapshot.tree, snapshot.paths[0] + "/davit.json", kMaxBytes);
  if (!bytes) throw base::NotFound("the snapshot " + snapshot.id.short_hex() + " holds no image of a container");
  CommitRecord record = parse_commit_record(*bytes);
  record.point = point_of(snapshot);  // what the tag says counts, as for volumes
  return record;
}

}  // namespace davit::jobs
