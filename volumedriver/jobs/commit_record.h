// What davit wrote of a commit into the container's snapshot, beside the image: davit.json.
#pragma once

#include <string>
#include <vector>

#include "engine/engine.h"
#include "repo/repository.h"
#include "repo/snapshot.h"

namespace davit::jobs {

struct CommitRecord {
  engine::Kind engine = engine::Kind::docker;  // that committed it
  std::string engine_version, api_version;
  std::string image;           // the reference under which it was committed, and saved
  std::string image_id, original_image;
  std::string point;
  std::vector<std::string> volumes;
};
// Throws Corrupt.
CommitRecord parse_commit_record(base::ByteView json);
// `snapshot`: of a container. Throws NotFound where it holds no image, Corrupt.
CommitRecord read_commit_record(const repo::Repository& repository, const repo::Snapshot& snapshot);

}  // namespace davit::jobs
