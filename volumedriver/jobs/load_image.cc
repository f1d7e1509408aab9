#include "jobs/load_image.h"

#include <chrono>
#include <optional>
#include <utility>

#include "base/errors.h"
#include "base/fault.h"
#include "base/log.h"
#include "jobs/either_stop.h"
#include "jobs/image_names.h"
#include "jobs/points.h"
#include "restore/image_stream.h"

namespace davit::jobs {

namespace {

constexpr std::string_view kLocal = "localhost/";
// Tries where the engine goes away in the middle of the stream.
constexpr int kTries = 4;
constexpr std::chrono::seconds kFirstPause{1}, kLongestPause{60};

struct Wanted {
  std::string reference, container;
  const repo::Snapshot& snapshot;
};

std::optional<engine::Image> find_wanted(engine::Engine& engine, const Wanted& wanted) {
  auto image = engine.find_image(wanted.reference);
  if (image && !is_image_of(*image, wanted.snapshot))
    throw base::Conflict("the engine has another image of the name " + wanted.reference +
                         ": give that one another name (docker tag, docker rmi), and try again");
  return image;
}

// Engines may load it under another name (Podman completes names), or under none.
std::optional<engine::Image> give_its_name(engine::Engine& engine, const Wanted& wanted,
                                           const std::vector<std::string>& loaded) {
  if (auto image = find_wanted(engine, wanted)) return image;
  const size_t colon = wanted.reference.rfind(':');
  for (const std::string& name : loaded) {
    const auto image = engine.find_image(name);
    if (!image || !is_image_of(*image, wanted.snapshot)) continue;
    engine.tag_image(name, wanted.reference.substr(0, colon), wanted.reference.substr(colon + 1));
    if (name != image->id && image->id.find(name) == std::string::npos) engine.remove_image(name);
    return find_wanted(engine, wanted);
  }
  return std::nullopt;
}

void remove_what_was_loaded(engine::Engine& engine, const Wanted& wanted) {
  try {
    const auto image = engine.find_image(wanted.reference);
    if (image && is_image_of(*image, wanted.snapshot)) engine.remove_image(wanted.reference);
  } catch (const base::Error& error) {
    spdlog::warn("the image {} may be left in the engine: {}", wanted.reference, error.what());
  }
}

ImageHere load_once(engine::Engine& engine, const repo::Repository& repository, const repo::Snapshot& snapshot,
                    const Wanted& wanted, Job& job, const std::stop_token& stop) {
  if (const auto image = find_wanted(engine, wanted)) return {wanted.reference, image->id, false};
  job.set_phase("loading");
  for (auto* counter : {&job.progress.files_done, &job.progress.bytes_done}) *counter = 0;
  restore::ImageStream stream(repository, snapshot.tree, snapshot.paths[0] + "/image",
                              {.progress = &job.progress, .stop = stop});
  try {
    base::fault_point("image:load");
    const auto loaded = engine.load_image({.read = [&](std::span<uint8_t> out) { return stream.read(out); },
                                           .size_bytes = stream.size_bytes(),
                                           .rewind = [&] { stream.rewind(); }},
                                          stop);
    base::fault_point("image:loaded");
    const auto image = give_its_name(engine, wanted, loaded);
    if (!image)
      throw base::Corrupt("the engine took the image " + wanted.reference + " and does not know it: what it loaded "
                          "has not the labels of the commit");
    spdlog::info("loaded the image {} of the container {}: {}", wanted.reference, wanted.container,
                 base::human_size(stream.size_bytes()));
    return {wanted.reference, image->id, true};
  } catch (...) {
    remove_what_was_loaded(engine, wanted);
    throw;
  }
}

}  // namespace

std::string image_reference(const CommitRecord& record, engine::Kind engine) {
  std::string name = record.image;
  if (name.starts_with(kLocal)) name.erase(0, kLocal.size());
  return engine == engine::Kind::podman ? std::string(kLocal) + name : name;
}

bool is_image_of(const engine::Image& image, const repo::Snapshot& snapshot) {
  const auto point = image.labels.find(kLabelPoint), container = image.labels.find(kLabelContainer);
  return point != image.labels.end() && point->second == point_of(snapshot) &&
         (container == image.labels.end() || container->second == container_of(snapshot));
}

ImageHere ensure_image(Context& context, const repo::Repository& repository, const repo::Snapshot& snapshot, Job& job,
                       std::stop_token stop) {
  if (context.engine == nullptr) throw base::IoError("no container engine is known: set DOCKER_HOST", 0);
  engine::Engine& engine = *context.engine;
  const CommitRecord record = read_commit_record(repository, snapshot);
  const Wanted wanted{image_reference(record, engine.kind()), container_of(snapshot), snapshot};
  const EitherStop either(job.stop.get_token(), std::move(stop));
  job.set_phase("waiting for whoever loads it");
  const auto turn = context.image_turns.take(wanted.reference, either.get());
  auto pause = kFirstPause;
  for (int attempt = 1;; ++attempt) {
    try {
      return load_once(engine, repository, snapshot, wanted, job, either.get());
    } catch (const base::IoError& error) {
      if (either.get().stop_requested()) throw base::Cancelled();
      if (!error.transient() || attempt == kTries) throw;
      spdlog::warn("loading the image {} failed and is tried again: {}", wanted.reference, error.what());
    }
    job.set_phase("waiting for the engine");
    job.pause(std::exchange(pause, std::min(pause * 4, kLongestPause)));
  }
}

}  // namespace davit::jobs
