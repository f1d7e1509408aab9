// The committed image of a container's snapshot, brought back into the engine: straight from the repository into the
// engine's load stream.
#pragma once

#include <stop_token>
#include <string>

#include "jobs/commit_record.h"
#include "jobs/context.h"
#include "jobs/job_queue.h"

namespace davit::jobs {

// What the image is called in this engine: Podman's local images begin with "localhost/".
std::string image_reference(const CommitRecord& record, engine::Kind engine);

// Whether it is the one that was committed for the container's snapshot, by its labels.
bool is_image_of(const engine::Image& image, const repo::Snapshot& snapshot);

struct ImageHere {
  std::string reference, id;
  bool loaded = false;  // false: it was there
};
// Returns once the engine has the image, of this point and this container, under its reference. Another job that loads
// it just now is waited for; so is, a few times, an engine that goes away in the middle. The repository's lock must be
// held and its index be fresh; `stop` counts beside the job's own. Throws NotFound (the snapshot holds no image),
// Conflict (the reference is another image's), Corrupt, IoError, Cancelled; then nothing of it is left in the engine.
ImageHere ensure_image(Context& context, const repo::Repository& repository, const repo::Snapshot& snapshot, Job& job,
                       std::stop_token stop);

}  // namespace davit::jobs
