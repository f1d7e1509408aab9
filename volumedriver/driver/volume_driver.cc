#include "driver/volume_driver.h"

#include <sys/stat.h>

#include <algorithm>
#include <cmath>

#include "base/errors.h"
#include "base/log.h"
#include "volumes/name.h"

namespace davit::driver {

using volumes::OptionMap;
using volumes::State;
using volumes::Volume;

// A create under way. Others that ask for the same wait for it.
struct VolumeDriver::Creation {
  const OptionMap given;
  bool done = false;           // under mutex_
  std::exception_ptr failure;  // under mutex_
};

namespace {

base::NotFound no_volume(const std::string& name) {
  return base::NotFound("there is no volume " + name);
}

// Empty values count as not given.
OptionMap without_empty(const OptionMap& options) {
  OptionMap rest;
  for (const auto& [key, value] : options)
    if (!value.empty()) rest.insert({key, value});
  return rest;
}

std::string about(int64_t seconds) {
  if (seconds < 90) return std::to_string(std::max<int64_t>(seconds, 1)) + " s";
  const int64_t minutes = (seconds + 30) / 60;
  return minutes < 90 ? std::to_string(minutes) + " min"
                      : std::to_string((minutes + 30) / 60) + " h";
}

std::string percent(double fraction) {
  // Never 100 before it is done.
  return std::to_string(std::min(99, static_cast<int>(std::floor(fraction * 100)))) + " %";
}

base::Conflict still_restoring(const std::string& name, const Background::Progress& progress) {
  std::string text = "volume " + name + " is still being restored";
  if (!progress.phase.empty()) text += " (" + progress.phase + ")";
  if (progress.fraction) text += ": " + percent(*progress.fraction) + " done";
  if (progress.seconds_left) text += ", about " + about(*progress.seconds_left) + " left";
  return base::Conflict(text + ". Try again then, or wait for it with: davit wait " + name);
}

base::Conflict has_failed(const Volume& volume) {
  return base::Conflict("volume " + volume.name + " is not usable: " + volume.error +
                        ". Once the cause is mended, remove the volume and create it again");
}

}  // namespace

// -------------------------------------------------------------------------------------------------------
// create

void VolumeDriver::create(const std::string& name, const OptionMap& options, Budget budget) {
  volumes::validate_name(name);
  validate_options(options, name, check_schedule_);
  const auto mine = std::make_shared<Creation>(Creation{without_empty(options), false, nullptr});
  std::shared_ptr<Creation> other;
  {
    std::lock_guard lock(mutex_);
    const auto [place, is_mine] = creations_.try_emplace(name, mine);
    if (!is_mine) other = place->second;
  }
  if (other) {
    if (other->given != mine->given)
      throw base::Conflict("volume " + name + " is being created with other options");
    return join(*other, name, budget);
  }

  std::exception_ptr failure;
  try {
    create_alone(name, mine->given, budget);
  } catch (...) {
    failure = std::current_exception();
  }
  {
    std::lock_guard lock(mutex_);
    mine->done = true;
    mine->failure = failure;
    creations_.erase(name);
  }
  ended_.notify_all();
  if (failure) std::rethrow_exception(failure);
}

void VolumeDriver::join(const Creation& creation, const std::string& name, const Budget& budget) {
  std::unique_lock lock(mutex_);
  if (!ended_.wait_until(lock, budget.stop, budget.deadline, [&] { return creation.done; })) {
    if (budget.stop.stop_requested()) throw base::Cancelled();
    throw base::Conflict("volume " + name + " is still being created");
  }
  if (creation.failure) std::rethrow_exception(creation.failure);
}

void VolumeDriver::create_alone(const std::string& name, const OptionMap& given,
                                const Budget& budget) {
  if (const auto existing = registry_.find(name)) {
    if (existing->state == State::failed) throw has_failed(*existing);
    if (existing->requested == given) return;  // asked for once more
    throw base::Conflict("there is a volume " + name + " already, with other options");
  }
  std::optional<Background::Source> source;
  if (const auto from = given.find("from"); from != given.end())
    source = background_.resolve(from->second, name, budget);
  if (budget.stop.stop_requested()) throw base::Cancelled();  // nobody would know of the volume
  if (!source) {
    make_empty(name, given);
  } else {
    const Volume volume = registry_.create(
        name, State::restoring, merge_options(source->options, given, name, check_schedule_),
        [&](Volume& record) {
          record.requested = given;
          record.source_snapshot = source->snapshot;
          record.source_path = source->path;
          record.waits_for = source->waits_for;
          record.images_owed = wants_images(given, background_.images_by_default());
        });
    // From here on the restore is owed, whatever happens to this process.
    background_.start_restore(volume.uuid);
  }
  background_.volume_was_made(name);
}

void VolumeDriver::make_empty(const std::string& name, const OptionMap& given) {
  const Volume volume = registry_.create(name, State::creating, given,
                                         [&](Volume& record) { record.requested = given; });
  try {
    registry_.prepare_staging(volume.uuid);
    registry_.make_ready(volume.uuid);
  } catch (...) {
    registry_.abandon(volume.uuid);
    background_.start_sweep();
    throw;
  }
}

// -------------------------------------------------------------------------------------------------------
// remove

void VolumeDriver::remove(const std::string& name) {
  {
    std::lock_guard lock(mutex_);
    if (creations_.contains(name))
      throw base::Conflict("volume " + name + " is still being created");
    removals_.insert(name);
  }
  std::exception_ptr failure;
  try {
    const auto volume = registry_.find(name);
    if (!volume) throw no_volume(name);
    if (volume->state == State::restoring) background_.cancel_restore(volume->uuid);
    // The names that engines invent are those of volumes that nobody will ask for again.
    const bool keep = wants_final_backup(volume->options, background_.final_backup_by_default()) && !volumes::is_anonymous(name);
    const Volume removed = registry_.remove(name, keep);
    if (registry_.find_uuid(removed.uuid))
      background_.start_last_backup(removed.uuid);
    else
      background_.start_sweep();
    background_.volume_was_removed(removed);
  } catch (...) {
    failure = std::current_exception();
  }
  {
    std::lock_guard lock(mutex_);
    removals_.erase(removals_.find(name));
  }
  if (failure) std::rethrow_exception(failure);
}

// --------------------------------------------------------------------------------------------------------
// mount

std::string VolumeDriver::mount(const std::string& name, const std::string& id, Budget budget) {
  std::shared_ptr<Creation> creation;
  {
    std::lock_guard lock(mutex_);
    if (const auto found = creations_.find(name); found != creations_.end())
      creation = found->second;
  }
  if (creation) join(*creation, name, budget);

  auto volume = registry_.find(name);
  if (volume && volume->state == State::restoring) {
    if (const auto progress = background_.wait_restore(volume->uuid, budget))
      throw still_restoring(name, *progress);
    volume = registry_.find(name);
    if (volume && volume->state == State::restoring) {  // it was interrupted, or another one began
      background_.start_restore(volume->uuid);
      throw still_restoring(name, {});
    }
  }
  if (!volume) throw no_volume(name);
  if (volume->state == State::failed) throw has_failed(*volume);
  // A restore in place would exchange the directory under the container.
  if (volume->state == State::ready)
    if (const auto progress = background_.wait_restore(volume->uuid, budget))
      throw still_restoring(name, *progress);
  std::string directory = directory_of_ready(*volume);
  background_.volume_is_mounted(volume->uuid, id);
  // One that began a moment ago may have looked for mounts before this one.
  const Budget at_once{std::chrono::steady_clock::now(), budget.stop};
  if (const auto progress = background_.wait_restore(volume->uuid, at_once)) {
    background_.volume_is_unmounted(volume->uuid, id);
    throw still_restoring(name, *progress);
  }
  spdlog::debug("volume {} is mounted for {}", name, id.substr(0, 12));
  return directory;
}

void VolumeDriver::unmount(const std::string& name, const std::string& id) {
  if (!volumes::is_valid_name(name)) return;
  if (const auto volume = registry_.find(name)) background_.volume_is_unmounted(volume->uuid, id);
  spdlog::debug("volume {} is unmounted for {}", name, id.substr(0, 12));
}

std::string VolumeDriver::path(const std::string& name) {
  const auto volume = registry_.find(name);
  if (!volume) throw no_volume(name);
  if (volume->state == State::failed) throw has_failed(*volume);
  if (volume->state != State::ready) throw still_restoring(name, {});
  return directory_of_ready(*volume);
}

std::string VolumeDriver::directory_of_ready(const Volume& volume) const {
  std::string directory = registry_.directory(volume);
  struct stat status;
  if (volume.state != State::ready || ::lstat(directory.c_str(), &status) != 0 ||
      !S_ISDIR(status.st_mode))
    throw base::Conflict("the directory of volume " + volume.name + " is not there: " + directory);
  return directory;
}

// ------------------------------------------------------------------------------------------------
// get and list

std::optional<VolumeInfo> VolumeDriver::get(const std::string& name) {
  if (!volumes::is_valid_name(name)) return std::nullopt;
  const auto volume = registry_.find(name);
  // One whose create has not been answered is not known to any engine yet.
  if (!volume || volume->state == State::creating) return std::nullopt;
  VolumeInfo info{name, registry_.volumes_directory() + "/" + name, volume->created, {}};
  info.status["state"] = volumes::state_name(volume->state);
  if (!volume->error.empty()) info.status["error"] = volume->error;
  try {
    info.status.merge(background_.status_of(*volume));
  } catch (const base::Error& error) {
    // The volume is there whatever else is wrong; to say otherwise would cost its labels.
    info.status["status"] = std::string("not known: ") + error.what();
  }
  return info;
}

std::vector<VolumeInfo> VolumeDriver::list() {
  std::vector<VolumeInfo> all;
  std::lock_guard lock(mutex_);  // while it reads, so that what it sees is not under way
  for (const Volume& volume : registry_.list()) {
    if (volume.state == State::creating || creations_.contains(volume.name) ||
        removals_.contains(volume.name))
      continue;
    all.push_back(
        {volume.name, registry_.volumes_directory() + "/" + volume.name, volume.created, {}});
  }
  return all;
}

}  // namespace davit::driver
