// How the registry begins, after whatever end the last run had; and what it deletes behind itself.
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "base/errors.h"
#include "base/fault.h"
#include "base/files.h"
#include "base/log.h"
#include "volumes/record.h"
#include "volumes/registry_impl.h"
#include "volumes/volume_directory.h"

namespace davit::volumes {

using base::fault_point;

namespace {

struct stat get_status(const std::string& path) {
  struct stat status;
  if (::lstat(path.c_str(), &status) != 0) base::throw_errno("cannot stat " + path, errno);
  return status;
}

}  // namespace

bool exists(const std::string& path) {
  struct stat status;
  if (::lstat(path.c_str(), &status) == 0) return true;
  if (const int number = errno; number != ENOENT) base::throw_errno("cannot stat " + path, number);
  return false;
}

void Registry::Impl::load() {
  for (const std::string& path : {registry, volumes, staging, removed}) {
    if (exists(path)) continue;
    base::make_directories(path, 0700);
    base::sync_directory(data);
  }
  device = get_status(data).st_dev;

  std::vector<Volume> found;
  for (const std::string& file : base::list_directory(registry)) {
    const std::string path = registry + "/" + file;
    if (file.find(".json.tmp-") != std::string::npos) {  // an atomic write that a crash ended
      base::remove_file(path);
      continue;
    }
    if (!file.ends_with(kRecordSuffix)) {
      spdlog::warn("{} is no record of a volume; it is left alone", path);
      continue;
    }
    try {
      found.push_back(parse_record(base::get_file(path, kLargestRecord)));
      if (found.back().uuid + std::string(kRecordSuffix) != file)
        throw base::Corrupt("it is about another volume");
    } catch (const base::Unsupported& error) {
      throw base::Unsupported("cannot read the volume record " + path + ": " + error.what());
    } catch (const base::Corrupt& error) {
      throw base::Corrupt(
          "the volume record " + path + " is damaged: " + error.what() +
          ". Restore the file, or move it away to forget the volume (its data stays)");
    }
  }
  for (Volume& volume : found) settle(std::move(volume));

  std::set<std::string> expected;
  for (const auto& [uuid, entry] : by_uuid)
    if (entry.volume.state == State::ready) expected.insert(entry.volume.name);
  for (const std::string& name : base::list_directory(volumes))
    if (!expected.contains(name))
      spdlog::warn("{}/{} belongs to no volume that davit knows; it is left alone", volumes, name);
}

// Takes a volume for what its place says, and writes that down where the record says otherwise.
void Registry::Impl::settle(Volume volume) {
  const State recorded = volume.state;
  if (exists(dropped_path(volume.uuid))) {
    fault_point("registry:settle_dropped");
    base::remove_file(record_path(volume.uuid));
    return;
  }
  if (exists(removed_path(volume.uuid))) {
    volume.state = State::removed;
    if (!volume.removed_at) {  // its rename set the directory's ctime
      const timespec changed = get_status(removed_path(volume.uuid)).st_ctim;
      volume.removed_at = base::Time(std::chrono::seconds(changed.tv_sec) +
                                     std::chrono::nanoseconds(changed.tv_nsec));
    }
  } else if (recorded == State::removed) {
    spdlog::warn("the data of the removed volume {} ({}) is gone; it is forgotten", volume.name,
                 volume.uuid);
    base::remove_file(record_path(volume.uuid));
    return;
  } else if (exists(volumes + "/" + volume.name)) {
    volume.state = State::ready;
    volume.error.clear();
    volume.waits_for.clear();
  } else if (recorded == State::creating) {  // its create was never answered
    fault_point("registry:settle_creating");
    base::remove_file(record_path(volume.uuid));
    return;
  }
  fault_point("registry:settle");
  if (volume.state != recorded) note(volume);
  if (volume.state == State::ready && !exists(volumes + "/" + volume.name)) {
    // Not written down: the directory may come back.
    volume.state = State::failed;
    volume.error = "its directory " + volumes + "/" + volume.name + " is missing";
    spdlog::error("volume {}: {}", volume.name, volume.error);
  }
  if (volume.state != State::removed && !names.emplace(volume.name, volume.uuid).second)
    throw base::Corrupt("the volume records " + record_path(volume.uuid) + " and " +
                        record_path(names[volume.name]) + " both claim the name " + volume.name);
  std::string uuid = volume.uuid;
  by_uuid.emplace(std::move(uuid), Entry{std::move(volume), false, true});
}

void Registry::sweep(const std::function<bool()>& stop) {
  std::lock_guard one(impl_->sweeping);
  std::vector<std::string> worthless;
  // Read before the table is asked: a directory is made after it is entered there.
  const std::vector<std::string> staged = base::list_directory(impl_->staging);
  for (const std::string& name : base::list_directory(impl_->removed))
    if (name.ends_with(kDroppedSuffix)) worthless.push_back(impl_->removed + "/" + name);
  for (const std::string& name : staged) {
    std::lock_guard lock(impl_->mutex);
    const bool replaces = std::any_of(impl_->replacing.begin(), impl_->replacing.end(),
                                      [&](const auto& each) { return each.second == name; });
    if (!replaces && !impl_->by_uuid.contains(name)) worthless.push_back(impl_->staging_path(name));
  }
  for (const std::string& path : worthless) {
    if (stop && stop()) return;
    try {
      delete_volume_directory(path, stop);
    } catch (const base::Error& error) {
      spdlog::warn("cannot delete {} yet: {}", path, error.what());
    }
  }
}

}  // namespace davit::volumes
