#include "jobs/repository_access.h"

#include <sys/stat.h>

#include <cerrno>

#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"
#include "base/log.h"
#include "jobs/password.h"
#include "store/open.h"

namespace davit::jobs {

using namespace std::chrono_literals;

namespace {

void tell(std::unique_lock<std::mutex>& lock, const RepositoryAccess::OnWait& on_wait, const std::string& why) {
  if (!on_wait) return;
  lock.unlock();
  on_wait(why);
  lock.lock();
}

// One repository, even if it was opened twice; a copy of it in another place is another one.
std::string place_of(const repo::Repository& repository) {
  return repository.id().hex() + " " + repository.store().describe();
}

// What write_file_atomic leaves when the process dies in it.
void remove_half_written(const std::string& directory) {
  for (const std::string& name : base::list_directory(directory))
    if (name.find(".tmp-") != std::string::npos) base::remove_file(directory + "/" + name);
}

}  // namespace

std::string cache_directory(const std::string& data_directory, const repo::Repository& repository) {
  return data_directory + "/cache/" + repository.id().hex().substr(0, 16);
}

RepositoryAccess::RepositoryAccess(const Settings& settings, std::string data_directory, std::string installation)
    : RepositoryAccess(settings, std::move(data_directory), std::move(installation), Timing()) {}

RepositoryAccess::RepositoryAccess(const Settings& settings, std::string data_directory, std::string installation,
                                   Timing timing)
    : settings_(settings), data_directory_(std::move(data_directory)), installation_(std::move(installation)),
      timing_(timing) {
  remove_half_written(data_directory_ + "/secrets");
  remove_half_written(data_directory_ + "/state");
  try {
    for (const std::string& repository : base::list_directory(data_directory_ + "/cache"))
      remove_half_written(data_directory_ + "/cache/" + repository);
  } catch (const base::IoError& error) {
    spdlog::warn("cannot tidy up the cache: {}", error.what());
  }
}

RepositoryAccess::~RepositoryAccess() = default;

repo::LockIdentity RepositoryAccess::identity() const {
  return {.host = host_name(settings_) + "-" + installation_, .user = "root"};
}

bool RepositoryAccess::is_ours(const repo::LockInfo& info) const {
  return info.lock.hostname.ends_with("-" + installation_);
}

std::string RepositoryAccess::embedded_path() const { return data_directory_ + "/repository"; }
std::string RepositoryAccess::marker_path() const { return data_directory_ + "/state/repository.json"; }

std::string RepositoryAccess::url() const {
  const std::string url = settings_.get("RESTIC_REPOSITORY");
  return url.empty() ? embedded_path() : url;
}

std::string RepositoryAccess::password() const { return read_password(settings_, data_directory_); }

std::optional<std::string> RepositoryAccess::password_file() const {
  return find_password_file(settings_, data_directory_);
}

bool RepositoryAccess::password_generated() const {
  return base::find_file(data_directory_ + "/secrets/generated").has_value();
}

void RepositoryAccess::note_repository(const std::string& url, const base::Id& id) const {
  // A record of what was once found there, so that a repository that vanishes is never taken for a new one.
  base::make_directories(data_directory_ + "/state");
  const nlohmann::json note = {{"url", url}, {"id", id.hex()}};
  base::write_file_atomic(marker_path(), base::as_bytes(note.dump() + "\n"));
}

std::shared_ptr<repo::Repository> RepositoryAccess::find_open() const { return *open_.lock(); }

std::shared_ptr<repo::Repository> RepositoryAccess::get() {
  std::lock_guard one(opening_);
  const std::string url = this->url();
  // Told before the password is read: where it changes meanwhile, the next call opens again.
  std::string source = describe_password_source(settings_, data_directory_);
  const auto compression = repo::parse_compression(settings_.get("RESTIC_COMPRESSION"));
  if (auto repository = find_open(); repository && open_url_ == url && open_password_source_ == source) {
    repository->set_compression(compression);
    return repository;
  }
  // What is open is not what is meant any more.
  open_.lock()->reset();

  std::string noted_url, noted_id;
  if (const auto bytes = base::find_file(marker_path())) {
    const auto note = nlohmann::json::parse(base::as_text(*bytes), nullptr, false);
    if (note.is_object()) noted_url = note.value("url", ""), noted_id = note.value("id", "");
  }
  std::shared_ptr<store::Store> store = store::open_store(url);
  std::shared_ptr<repo::Repository> repository;
  const bool embedded = url == embedded_path();
  if (embedded && noted_url.empty() && !store->find_size({store::Kind::config, {}})) {
    const bool made = make_password_if_missing(settings_, data_directory_);
    source = describe_password_source(settings_, data_directory_);
    store->prepare();
    repository = repo::Repository::init(store, password());
    spdlog::info("made the repository {} with ID {}", url, repository->id().short_hex());
    if (made)
      spdlog::warn("its password was made by davit and is only on this machine: save a copy elsewhere now, with "
                   "`davit key export`");
  } else {
    try {
      repository = repo::Repository::open(store, password());
    } catch (const base::NoRepository&) {
      if (noted_url == url)
        throw base::NoRepository("the repository " + store->describe() + " was there before and is gone: is its file "
                                 "system mounted? (To begin a new one: davit init)");
      throw base::NoRepository("there is no repository at " + store->describe() + ": check RESTIC_REPOSITORY, or make "
                               "one with `davit init`");
    }
    if (noted_url == url && noted_id != repository->id().hex())
      spdlog::warn("the repository at {} is another one than before ({}, was {})", store->describe(),
                   repository->id().short_hex(), noted_id.substr(0, 8));
  }
  repository->set_compression(compression);
  repository->use_index_cache(cache_directory(data_directory_, *repository));
  if (noted_url != url || noted_id != repository->id().hex()) note_repository(url, repository->id());
  open_url_ = url;
  open_password_source_ = std::move(source);
  *open_.lock() = repository;
  return repository;
}

base::Id RepositoryAccess::init() {
  std::lock_guard one(opening_);
  const std::string url = this->url();
  std::shared_ptr<store::Store> store = store::open_store(url);
  make_password_if_missing(settings_, data_directory_);
  std::string source = describe_password_source(settings_, data_directory_);
  store->prepare();
  std::shared_ptr<repo::Repository> repository = repo::Repository::init(store, password());
  repository->set_compression(repo::parse_compression(settings_.get("RESTIC_COMPRESSION")));
  note_repository(url, repository->id());
  open_url_ = url;
  open_password_source_ = std::move(source);
  *open_.lock() = repository;
  return repository->id();
}

RepositoryAccess::Hold::~Hold() { access_.release_shared(); }

void RepositoryAccess::Hold::check() const {
  if (lost_.stop_requested())
    throw base::IoError("the lock on the repository was lost (the machine slept long, or somebody removed it)", 0, true);
}

std::unique_ptr<RepositoryAccess::Hold> RepositoryAccess::hold_shared(std::stop_token stop, const OnWait& on_wait,
                                                                      Use use) {
  for (;;) {
    if (stop.stop_requested()) throw base::Cancelled();
    auto repository = get();
    std::unique_lock lock(mutex_);
    if (exclusive_) tell(lock, on_wait, "waiting for the repository: davit prunes it");
    if (!changed_.wait(lock, stop, [&] { return !busy_ && !exclusive_ && (shared_ > 0 || !exclusive_urgent_); }))
      throw base::Cancelled();
    if (lock_) {
      if (!lock_->lost().stop_requested() && place_of(*locked_repository_) == place_of(*repository)) {
        ++shared_;
        return std::unique_ptr<Hold>(new Hold(*this, std::move(repository), lock_->lost()));
      }
      // Whoever holds it is unwinding, or still works on the repository that was meant before.
      tell(lock, on_wait, "waiting until running backups and restores end");
      if (!changed_.wait(lock, stop, [&] { return shared_ == 0 && !busy_; })) throw base::Cancelled();
      continue;
    }
    busy_ = true;
    lock.unlock();
    std::unique_ptr<repo::Lock> taken;
    bool without = false;
    std::string in_the_way;
    std::exception_ptr failure;
    try {
      if (use == Use::read && repository->store().is_read_only()) {
        check_not_exclusively_locked(*repository);
        without = true;
      } else {
        taken = take(repository, repo::LockMode::shared);
      }
    } catch (const base::Locked& error) {
      in_the_way = error.what();
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    busy_ = false;
    changed_.notify_all();
    if (failure) std::rethrow_exception(failure);
    if (without) {
      spdlog::warn("the repository {} is read-only, so it is read without a lock: let nobody prune it meanwhile",
                   repository->store().describe());
      ++shared_;
      return std::unique_ptr<Hold>(new Hold(*this, std::move(repository), {}));
    }
    if (taken) {
      lock_ = std::move(taken);
      locked_repository_ = repository;
      ++shared_;
      return std::unique_ptr<Hold>(new Hold(*this, std::move(repository), lock_->lost()));
    }
    tell(lock, on_wait, in_the_way);
    changed_.wait_for(lock, stop, timing_.retry, [] { return false; });
  }
}

void RepositoryAccess::release_shared() {
  std::unique_lock lock(mutex_);
  if (--shared_ > 0) return;
  const auto repository = std::move(locked_repository_);
  auto ended = std::move(lock_);
  busy_ = true;
  lock.unlock();
  if (ended) release(std::move(ended), *repository);
  lock.lock();
  busy_ = false;
  changed_.notify_all();
}

void RepositoryAccess::with_exclusive(std::stop_token stop, const std::shared_ptr<repo::Repository>& repository,
                                      const std::function<void(std::stop_token)>& work, const OnWait& on_wait) {
  const auto began = std::chrono::steady_clock::now();
  std::unique_lock lock(mutex_);
  const auto leave = [&] {  // with the mutex held
    exclusive_ = false;
    exclusive_urgent_ = false;
    changed_.notify_all();
  };
  for (;;) {
    while (busy_ || exclusive_ || shared_ > 0) {
      if (stop.stop_requested()) {
        exclusive_urgent_ = false;
        changed_.notify_all();
        throw base::Cancelled();
      }
      if (std::chrono::steady_clock::now() - began > timing_.patience) exclusive_urgent_ = true;
      if (shared_ > 0) tell(lock, on_wait, "waiting until running backups and restores end");
      changed_.wait_for(lock, stop, timing_.retry, [&] { return !busy_ && !exclusive_ && shared_ == 0; });
    }
    exclusive_ = true;
    lock.unlock();
    std::unique_ptr<repo::Lock> taken;
    try {
      taken = take(repository, repo::LockMode::exclusive);
    } catch (const base::Locked& error) {
      if (on_wait) on_wait(error.what());
    } catch (...) {
      lock.lock();
      leave();
      throw;
    }
    if (taken) {
      try {
        work(taken->lost());
      } catch (...) {
        release(std::move(taken), *repository);
        lock.lock();
        leave();
        throw;
      }
      release(std::move(taken), *repository);
      lock.lock();
      leave();
      return;
    }
    // Another program works there, perhaps for long: our own jobs go on meanwhile, however long this has waited.
    lock.lock();
    leave();
    changed_.wait_for(lock, stop, timing_.retry, [] { return false; });
    if (stop.stop_requested()) throw base::Cancelled();
  }
}

// With busy_ or exclusive_ set: no lock of this process is there.
std::unique_ptr<repo::Lock> RepositoryAccess::take(const std::shared_ptr<repo::Repository>& repository,
                                                   repo::LockMode mode) {
  if (repository->store().is_read_only())
    throw base::IoError("the repository " + repository->store().describe() + " is on a file system that is read-only, "
                        "so nothing can be saved there or removed: mount it read-write", EROFS);
  remove_left_locks(*repository);
  return repo::Lock::take(*repository, mode, identity(), timing_.lock);
}

void RepositoryAccess::release(std::unique_ptr<repo::Lock> taken, const repo::Repository& repository) {
  try {
    taken->release();
  } catch (const std::exception& error) {
    spdlog::warn("a lock of ours stays in the repository for now: {}", error.what());
    cleaned_.erase(place_of(repository));
  }
}

void RepositoryAccess::remove_left_locks(repo::Repository& repository) {
  const std::string place = place_of(repository);
  if (cleaned_.contains(place)) return;
  const size_t removed = repo::remove_locks(repository, [&](const repo::LockInfo& info) { return is_ours(info); });
  if (removed > 0) spdlog::info("removed {} locks that a former run of this installation left", removed);
  cleaned_.insert(place);
}

void RepositoryAccess::check_not_exclusively_locked() {
  check_not_exclusively_locked(*get());
}

void RepositoryAccess::check_not_exclusively_locked(const repo::Repository& repository) const {
  const bool read_only = repository.store().is_read_only();
  for (const auto& info : repo::list_locks(repository))
    if (info.lock.exclusive && !is_ours(info) && !(info.stale && read_only))
      throw base::Locked("the repository is locked exclusively by " + info.lock.hostname + " (process " +
                         std::to_string(info.lock.pid) + ") since " + repo::format(info.lock.time) +
                         (info.stale ? "; that lock is stale: davit unlock" : ": try again when it is done"));
}

void RepositoryAccess::tidy() {
  try {
    store::Store& store = get()->store();
    if (store.is_read_only())
      spdlog::warn("the repository {} is read-only: volumes can be restored from it, and none can be saved",
                   store.describe());
    else
      store.prepare();
  } catch (const base::IoError& error) {
    spdlog::warn("the repository cannot be tidied up: {}", error.what());
  }
}

void RepositoryAccess::remove_own_stale_locks() {
  const auto repository = get();
  if (repository->store().is_read_only()) return;
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !busy_ && !exclusive_; });
  if (shared_ > 0) return;  // done when that lock was taken, or it is another repository's turn
  busy_ = true;
  lock.unlock();
  std::exception_ptr failure;
  try {
    remove_left_locks(*repository);
  } catch (...) {
    failure = std::current_exception();
  }
  lock.lock();
  busy_ = false;
  changed_.notify_all();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace davit::jobs
