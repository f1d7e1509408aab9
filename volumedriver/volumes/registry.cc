#include "volumes/registry.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "base/errors.h"
#include "base/fault.h"
#include "base/files.h"
#include "base/log.h"
#include "volumes/name.h"
#include "volumes/record.h"
#include "volumes/registry_impl.h"
#include "volumes/volume_directory.h"

namespace davit::volumes {

namespace {

using base::fault_point;

bool is_being_made(const Volume& volume) {
  return volume.state == State::creating || volume.state == State::restoring;
}

template <typename Impl>
Claim take(Impl& impl, const std::string& uuid) {
  return Claim(impl.mutex, impl.idle, impl.by_uuid, impl.names, uuid);
}

base::NotFound no_volume(const std::string& name) {
  return base::NotFound("there is no volume " + name);
}

}  // namespace

Registry::Registry(std::string data_directory, const base::Clock& clock)
    : impl_(std::make_unique<Impl>(std::move(data_directory), clock)) {
  impl_->load();
}

Registry::~Registry() = default;

void Registry::Impl::write(const Volume& volume) const {
  base::write_file_atomic(record_path(volume.uuid), base::as_bytes(format_record(volume)));
}

void Registry::Impl::note(const Volume& volume) const {
  try {
    write(volume);
  } catch (const base::Error& error) {
    spdlog::warn("what is known of volume {} ({}) could not be written down: {}", volume.name,
                 state_name(volume.state), error.what());
  }
}

Volume Registry::create(const std::string& name, State state, const OptionMap& options,
                        const std::function<void(Volume&)>& fill) {
  validate_name(name);
  DAVIT_CHECK(state == State::creating || state == State::restoring);
  Volume volume;
  volume.uuid = base::make_uuid();
  volume.name = name;
  volume.state = state;
  volume.options = options;
  volume.created = impl_->clock.now();
  volume.device = impl_->device;
  if (fill) fill(volume);
  DAVIT_CHECK(volume.name == name && volume.state == state);
  {
    std::lock_guard lock(impl_->mutex);
    if (!impl_->names.emplace(name, volume.uuid).second)
      throw base::Conflict("there is a volume " + name + " already");
    impl_->by_uuid.emplace(volume.uuid, Entry{volume, true, false});
  }
  std::exception_ptr failure;
  try {
    if (exists(impl_->volumes + "/" + name))
      throw base::Conflict("the directory " + impl_->volumes + "/" + name +
                           " exists, but no record of such a volume: move it away first");
    impl_->write(volume);
    fault_point("registry:created");
  } catch (...) {
    failure = std::current_exception();
    try {
      base::remove_file(
          impl_->record_path(volume.uuid));  // it may be there, and only not be synced
    } catch (const base::Error& error) {
      spdlog::warn("cannot take back the record of volume {}: {}", name, error.what());
    }
  }
  {
    std::lock_guard lock(impl_->mutex);
    if (failure) {
      impl_->names.erase(name);
      impl_->by_uuid.erase(volume.uuid);
    } else {
      Entry& entry = impl_->by_uuid.at(volume.uuid);
      entry.known = true;
      entry.busy = false;
    }
  }
  impl_->idle.notify_all();
  if (failure) std::rethrow_exception(failure);
  return volume;
}

std::string Registry::prepare_staging(const std::string& uuid, const std::function<bool()>& stop) {
  const Claim claim = take(*impl_, uuid);
  if (!claim.volume() || !is_being_made(*claim.volume()))
    throw base::NotFound("the volume " + uuid + " is not being made (any more)");
  std::string path = impl_->staging_path(uuid);
  delete_volume_directory(path, stop);
  if (stop && stop()) throw base::Cancelled();
  make_volume_directory(path);
  return path;
}

void Registry::make_ready(const std::string& uuid) {
  Claim claim = take(*impl_, uuid);
  if (!claim.volume() || !is_being_made(*claim.volume()))
    throw base::NotFound("the volume " + uuid + " is not being made (any more)");
  Volume volume = *claim.volume();
  base::sync_directory(impl_->staging_path(uuid));
  fault_point("registry:make_ready");
  base::rename_durably(impl_->staging_path(uuid), impl_->volumes + "/" + volume.name);
  // From here on the volume is ready, whatever the record says.
  fault_point("registry:is_ready");
  volume.state = State::ready;
  volume.error.clear();
  volume.waits_for.clear();
  impl_->note(volume);
  claim.publish(volume);
}

void Registry::set_failed(const std::string& uuid, const std::string& why) {
  Claim claim = take(*impl_, uuid);
  if (!claim.volume() || !is_being_made(*claim.volume()))
    throw base::NotFound("the volume " + uuid + " is not being made (any more)");
  Volume volume = *claim.volume();
  volume.state = State::failed;
  volume.error = why;
  // The disk may be full of just this; and a failure is one whether or not it can be noted: the next
  // start would try the restore once more.
  try {
    delete_volume_directory(impl_->staging_path(uuid));
  } catch (const base::Error& error) {
    spdlog::warn("what was restored of volume {} cannot be deleted yet: {}", volume.name,
                 error.what());
  }
  impl_->note(volume);
  fault_point("registry:failed");
  claim.publish(volume);
}

void Registry::set_restoring(const std::string& uuid) {
  Claim claim = take(*impl_, uuid);
  if (!claim.volume()) throw no_volume(uuid);
  Volume volume = *claim.volume();
  if (volume.state != State::failed || volume.source_path.empty())
    throw base::Conflict("volume " + volume.name + " is " + state_name(volume.state) +
                         ", so nothing can be restored anew");
  volume.state = State::restoring;
  volume.error.clear();
  impl_->write(volume);
  claim.publish(volume);
}

Volume Registry::remove(const std::string& name, bool keep_data) {
  std::string uuid;
  {
    std::lock_guard lock(impl_->mutex);
    const auto found = impl_->names.find(name);
    if (found == impl_->names.end()) throw no_volume(name);
    uuid = found->second;
  }
  Claim claim = take(*impl_, uuid);
  if (!claim.volume() || claim.volume()->state == State::removed) throw no_volume(name);
  Volume volume = *claim.volume();
  const bool was_ready = volume.state == State::ready;
  volume.state = State::removed;
  volume.removed_at = impl_->clock.now();
  fault_point("registry:remove");
  if (was_ready) {
    // With its data there it is kept or dropped by this one rename.
    base::rename_durably(impl_->volumes + "/" + name,
                         keep_data ? impl_->removed_path(uuid) : impl_->dropped_path(uuid));
    fault_point("registry:moved_aside");
    if (keep_data) {
      impl_->note(volume);
      claim.publish(volume);
      return volume;
    }
  }
  base::remove_file(impl_->record_path(uuid));
  fault_point("registry:forgotten");
  claim.forget();
  return volume;
}

void Registry::abandon(const std::string& uuid) {
  Claim claim = take(*impl_, uuid);
  if (!claim.volume()) return;
  if (claim.volume()->state == State::ready || claim.volume()->state == State::removed)
    throw base::Conflict("volume " + claim.volume()->name + " is " +
                         state_name(claim.volume()->state));
  base::remove_file(impl_->record_path(uuid));
  fault_point("registry:abandoned");
  claim.forget();
}

void Registry::drop(const std::string& uuid, const std::function<bool()>& stop) {
  {
    Claim claim = take(*impl_, uuid);
    if (!claim.volume()) return;
    if (claim.volume()->state != State::removed)
      throw base::Conflict("volume " + claim.volume()->name + " is " +
                           state_name(claim.volume()->state) + ", so its data cannot be dropped");
    fault_point("registry:drop");
    if (exists(impl_->removed_path(uuid)))
      base::rename_durably(impl_->removed_path(uuid), impl_->dropped_path(uuid));
    // From here on the data is worth nothing.
    fault_point("registry:dropped");
    base::remove_file(impl_->record_path(uuid));
    claim.forget();
  }
  std::lock_guard one(impl_->sweeping);  // two that delete the same tree get in each other's way
  delete_volume_directory(impl_->dropped_path(uuid), stop);
}

std::string Registry::prepare_replacement(const std::string& uuid,
                                          const std::function<bool()>& stop) {
  const Claim claim = take(*impl_, uuid);
  if (!claim.volume()) throw no_volume(uuid);
  if (claim.volume()->state != State::ready)
    throw base::Conflict("the volume " + claim.volume()->name + " is " +
                         state_name(claim.volume()->state));
  if (stop && stop()) throw base::Cancelled();
  const std::string name = base::make_uuid();
  {
    std::lock_guard lock(impl_->mutex);
    if (!impl_->replacing.emplace(uuid, name).second)
      throw base::Conflict("the content of the volume " + claim.volume()->name +
                           " is being replaced already");
  }
  try {
    make_volume_directory(impl_->staging_path(name));
    return impl_->staging_path(name);
  } catch (...) {
    abandon_replacement(uuid);
    throw;
  }
}

void Registry::replace(const std::string& uuid) {
  const Claim claim = take(*impl_, uuid);
  if (!claim.volume() || claim.volume()->state != State::ready) throw no_volume(uuid);
  std::string replacement;
  {
    std::lock_guard lock(impl_->mutex);
    const auto found = impl_->replacing.find(uuid);
    if (found == impl_->replacing.end())
      throw base::NotFound("nothing was prepared to replace " + claim.volume()->name);
    replacement = impl_->staging_path(found->second);
  }
  const std::string live = impl_->volumes + "/" + claim.volume()->name;
  base::sync_directory(replacement);
  fault_point("registry:replace");
  if (::renameat2(AT_FDCWD, replacement.c_str(), AT_FDCWD, live.c_str(), RENAME_EXCHANGE) != 0)
    base::throw_errno("cannot exchange the data of volume " + claim.volume()->name, errno);
  fault_point("registry:is_replaced");
  base::sync_directory(impl_->volumes);
  base::sync_directory(impl_->staging);
  abandon_replacement(uuid);
}

void Registry::abandon_replacement(const std::string& uuid) {
  std::lock_guard lock(impl_->mutex);
  impl_->replacing.erase(uuid);
}

namespace {

Volume changed(const Volume& before, const std::function<void(Volume&)>& change) {
  Volume volume = before;
  change(volume);
  DAVIT_CHECK(volume.uuid == before.uuid && volume.name == before.name &&
              volume.state == before.state);
  return volume;
}

}  // namespace

Volume Registry::update(const std::string& uuid, const std::function<void(Volume&)>& change) {
  Claim claim = take(*impl_, uuid);
  if (!claim.volume()) throw no_volume(uuid);
  Volume volume = changed(*claim.volume(), change);
  impl_->write(volume);
  claim.publish(volume);
  return volume;
}

void Registry::note(const std::string& uuid, const std::function<void(Volume&)>& change) {
  Claim claim = take(*impl_, uuid);
  if (!claim.volume()) throw no_volume(uuid);
  const Volume volume = changed(*claim.volume(), change);
  impl_->note(volume);
  claim.publish(volume);
}

std::optional<Volume> Registry::find(const std::string& name) const {
  std::lock_guard lock(impl_->mutex);
  const auto found = impl_->names.find(name);
  if (found == impl_->names.end()) return std::nullopt;
  const Entry& entry = impl_->by_uuid.at(found->second);
  return entry.known ? std::optional(entry.volume) : std::nullopt;
}

std::optional<Volume> Registry::find_uuid(const std::string& uuid) const {
  std::lock_guard lock(impl_->mutex);
  const auto found = impl_->by_uuid.find(uuid);
  return found != impl_->by_uuid.end() && found->second.known ? std::optional(found->second.volume)
                                                              : std::nullopt;
}

std::vector<Volume> Registry::list() const {
  std::vector<Volume> all;
  std::lock_guard lock(impl_->mutex);
  for (const auto& [name, uuid] : impl_->names)
    if (const Entry& entry = impl_->by_uuid.at(uuid); entry.known) all.push_back(entry.volume);
  return all;
}

std::vector<Volume> Registry::list_removed() const {
  std::vector<Volume> all;
  {
    std::lock_guard lock(impl_->mutex);
    for (const auto& [uuid, entry] : impl_->by_uuid)
      if (entry.volume.state == State::removed) all.push_back(entry.volume);
  }
  std::sort(all.begin(), all.end(),
            [](const Volume& a, const Volume& b) { return a.removed_at < b.removed_at; });
  return all;
}

std::string Registry::directory(const Volume& volume) const {
  if (volume.state == State::ready) return impl_->volumes + "/" + volume.name;
  return volume.state == State::removed ? impl_->removed_path(volume.uuid)
                                        : impl_->staging_path(volume.uuid);
}

std::string Registry::volumes_directory() const {
  return impl_->volumes;
}

}  // namespace davit::volumes
