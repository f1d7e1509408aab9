// Images back with the volume: when a volume is made from a snapshot, the images of the containers that were committed
// in the same point are loaded into the engine, in the background, straight from the repository.
//
// What is owed stands in the volume's record (durable since its create), so a restart goes on; what failed is tried
// again at the next start. A failure is told in the record, the log and Status, and does not touch the volume. Volumes
// of one point share the jobs: an image is loaded once. One that the engine has already (by name, and by the point in
// its label) is left as it is.
// Any thread may call anything.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "jobs/context.h"
#include "jobs/job_queue.h"
#include "jobs/operations.h"

namespace davit::jobs {

class ImageLoader {
 public:
  // Both borrowed; the queue's jobs use this, so it has to go first.
  ImageLoader(Context& context, JobQueue& queue) : context_(context), queue_(queue) {}

  // Begins what the volume's record owes, as soon as it names a snapshot. Where nothing is owed it does nothing.
  void start(const std::string& volume_uuid);
  // At the daemon's start: all volumes; what failed is tried again.
  void resume();

  // One that looks up or loads images of the volume; nullptr: none is under way.
  std::shared_ptr<Job> find_job(const std::string& volume_uuid) const;
  std::vector<ImageStatus> statuses_of(const volumes::Volume& volume) const;
  // "davit/web:20261122T180000Z: loading, 45 %; …"; "" where no image came with it.
  std::string status_of(const volumes::Volume& volume) const;

 private:
  void look_up(const std::string& volume_uuid, Job& job);
  void submit(const std::string& volume_uuid, const volumes::ImageLoad& image);
  void note_end(const std::string& volume_uuid, const std::string& reference, const Job& job);

  Context& context_;
  JobQueue& queue_;
};

// The image of the snapshot of a container into the engine (jobs/load_image.h), once the repository can be used. Runs on
// the job's thread. Returns the name that it has there. Throws what went wrong.
std::string load_image(Context& context, const std::string& snapshot, Job& job);

}  // namespace davit::jobs
