#include "jobs/load_images.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "base/errors.h"
#include "base/fault.h"
#include "base/log.h"
#include "jobs/image_names.h"
#include "jobs/load_image.h"
#include "jobs/points.h"
#include "jobs/waiting.h"
#include "jobs/watch.h"
#include "restore/restorer.h"

namespace davit::jobs {

using volumes::ImageLoad;
using volumes::Volume;

namespace {

constexpr std::chrono::seconds kFirstPause{1};
constexpr size_t kMaxContainerFile = 1 << 20;

std::string look_up_key(const std::string& volume_uuid) { return "images:" + volume_uuid; }
std::string load_key(const std::string& reference) { return "image:" + reference; }

// What the container's snapshot says its image is called.
std::string reference_in(const repo::Repository& repository, const repo::Snapshot& snapshot, const std::string& container) {
  const auto bytes =
      restore::find_small_file(repository, snapshot.tree, kContainersPath + container + "/davit.json", kMaxContainerFile);
  if (!bytes) return "";  // saved without an image
  const auto file = nlohmann::json::parse(base::as_text(*bytes), nullptr, false);
  const auto found = file.is_object() ? file.find("image") : file.end();
  if (!file.is_object() || found == file.end() || !found->is_string())
    throw base::Corrupt("davit.json in the snapshot " + snapshot.id.short_hex() + " of the container " + container +
                        " does not name its image");
  return found->get<std::string>();
}

repo::Snapshot load_snapshot(const repo::Repository& repository, const std::string& hex) {
  const auto id = base::Id::parse(hex);
  if (!id) throw base::Corrupt("'" + hex + "' is no snapshot's ID");
  repo::Snapshot snapshot = repository.load_snapshot(*id);
  snapshot.id = *id;
  return snapshot;
}

// The images of the point that the snapshot is a piece of.
std::vector<ImageLoad> images_of_point(const repo::Repository& repository, const std::string& of_snapshot) {
  std::vector<ImageLoad> images;
  const repo::Snapshot volume = load_snapshot(repository, of_snapshot);
  const std::string point = point_of(volume);
  if (point.empty()) return images;
  for (auto& [id, snapshot] : repository.load_snapshots([](const base::Id&, const std::string&) {})) {
    snapshot.id = id;
    const std::string container = container_of(snapshot);
    if (container.empty() || point_of(snapshot) != point || snapshot.hostname != volume.hostname) continue;
    ImageLoad image{.reference = "", .container = container, .snapshot = id.hex(), .state = ImageLoad::State::pending, .error = ""};
    try {
      image.reference = reference_in(repository, snapshot, container);
      if (image.reference.empty()) continue;
    } catch (const base::Error& error) {
      // What it is called, unless the name was taken then: known by that name, and not to be had.
      image.reference = commit_reference(engine::Kind::docker, container, snapshot.time.time);
      image.state = ImageLoad::State::failed;
      image.error = error.what();
      spdlog::error("the image of the container {} cannot be loaded: {}", container, image.error);
    }
    images.push_back(std::move(image));
  }
  return images;
}

}  // namespace

std::string load_image(Context& context, const std::string& snapshot_id, Job& job) {
  for (;;) {
    const auto hold = wait_for_repository(context, job, "loading images");
    const repo::Snapshot snapshot = load_snapshot(*hold->repository(), snapshot_id);
    try {
      job.set_phase("reading the index");
      hold->repository()->refresh_index();
      return ensure_image(context, *hold->repository(), snapshot, job, hold->lost()).reference;
    } catch (const base::Cancelled&) {
      if (job.stop.stop_requested() || !hold->lost().stop_requested()) throw;
      spdlog::warn("loading the image of the container {} begins again: the lock on the repository was lost",
                   container_of(snapshot));
    }
    job.pause(kFirstPause);
  }
}

void ImageLoader::start(const std::string& volume_uuid) {
  const auto volume = context_.registry.find_uuid(volume_uuid);
  if (!volume) return;
  const bool pending = std::any_of(volume->images.begin(), volume->images.end(), [](const ImageLoad& image) {
    return image.state == ImageLoad::State::pending;
  });
  if (!pending && (!volume->images_owed || volume->source_snapshot.empty())) return;
  try {
    queue_.submit(look_up_key(volume_uuid), "image look-up", JobClass::image,
                  [this, volume_uuid](Job& job) { look_up(volume_uuid, job); });
  } catch (const base::Error&) {  // davit is stopping; the next start goes on
  }
}

void ImageLoader::resume() {
  for (const Volume& volume : context_.registry.list()) {
    const auto is_failed = [](const ImageLoad& image) { return image.state == ImageLoad::State::failed; };
    if (std::any_of(volume.images.begin(), volume.images.end(), is_failed))
      context_.registry.note(volume.uuid, [](Volume& record) {
        for (ImageLoad& image : record.images)
          if (image.state == ImageLoad::State::failed) image.state = ImageLoad::State::pending;
      });
    start(volume.uuid);
  }
}

void ImageLoader::look_up(const std::string& volume_uuid, Job& job) {
  auto volume = context_.registry.find_uuid(volume_uuid);
  if (!volume) return;
  try {
    if (volume->images_owed) {
      const auto hold = wait_for_repository(context_, job, "loading images");
      job.set_phase("looking up the images");
      hold->repository()->refresh_index();
      const auto images = images_of_point(*hold->repository(), volume->source_snapshot);
      volume = context_.registry.update(volume_uuid, [&](Volume& record) {
        record.images = images;
        record.images_owed = false;
      });
      base::fault_point("image:planned");
    }
    for (const ImageLoad& image : volume->images)
      if (image.state == ImageLoad::State::pending) submit(volume_uuid, image);
  } catch (const base::Error& error) {
    // The record owes them still: the next start looks again.
    if (context_.registry.find_uuid(volume_uuid))
      spdlog::error("the images that belong to volume {} cannot be loaded: {}", volume->name, error.what());
    throw;
  }
}

void ImageLoader::submit(const std::string& volume_uuid, const ImageLoad& image) {
  const auto job = queue_.submit(load_key(image.reference), "image", JobClass::image, [this, image](Job& job) {
    load_image(context_, image.snapshot, job);
  });
  job->when_finished([this, volume_uuid, reference = image.reference, watched = std::weak_ptr<Job>(job)] {
    if (const auto ended = watched.lock()) note_end(volume_uuid, reference, *ended);
  });
}

void ImageLoader::note_end(const std::string& volume_uuid, const std::string& reference, const Job& job) {
  std::string why;
  try {
    if (job.failure()) std::rethrow_exception(job.failure());
  } catch (const base::Cancelled&) {
    return;  // it stays owed
  } catch (const std::exception& error) {
    why = error.what();
    spdlog::error("loading the image {} failed: {}", reference, why);
  }
  try {
    context_.registry.note(volume_uuid, [&](Volume& record) {
      for (ImageLoad& image : record.images) {
        if (image.reference != reference) continue;
        image.state = why.empty() ? ImageLoad::State::loaded : ImageLoad::State::failed;
        image.error = why;
      }
    });
  } catch (const base::Error&) {  // the volume is gone
  }
}

std::shared_ptr<Job> ImageLoader::find_job(const std::string& volume_uuid) const {
  if (auto job = queue_.find(look_up_key(volume_uuid))) return job;
  const auto volume = context_.registry.find_uuid(volume_uuid);
  if (!volume) return nullptr;
  for (const ImageLoad& image : volume->images)
    if (image.state == ImageLoad::State::pending)
      if (auto job = queue_.find(load_key(image.reference))) return job;
  return nullptr;
}

std::vector<ImageStatus> ImageLoader::statuses_of(const Volume& volume) const {
  std::vector<ImageStatus> images;
  for (const ImageLoad& image : volume.images) {
    ImageStatus status{.reference = image.reference,
                       .container = image.container,
                       .state = state_name(image.state),
                       .fraction = std::nullopt,
                       .error = image.error};
    const auto job = image.state == ImageLoad::State::pending ? queue_.find(load_key(image.reference)) : nullptr;
    if (job) {
      const ProgressEvent event = progress_of(*job, volume.name);
      if (!event.phase.empty()) status.state = event.phase;
      status.fraction = event.fraction;
    }
    images.push_back(std::move(status));
  }
  return images;
}

std::string ImageLoader::status_of(const Volume& volume) const {
  if (volume.images_owed) return "to be looked up";
  std::string text;
  for (const ImageStatus& image : statuses_of(volume)) {
    text += (text.empty() ? "" : "; ") + image.reference + ": " + image.state;
    if (!image.error.empty()) text += ": " + image.error;
    if (image.fraction) text += ", " + std::to_string(static_cast<int>(*image.fraction * 100)) + " %";
  }
  return text;
}

}  // namespace davit::jobs
