// What the command line asks for that needs no job: listings, status, keys, locks, settings.
#include <algorithm>

#include "base/errors.h"
#include "base/fault.h"
#include "base/files.h"
#include "base/log.h"
#include "base/patience.h"
#include "jobs/forget.h"
#include "jobs/list_files.h"
#include "jobs/manager.h"
#include "jobs/mirror_urls.h"
#include "jobs/password.h"
#include "jobs/references.h"
#include "jobs/watch.h"
#include "repo/keyring.h"
#include "repo/lock.h"
#include "store/open.h"

namespace davit::jobs {

using volumes::State;
using volumes::Volume;

// How long what an engine wants to know of a volume may wait for the store. Podman gives a call 5 s.
constexpr std::chrono::milliseconds kStatusWaits{2'000};

// ----------------------------------------------------------------------------------------------- snapshots

std::vector<SnapshotInfo> Manager::snapshots(const std::string& volume, const std::string& host) {
  std::vector<SnapshotInfo> found;
  for (auto& file : context_.repository.get()->load_snapshots([](const base::Id& id, const std::string& reason) {
         spdlog::warn("the snapshot file {} cannot be read: {}", id.short_hex(), reason);
       })) {
    file.snapshot.id = file.id;
    SnapshotInfo info = describe_snapshot(file.snapshot);
    if (!volume.empty() && info.volume != volume) continue;
    if (!host.empty() && info.snapshot.hostname != host) continue;
    found.push_back(std::move(info));
  }
  return found;
}

void Manager::list_files(const std::string& reference, const std::string& below, bool recursive,
                         const std::function<void(const ListedNode&)>& each) {
  const auto repository = context_.repository.get();
  const repo::Snapshot snapshot = find_snapshot(context_, *repository, reference);
  repository->refresh_index();
  jobs::list_files(*repository, snapshot, below, recursive, each);
}

std::vector<ForgetGroup> Manager::forget(const ForgetRequest& request) {
  // What is decided under the lock is done under it. A dry run changes nothing and waits for nobody.
  std::unique_ptr<RepositoryAccess::Hold> hold;
  if (!request.dry_run) hold = context_.repository.hold_shared(stopping_.get_token());
  const auto repository = hold ? hold->repository() : context_.repository.get();

  std::vector<ForgetGroup> groups;
  const auto by_policy = [&](const std::string& name) {
    const auto volume = context_.registry.find(name);
    const auto policy = request.policy.value_or(context_.policy(volume ? volume->options : volumes::OptionMap{}));
    groups.push_back(decide_by_policy(context_, *repository, name, policy));
  };
  if (request.targets.empty()) {
    for (const auto& volume : context_.registry.list()) by_policy(volume.name);
    for (auto& group : decide_removed_volumes(context_, *repository)) groups.push_back(std::move(group));
    for (const auto& container : containers_.list())
      groups.push_back(decide_known_container(*repository, container, request.policy));
  } else {
    const auto all = snapshots("", context_.host());
    for (const auto& target : request.targets) {
      const bool is_volume = std::any_of(all.begin(), all.end(), [&](const auto& info) { return info.volume == target; });
      if (is_volume) {
        by_policy(target);
        continue;
      }
      const bool is_container =
          std::any_of(all.begin(), all.end(), [&](const auto& info) { return info.container == target; });
      if (is_container) {
        KnownContainer container = containers_.find(target).value_or(KnownContainer{});
        container.name = target;
        groups.push_back(decide_known_container(*repository, container, request.policy));
        continue;
      }
      const repo::Snapshot snapshot = find_snapshot(context_, *repository, target);
      // "NAME" means a volume here; nobody who mistypes one wants the newest snapshot of another host's to go.
      if (target.find('@') == std::string::npos && !snapshot.id.hex().starts_with(target))
        throw base::NotFound("this host has no snapshots of " + target + "; those of other hosts are forgotten one by "
                             "one, by their IDs (davit snapshots)");
      groups.push_back({.volume = volume_of(snapshot),
                        .host = snapshot.hostname,
                        .container = container_of(snapshot),
                        .remove = {describe_snapshot(snapshot)}});
    }
  }
  // Everything is found before anything goes.
  if (hold)
    for (const auto& group : groups) forget_group(*hold, group);
  return groups;
}

// -------------------------------------------------------------------------------------------------- status

VolumeStatus Manager::volume_status(const Volume& volume, const std::vector<SnapshotInfo>& all) {
  VolumeStatus status;
  status.volume = volume;
  status.images = images_.statuses_of(volume);
  status.tracking = context_.tracking.note(volume.uuid);
  status.schedule = context_.schedule(volume.options);
  status.retention = context_.policy(volume.options).to_string();
  if (hooks_.next_backup && volume.state == State::ready) status.next_backup = hooks_.next_backup(volume);
  const std::string host = context_.host();
  status.snapshots = static_cast<size_t>(std::count_if(all.begin(), all.end(), [&](const auto& info) {
    return info.volume == volume.name && info.snapshot.hostname == host;
  }));
  if (const auto damage = find_damage())
    for (const auto& info : all)
      if (info.volume == volume.name && info.snapshot.hostname == host && damage->affects_snapshot(info.id))
        status.damaged.push_back(info.id.hex());
  if (const auto job = queue_.find(volume.uuid)) {
    status.running = progress_of(*job, volume.name);
    if (status.running->phase.empty()) status.running->phase = job->what;
  }
  return status;
}

Status Manager::status() {
  Status status;
  status.version = context_.version;
  status.installation = context_.repository.identity().host;
  status.host = context_.host();
  status.repository = store::shown_url(context_.repository.url());
  status.password_generated = context_.repository.password_generated();
  std::vector<SnapshotInfo> all;
  try {
    all = snapshots("", "");
    status.snapshots_known = true;
    status.repository_state = "ok";
    if (const std::string why = context_.repository.mirror_book().primary_away(); !why.empty())
      status.repository_state = "away, a mirror is read instead: " + why;
  } catch (const base::Error& error) {
    status.repository_state = error.what();
  }
  for (const auto& volume : context_.registry.list()) status.volumes.push_back(volume_status(volume, all));
  for (const auto& volume : context_.registry.list_removed()) {
    VolumeStatus removed = volume_status(volume, all);
    if (const auto why = last_backups_.failure(volume.uuid)) removed.volume.last_backup.error = *why;
    status.removed.push_back(std::move(removed));
  }
  status.containers = container_statuses(all);
  status.mirrors = context_.repository.mirror_book().list();
  status.repairs = context_.repository.mirror_book().repairs();
  if (commit_mode() != CommitMode::none) status.engine_error = *engine_error_.lock();
  const UpkeepRun last = last_prune();
  status.last_prune = last.succeeded;
  status.last_prune_error = last.error;
  if (hooks_.next_prune) status.next_prune = hooks_.next_prune();
  status.scrub = scrub_status();
  status.damage = find_damage();
  status.now = context_.clock.now();
  return status;
}

std::map<std::string, std::string> Manager::status_of(const Volume& volume) {
  std::map<std::string, std::string> status;
  status["state"] = volumes::state_name(volume.state);
  status["repository"] = store::shown_url(context_.repository.url());
  if (const std::string mirrors = context_.repository.mirror_book().summary(); !mirrors.empty())
    status["mirrors"] = mirrors;
  status["schedule"] = context_.schedule(volume.options);
  status["retention"] = context_.policy(volume.options).to_string();
  const auto& last = volume.last_backup;
  if (last.succeeded) {
    status["last_backup"] = base::format_utc(*last.succeeded);
    status["last_snapshot"] = last.snapshot.substr(0, 8);
    status["consistency"] = last.partial ? last.consistency + ", partial" : last.consistency;
    status["size"] = std::to_string(last.bytes);
    status["files"] = std::to_string(last.files);
  }
  std::string error = volume.error.empty() ? last.error : volume.error;
  if (!error.empty()) status["last_error"] = error;
  if (volume.state == State::ready && hooks_.next_backup)
    if (const auto next = hooks_.next_backup(volume)) status["next_backup"] = base::format_utc(*next);
  if (const auto job = queue_.find(volume.uuid)) {
    const ProgressEvent event = progress_of(*job, volume.name);
    std::string text = job->what + ": " + event.phase;
    if (event.fraction) text += ", " + std::to_string(static_cast<int>(*event.fraction * 100)) + " %";
    if (event.seconds_left) text += ", about " + std::to_string(*event.seconds_left) + " s left";
    status["progress"] = text;
  }
  if (const std::string images = images_.status_of(volume); !images.empty()) status["images"] = images;
  // An engine waits for this answer: nothing is opened for it, and a store that is away is not waited for.
  if (const auto repository = context_.repository.find_open()) {
    const auto look = [repository, host = context_.host()] {
      const base::PatienceScope none({std::chrono::milliseconds(0)});
      VolumeSnapshots::Ids ids;
      for (const auto& file : repository->load_snapshots([](const base::Id&, const std::string&) {}))
        if (file.snapshot.hostname == host) ids[volume_of(file.snapshot)].push_back(file.id);
      return ids;
    };
    try {
      auto ids = volume_snapshots_.get(look, [this](auto work) { run_aside(std::move(work)); }, kStatusWaits);
      status["snapshots"] = std::to_string(ids[volume.name].size());
      if (const auto damage = find_damage()) {
        std::string damaged;
        for (const base::Id& id : ids[volume.name])
          if (damage->affects_snapshot(id)) damaged += (damaged.empty() ? "" : ", ") + id.short_hex();
        if (!damaged.empty())
          status["damaged"] = "cannot be restored as they were saved: " + damaged + " (davit check, davit repair)";
      }
    } catch (const base::Error& failure) {
      status["repository_error"] = failure.what();
    }
  } else {
    status["repository_error"] = "the repository is not open: davit status tells why";
  }
  return status;
}

std::string Manager::init_repository() {
  const base::Id id = context_.repository.init();
  if (hooks_.replan) hooks_.replan();
  return id.hex();
}

// ---------------------------------------------------------------------------------------------------- keys

std::vector<KeyDetails> Manager::key_list() {
  const auto repository = context_.repository.get();
  std::vector<KeyDetails> keys;
  for (const auto& key : repo::list_keys(repository->store()))
    keys.push_back({key.id.hex(), key.user, key.host, key.created, key.id == repository->key_id()});
  return keys;
}

namespace {

// A password file holds one line.
void validate_password(const std::string& password) {
  if (password.empty()) throw base::UsageError("the password of a repository cannot be empty");
  if (password.find_first_of(std::string_view("\n\r\0", 3)) != std::string::npos)
    throw base::UsageError("a password is one line, without line ends");
}

}  // namespace

std::string Manager::key_add(const std::string& new_password) {
  validate_password(new_password);
  const auto hold = context_.repository.hold_shared(stopping_.get_token());
  const auto& repository = hold->repository();
  return repo::add_key(repository->store(), repository->key(), new_password, "root", context_.host()).hex();
}

void Manager::key_remove(const std::string& prefix) {
  const auto repository = context_.repository.get();
  context_.repository.with_exclusive(stopping_.get_token(), repository, [&](std::stop_token) {
    repo::remove_key(repository->store(), prefix, repository->key_id());
  });
}

void Manager::key_passwd(const std::string& new_password) {
  validate_password(new_password);
  const auto file = context_.repository.password_file();
  if (!file)
    throw base::UsageError("the password comes from the environment or a command, which davit cannot change: use "
                           "`davit key add`, change it there, then `davit key remove` the old key");
  const auto repository = context_.repository.get();
  const base::Id old_key = repository->key_id();
  context_.repository.with_exclusive(stopping_.get_token(), repository, [&](std::stop_token) {
    // New key first, then the file, the old key last: at every instant the file opens the repository.
    const base::Id new_key =
        repo::add_key(repository->store(), repository->key(), new_password, "root", context_.host());
    base::fault_point("passwd:added");
    try {
      write_password_file(*file, new_password);
    } catch (const base::Error&) {
      repo::remove_key(repository->store(), new_key.hex(), old_key);
      throw;
    }
    base::fault_point("passwd:switched");
    base::remove_file(context_.data_directory + "/secrets/generated");
    const auto reopened = context_.repository.get();
    if (reopened->key_id() != old_key) repo::remove_key(reopened->store(), old_key.hex(), reopened->key_id());
  });
}

std::string Manager::key_export() {
  const std::string password = context_.repository.password();
  base::remove_file(context_.data_directory + "/secrets/generated");
  return password;
}

// --------------------------------------------------------------------------------------------------- locks

std::vector<LockDetails> Manager::locks() {
  const auto repository = context_.repository.get();
  std::vector<LockDetails> details;
  for (const auto& info : repo::list_locks(*repository))
    details.push_back({info.id.hex(), info.lock.hostname, info.lock.username, static_cast<uint64_t>(info.lock.pid), info.lock.time.time,
                       info.lock.exclusive, info.stale, context_.repository.is_ours(info)});
  return details;
}

size_t Manager::unlock(bool all) {
  const auto repository = context_.repository.get();
  return repo::remove_locks(*repository, [&](const repo::LockInfo& info) {
    return !context_.repository.is_ours(info) && (all || info.stale);
  });
}

// ------------------------------------------------------------------------------------------------ settings

std::vector<SettingValue> Manager::settings() {
  std::vector<SettingValue> values;
  for (const auto& spec : setting_specs()) {
    std::string value = context_.settings.get(spec.key);
    if (spec.secret && !value.empty()) value = "********";
    if (std::string_view(spec.key) == "RESTIC_REPOSITORY") value = store::shown_url(value);
    if (std::string_view(spec.key) == "DAVIT_MIRRORS") value = hide_passwords(value);
    values.push_back({spec.key, value, context_.settings.origin(spec.key), spec.description});
  }
  return values;
}

void Manager::set_setting(const std::string& key, const std::optional<std::string>& value) {
  context_.settings.set(key, value);
  if (key == "DAVIT_LOG_LEVEL") spdlog::set_level(spdlog::level::from_str(context_.settings.get(key)));
  if (key == "DAVIT_COMMIT") watch_.look_now();
  if (key == "DAVIT_MIRRORS" || key == "RESTIC_REPOSITORY") mirror_watch_.changed();
  if (hooks_.replan) hooks_.replan();
}

void Manager::set_volume_option(const std::string& name, const std::string& key,
                                const std::optional<std::string>& value) {
  const Volume volume = get_volume(name);
  if (key == "from") throw base::UsageError("`from` counts only when a volume is made");
  if (value) hooks_.validate_options({{key, *value}}, name);
  if (!value && !volume.options.contains(key)) throw base::NotFound("the volume " + name + " has no option " + key);
  context_.registry.update(volume.uuid, [&](Volume& record) {
    if (value && !value->empty())
      record.options[key] = *value;
    else
      record.options.erase(key);
  });
  if (hooks_.replan) hooks_.replan();
}

}  // namespace davit::jobs
