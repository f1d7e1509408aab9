#include "jobs/undo_restore.h"

#include <algorithm>

#include "base/errors.h"
#include "base/fault.h"
#include "base/log.h"
#include "jobs/image_names.h"
#include "jobs/network_spec.h"

namespace davit::jobs {

using namespace std::chrono_literals;
using Asked = RestoreEntry::Asked;

namespace {

// How long an engine may be at the layers of an image that it has received.
constexpr auto kImageMayStillCome = 1h;
constexpr auto kLook = 200ms;

std::string short_id(const std::string& hex) {
  return hex.substr(0, 8);
}

// ---- what may still come

bool has_come(engine::Engine& engine, const RestoreEntry& entry) {
  switch (entry.asked) {
    case Asked::network:
      return engine.find_network(entry.asked_name).has_value();
    case Asked::volume:
      return engine.find_volume(entry.asked_name).has_value();
    case Asked::container:
      try {
        engine.inspect_container(entry.container);
        return true;
      } catch (const base::NotFound&) {
        return false;
      }
    case Asked::image:
    case Asked::nothing:
      break;
  }
  return true;
}

void wait_for_what_was_asked(Context& context, const RestoreEntry& entry, Job& job) {
  if (context.clock.now() - entry.asked_at > kImageMayStillCome) return;
  const auto deadline = std::chrono::steady_clock::now() + context.engine_goes_on;
  while (!has_come(*context.engine, entry) && std::chrono::steady_clock::now() < deadline) {
    job.set_phase("waiting for what the engine may still be making");
    job.pause(kLook);
  }
}

std::string plain_name(const std::string& reference) {
  constexpr std::string_view kLocal = "localhost/";
  return reference.starts_with(kLocal) ? reference.substr(kLocal.size()) : reference;
}

// By another restore, or with a volume.
bool is_wanted_by_others(const Context& context, const RestoreEntry& entry) {
  for (const RestoreEntry& other : RestoreJournal(context.data_directory).list())
    if (other.uuid != entry.uuid && !other.undone && other.image == entry.image) return true;
  for (const auto& volume : context.registry.list())
    for (const auto& image : volume.images)
      if (image.state != volumes::ImageLoad::State::failed &&
          plain_name(image.reference) == plain_name(entry.image))
        return true;
  return false;
}

// False: it may still come.
bool undo_image(Context& context, const RestoreEntry& entry, const std::stop_token& stop) {
  if (!entry.loads_image || is_wanted_by_others(context, entry)) return true;
  const auto turn = context.image_turns.take(entry.image, stop);
  if (is_wanted_by_others(context, entry)) return true;
  const auto image = context.engine->find_image(entry.image);
  if (!image)
    return entry.asked != Asked::image || context.clock.now() - entry.asked_at > kImageMayStillCome;
  const auto point = image->labels.find(kLabelPoint);
  if (point == image->labels.end() || point->second != entry.point)
    return true;  // another one has the name by now
  base::fault_point("undo:image");
  try {
    context.engine->remove_image(entry.image);
  } catch (const base::Conflict& error) {
    spdlog::warn("the image {} is used by now, and stays: {}", entry.image, error.what());
  }
  return true;
}

// ---- what is there

// False: it was used meanwhile, so somebody took it as it is.
bool undo_container(engine::Engine& engine, const RestoreEntry& entry) {
  if (entry.container_id.empty() && entry.asked != Asked::container)
    return true;  // it came to none
  try {
    const auto details =
        engine.inspect_container(entry.container_id.empty() ? entry.container : entry.container_id);
    if (details.image != entry.image) return true;  // another one has the name by now
    const bool never_started =
        details.started_at.empty() || details.started_at.starts_with("0001-");
    if (details.running || !never_started) return false;
    engine.remove_container(details.id, false);
  } catch (const base::NotFound&) {
  }
  return true;
}

void undo_volume(Context& context, const RestoreEntry::Volume& made, const VolumeWork& volumes, Job& job) {
  // Where the engine is at a create of it, this waits for its end (Docker).
  context.engine->find_volume(made.name);
  const auto volume = context.registry.find(made.name);
  const auto from = volume ? volume->requested.find("from") : volumes::OptionMap::const_iterator();
  if (!volume || from == volume->requested.end() || from->second != made.snapshot)
    return;  // none, or another one
  // What was just restored is in the repository: no last backup of it.
  context.registry.update(
      volume->uuid, [](volumes::Volume& record) { record.options["final-backup"] = "false"; });
  if (volume->state == volumes::State::restoring) volumes.cancel(volume->uuid);
  try {
    context.engine->remove_volume(made.name);
  } catch (const base::Conflict& error) {
    spdlog::warn("the volume {} of a restore that was given up is used by now, and stays: {}",
                 made.name, error.what());
    return;
  }
  // An engine that had not noted it yet did not ask the driver to remove it.
  if (const auto left = context.registry.find_uuid(volume->uuid);
      left && left->state != volumes::State::removed)
    volumes.remove(made.name, job);
}

void undo_network(engine::Engine& engine, const std::string& name, const std::string& uuid) {
  const auto network = engine.find_network(name);
  if (!network || read_network(*network).restore != uuid) return;
  try {
    engine.remove_network(name);
  } catch (const base::IoError&) {
    throw;
  } catch (const base::Error& error) {
    spdlog::warn("the network {} of a restore that was given up is used by now, and stays: {}",
                 name, error.what());
  }
}

}  // namespace

void undo_container_restore(Context& context, const RestoreEntry& entry, const VolumeWork& volumes,
                            Job& job) {
  if (context.engine == nullptr)
    throw base::IoError("no container engine is known: set DOCKER_HOST", 0);
  const RestoreJournal journal(context.data_directory);
  wait_for_what_was_asked(context, entry, job);
  job.set_phase("undoing");
  if (!undo_container(*context.engine, entry)) {
    spdlog::warn(
        "the restore of the container {} was cut off, but the container was started since: it "
        "stays",
        entry.container);
    journal.remove(entry.uuid);
    return;
  }
  base::fault_point("undo:container");
  for (const auto& replaced : entry.replaced) {
    const auto volume = context.registry.find(replaced.name);
    if (!volume || volume->state != volumes::State::ready) continue;
    try {
      volumes.replace(
          replaced.name, replaced.safety, [](const std::string&) {}, job);
    } catch (const base::IoError&) {
      throw;
    } catch (const base::Error& error) {
      spdlog::error(
          "the volume {} cannot be put back ({}): what it held before is in the snapshot {}",
          replaced.name, error.what(), short_id(replaced.safety));
    }
  }
  for (const auto& made : entry.volumes) undo_volume(context, made, volumes, job);
  base::fault_point("undo:volumes");
  for (const auto& network : entry.networks) undo_network(*context.engine, network, entry.uuid);
  base::fault_point("undo:networks");
  if (undo_image(context, entry, job.stop.get_token())) {
    journal.remove(entry.uuid);
  } else {
    RestoreEntry late;
    late.uuid = entry.uuid;
    late.container = entry.container;
    late.image = entry.image;
    late.point = entry.point;
    late.loads_image = true;
    late.asked = entry.asked;
    late.asked_at = entry.asked_at;
    late.undone = true;
    journal.write(late);
  }
  spdlog::info("half a restore of the container {} is undone", entry.container);
}

void remove_late_images(Context& context, std::stop_token stop) {
  if (context.engine == nullptr) return;
  const RestoreJournal journal(context.data_directory);
  for (const RestoreEntry& entry : journal.list())
    if (entry.undone && undo_image(context, entry, stop)) journal.remove(entry.uuid);
}

void forget_late_images(const Context& context, const std::string& image) {
  const RestoreJournal journal(context.data_directory);
  for (const RestoreEntry& entry : journal.list())
    if (entry.undone && entry.image == image) journal.remove(entry.uuid);
}

bool is_loaded_by_another(const Context& context, const RestoreEntry& entry) {
  const auto entries = RestoreJournal(context.data_directory).list();
  return std::any_of(entries.begin(), entries.end(), [&](const RestoreEntry& other) {
    return other.uuid != entry.uuid && !other.undone && other.loads_image &&
           other.image == entry.image;
  });
}

}  // namespace davit::jobs
