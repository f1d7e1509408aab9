#include "jobs/repository_access.h"

#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"
#include "base/log.h"
#include "jobs/password.h"
#include "store/open.h"

namespace davit::jobs {

using namespace std::chrono_literals;

namespace {

// How long an exclusive lock is waited for before new backups have to wait for it in turn.
constexpr auto kPatience = 10min;
constexpr auto kRetry = 2s;

void tell(std::unique_lock<std::mutex>& lock, const RepositoryAccess::OnWait& on_wait, const std::string& why) {
  if (!on_wait) return;
  lock.unlock();
  on_wait(why);
  lock.lock();
}

}  // namespace

RepositoryAccess::RepositoryAccess(const Settings& settings, std::string data_directory, std::string installation)
    : settings_(settings), data_directory_(std::move(data_directory)),
      identity_{.host = installation, .user = "root"} {}

RepositoryAccess::~RepositoryAccess() = default;

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

std::shared_ptr<repo::Repository> RepositoryAccess::find_open() const {
  std::lock_guard lock(open_mutex_);
  return repository_;
}

std::shared_ptr<repo::Repository> RepositoryAccess::get() {
  std::lock_guard lock(open_mutex_);
  const std::string url = this->url();
  const std::string source = describe_password_source(settings_, data_directory_);
  const auto compression = repo::parse_compression(settings_.get("RESTIC_COMPRESSION"));
  if (repository_ && open_url_ == url && open_password_source_ == source) {
    repository_->set_compression(compression);
    return repository_;
  }

  std::string noted_url, noted_id;
  if (const auto bytes = base::find_file(marker_path())) {
    const auto note = nlohmann::json::parse(base::as_text(*bytes), nullptr, false);
    if (note.is_object()) noted_url = note.value("url", ""), noted_id = note.value("id", "");
  }
  std::shared_ptr<store::Store> store = store::open_store(url);
  const bool embedded = url == embedded_path();
  if (embedded && noted_url.empty() && !store->find_size({store::Kind::config, {}})) {
    const bool made = make_password_if_missing(settings_, data_directory_);
    store->prepare();
    repository_ = repo::Repository::init(store, password());
    spdlog::info("made the repository {} with ID {}", url, repository_->id().short_hex());
    if (made)
      spdlog::warn("its password was made by davit and is only on this machine: save a copy elsewhere now, with "
                   "`davit key export`");
  } else {
    try {
      repository_ = repo::Repository::open(store, password());
    } catch (const base::NoRepository&) {
      repository_ = nullptr;
      if (noted_url == url)
        throw base::NoRepository("the repository " + store->describe() + " was there before and is gone: is its file "
                                 "system mounted? (To begin a new one: davit init)");
      throw base::NoRepository("there is no repository at " + store->describe() + ": check RESTIC_REPOSITORY, or make "
                               "one with `davit init`");
    } catch (...) {
      repository_ = nullptr;
      throw;
    }
    if (noted_url == url && noted_id != repository_->id().hex())
      spdlog::warn("the repository at {} is another one than before ({}, was {})", store->describe(),
                   repository_->id().short_hex(), noted_id.substr(0, 8));
  }
  repository_->set_compression(compression);
  open_url_ = url;
  open_password_source_ = source;
  if (noted_url != url || noted_id != repository_->id().hex()) note_repository(url, repository_->id());
  return repository_;
}

base::Id RepositoryAccess::init() {
  std::lock_guard lock(open_mutex_);
  const std::string url = this->url();
  std::shared_ptr<store::Store> store = store::open_store(url);
  make_password_if_missing(settings_, data_directory_);
  store->prepare();
  repository_ = repo::Repository::init(store, password());
  repository_->set_compression(repo::parse_compression(settings_.get("RESTIC_COMPRESSION")));
  open_url_ = url;
  open_password_source_ = describe_password_source(settings_, data_directory_);
  note_repository(url, repository_->id());
  return repository_->id();
}

RepositoryAccess::Hold::~Hold() { access_.release_shared(); }

std::unique_ptr<RepositoryAccess::Hold> RepositoryAccess::hold_shared(std::stop_token stop, const OnWait& on_wait) {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (exclusive_) tell(lock, on_wait, "waiting for the repository: davit prunes it");
    if (!changed_.wait(lock, stop, [&] { return !busy_ && !exclusive_ && (shared_ > 0 || !exclusive_urgent_); }))
      throw base::Cancelled();
    if (lock_ && !lock_->lost().stop_requested()) {
      ++shared_;
      return std::unique_ptr<Hold>(new Hold(*this, lock_->lost()));
    }
    if (lock_) {  // lost: whoever holds it is unwinding
      changed_.wait_for(lock, stop, kRetry, [&] { return shared_ == 0; });
      if (stop.stop_requested()) throw base::Cancelled();
      continue;
    }
    busy_ = true;
    lock.unlock();
    std::unique_ptr<repo::Lock> taken;
    std::string in_the_way;
    std::exception_ptr failure;
    try {
      taken = take(repo::LockMode::shared);
    } catch (const base::Locked& error) {
      in_the_way = error.what();
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    busy_ = false;
    changed_.notify_all();
    if (failure) std::rethrow_exception(failure);
    if (taken) {
      lock_ = std::move(taken);
      shared_ = 1;
      return std::unique_ptr<Hold>(new Hold(*this, lock_->lost()));
    }
    tell(lock, on_wait, in_the_way);
    changed_.wait_for(lock, stop, kRetry, [] { return false; });
    if (stop.stop_requested()) throw base::Cancelled();
  }
}

void RepositoryAccess::release_shared() {
  std::unique_lock lock(mutex_);
  if (--shared_ > 0) return;
  auto ended = std::move(lock_);
  busy_ = true;
  lock.unlock();
  try {
    if (ended) ended->release();
  } catch (const std::exception& error) {
    spdlog::warn("a lock of ours stays in the repository for now: {}", error.what());
  }
  ended.reset();
  lock.lock();
  busy_ = false;
  changed_.notify_all();
}

void RepositoryAccess::with_exclusive(std::stop_token stop, const std::function<void()>& work, const OnWait& on_wait) {
  const auto began = std::chrono::steady_clock::now();
  std::unique_lock lock(mutex_);
  const auto leave = [&] {  // with the lock held
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
      if (std::chrono::steady_clock::now() - began > kPatience) exclusive_urgent_ = true;
      if (shared_ > 0) tell(lock, on_wait, "waiting until running backups and restores end");
      changed_.wait_for(lock, stop, kRetry, [&] { return !busy_ && !exclusive_ && shared_ == 0; });
    }
    exclusive_ = true;
    lock.unlock();
    std::unique_ptr<repo::Lock> taken;
    try {
      taken = take(repo::LockMode::exclusive);
    } catch (const base::Locked& error) {
      if (on_wait) on_wait(error.what());
    } catch (...) {
      lock.lock();
      leave();
      throw;
    }
    if (taken) {
      try {
        work();
      } catch (...) {
        taken.reset();
        lock.lock();
        leave();
        throw;
      }
      try {
        taken->release();
      } catch (const std::exception& error) {
        spdlog::warn("a lock of ours stays in the repository for now: {}", error.what());
      }
      taken.reset();
      lock.lock();
      leave();
      return;
    }
    // Another program works there: let our own jobs go on meanwhile.
    lock.lock();
    exclusive_ = false;
    changed_.notify_all();
    changed_.wait_for(lock, stop, kRetry, [] { return false; });
    if (stop.stop_requested()) throw base::Cancelled();
  }
}

std::unique_ptr<repo::Lock> RepositoryAccess::take(repo::LockMode mode) {
  const auto repository = get();
  auto taken = repo::Lock::take(*repository, mode, identity_);
  std::lock_guard lock(mutex_);
  locked_repository_ = repository;  // lives at least as long as its lock
  return taken;
}

void RepositoryAccess::check_not_exclusively_locked() {
  const auto repository = get();
  for (const auto& info : repo::list_locks(*repository))
    if (info.lock.exclusive && info.lock.hostname != identity_.host)
      throw base::Locked("the repository is locked exclusively by " + info.lock.hostname + " (process " +
                         std::to_string(info.lock.pid) + ") since " + repo::format(info.lock.time) +
                         (info.stale ? "; that lock is stale: davit unlock" : ": try again when it is done"));
}

void RepositoryAccess::remove_own_stale_locks() {
  const auto repository = get();
  const size_t removed = repo::remove_locks(
      *repository, [&](const repo::LockInfo& info) { return info.lock.hostname == identity_.host; });
  if (removed > 0) spdlog::info("removed {} locks that a former run of this installation left", removed);
}

}  // namespace davit::jobs
