// Holds and locks: who may use the repository now. repository_access.cc opens it.
#include <algorithm>
#include <cerrno>

#include "base/errors.h"
#include "base/log.h"
#include "base/bytes.h"
#include "base/patience.h"
#include "jobs/repository_access.h"
#include "store/backoff.h"

namespace davit::jobs {

namespace {

// How long a store is waited for while others wait, and a primary where a mirror could stand in.
constexpr std::chrono::milliseconds kQuick{3'000};

void tell(std::unique_lock<std::mutex>& lock, const RepositoryAccess::OnWait& on_wait, const std::string& why) {
  if (!on_wait) return;
  lock.unlock();
  on_wait(why);
  lock.lock();
}

std::optional<std::chrono::steady_clock::duration> next_pause(store::Backoff& backoff,
                                                              std::chrono::steady_clock::time_point began) {
  return backoff.next_pause(began, std::chrono::steady_clock::now(), base::random_fraction());
}

// One repository, even if it was opened twice; a copy of it in another place is another one.
std::string place_of(const repo::Repository& repository) {
  return repository.id().hex() + " " + repository.store().describe();
}

}  // namespace

RepositoryAccess::Hold::~Hold() { access_.release_shared(); }

void RepositoryAccess::Hold::settle() const {
  if (lock_) lock_->settle();
}

void RepositoryAccess::Hold::check() const {
  settle();
  if (lost_.stop_requested())
    throw base::IoError("the lock on the repository was lost (the machine slept long, or somebody removed it)", 0, true);
}

std::unique_ptr<RepositoryAccess::Hold> RepositoryAccess::hold_shared(std::stop_token stop, const OnWait& on_wait,
                                                                      Use use, When when) {
  for (;;) {
    std::unique_ptr<Hold> hold = begin_shared(stop, on_wait, use);
    if (when == When::begun) return hold;
    try {
      hold->settle();
      return hold;
    } catch (const base::Locked& error) {
      hold.reset();
      pause(stop, on_wait, error.what());
    }
  }
}

std::unique_ptr<RepositoryAccess::Hold> RepositoryAccess::work_under(std::stop_token stop, const OnWait& on_wait, Use use,
                                                                     const std::function<void(const Hold&)>& work) {
  for (;;) {
    auto hold = hold_shared(stop, on_wait, use, When::begun);
    std::exception_ptr failure;
    try {
      work(*hold);
    } catch (...) {
      failure = std::current_exception();
    }
    try {
      hold->settle();
    } catch (const base::Locked& error) {
      // Whatever else went wrong may have come of it.
      hold.reset();
      pause(stop, on_wait, error.what());
      continue;
    }
    if (failure) std::rethrow_exception(failure);
    return hold;
  }
}

void RepositoryAccess::pause(std::stop_token stop, const OnWait& on_wait, const std::string& why) {
  std::unique_lock lock(mutex_);
  tell(lock, on_wait, why);
  changed_.wait_for(lock, stop, timing_.retry, [] { return false; });
  if (stop.stop_requested()) throw base::Cancelled();
}

std::unique_ptr<RepositoryAccess::Hold> RepositoryAccess::begin_shared(std::stop_token stop,
                                                                       const OnWait& on_wait, Use use) {
  store::Backoff backoff(base::patience().limit);
  for (;;) {
    if (stop.stop_requested()) throw base::Cancelled();
    auto repository = get();
    std::unique_lock lock(mutex_);
    if (exclusive_) tell(lock, on_wait, "waiting for the repository: davit prunes it");
    if (!changed_.wait(lock, stop, [&] { return !busy_ && !exclusive_ && (shared_ > 0 || !exclusive_urgent_); }))
      throw base::Cancelled();
    if (lock_) {
      const bool suits = use == Use::read || !standing_in_;
      if (suits && !lock_->lost().stop_requested() && place_of(*locked_repository_) == place_of(*repository)) {
        ++shared_;
        return std::unique_ptr<Hold>(new Hold(*this, std::move(repository), lock_.get(), use));
      }
      // Whoever holds it is unwinding, or still works on the repository that was meant before.
      tell(lock, on_wait, "waiting until running backups and restores end");
      if (!changed_.wait(lock, stop, [&] { return shared_ == 0 && !busy_; })) throw base::Cancelled();
      continue;
    }
    std::unique_ptr<repo::Lock> taken;
    bool without = false;
    std::string in_the_way;
    std::chrono::steady_clock::duration wait = timing_.retry;
    const auto began = std::chrono::steady_clock::now();
    try {
      const base::PatienceScope quick({std::min(base::patience().limit, kQuick), stop});
      while_busy(lock, [&] {
        if (use == Use::read && repository->store().is_read_only()) {
          check_not_exclusively_locked(*repository);
          without = true;
        } else {
          taken = take_shared(repository, use);
        }
      });
    } catch (const base::Locked& error) {
      in_the_way = error.what();
    } catch (const base::IoError& error) {
      in_the_way = error.what();
      const auto pause = error.transient() ? next_pause(backoff, began) : std::nullopt;
      if (!pause) throw;
      wait = *pause;
    }
    if (without) {
      spdlog::warn("the repository {} is read-only, so it is read without a lock: let nobody prune it meanwhile",
                   repository->store().describe());
      ++shared_;
      return std::unique_ptr<Hold>(new Hold(*this, std::move(repository), nullptr, use));
    }
    if (taken) {
      lock_ = std::move(taken);
      locked_repository_ = repository;
      ++shared_;
      return std::unique_ptr<Hold>(new Hold(*this, std::move(repository), lock_.get(), use));
    }
    tell(lock, on_wait, in_the_way);
    changed_.wait_for(lock, stop, wait, [] { return false; });
  }
}

void RepositoryAccess::release_shared() {
  std::unique_lock lock(mutex_);
  if (--shared_ > 0) return;
  const auto repository = std::move(locked_repository_);
  auto ended = std::move(lock_);
  while_busy(lock, [&] {
    if (ended) release(std::move(ended), *repository);
    end_stand_in();
  });
}

std::unique_ptr<repo::Lock> RepositoryAccess::take_shared(const std::shared_ptr<repo::Repository>& repository, Use use) {
  const auto mirrors = find_mirrors(*repository);
  if (use != Use::read || !mirrors) return take(repository, repo::LockMode::shared);
  try {
    return take(repository, repo::LockMode::shared);
  } catch (const base::IoError& error) {
    if (!error.transient()) throw;
  }
  if (!mirrors->begin_stand_in()) return take(repository, repo::LockMode::shared);  // it may come back
  standing_in_ = mirrors;
  try {
    return take(repository, repo::LockMode::shared);
  } catch (...) {
    end_stand_in();
    throw;
  }
}

std::shared_ptr<void> RepositoryAccess::strictly(const repo::Repository& repository) const {
  const auto mirrors = find_mirrors(repository);
  if (!mirrors) return nullptr;
  // It lives as long as what it keeps count for.
  return {mirrors.get(), [mirrors, strict = mirrors->strictly()](void*) {}};
}

void RepositoryAccess::end_stand_in() {
  if (standing_in_) standing_in_->end_stand_in();
  standing_in_.reset();
}

void RepositoryAccess::while_busy(std::unique_lock<std::mutex>& lock, const std::function<void()>& work) {
  busy_ = true;
  lock.unlock();
  std::exception_ptr failure;
  try {
    work();
  } catch (...) {
    failure = std::current_exception();
  }
  lock.lock();
  busy_ = false;
  changed_.notify_all();
  if (failure) std::rethrow_exception(failure);
}

void RepositoryAccess::with_exclusive(std::stop_token stop, const std::shared_ptr<repo::Repository>& repository,
                                      const std::function<void(std::stop_token)>& work, const OnWait& on_wait) {
  const auto began = std::chrono::steady_clock::now();
  store::Backoff backoff(base::patience().limit);
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
    const auto strict = strictly(*repository);
    std::unique_ptr<repo::Lock> taken;
    std::chrono::steady_clock::duration wait = timing_.retry;
    const auto tried = std::chrono::steady_clock::now();
    try {
      const base::PatienceScope quick({std::min(base::patience().limit, kQuick), stop});
      taken = take(repository, repo::LockMode::exclusive);
      taken->settle();
    } catch (const base::Locked& error) {
      if (taken) release(std::move(taken), *repository);
      if (on_wait) on_wait(error.what());
    } catch (const base::IoError& error) {
      if (taken) release(std::move(taken), *repository);
      const auto pause = error.transient() ? next_pause(backoff, tried) : std::nullopt;
      if (!pause) {
        lock.lock();
        leave();
        throw;
      }
      wait = *pause;
      if (on_wait) on_wait(error.what());
    } catch (...) {
      if (taken) release(std::move(taken), *repository);
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
    // Another program works there, perhaps for long, or the store is away: our own jobs go on meanwhile, however long
    // this has waited.
    lock.lock();
    leave();
    changed_.wait_for(lock, stop, wait, [] { return false; });
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
  try {
    return repo::Lock::begin(*repository, mode, identity(), timing_.lock);
  } catch (...) {
    // It may be there although nobody told us so.
    cleaned_.erase(place_of(*repository));
    throw;
  }
}

void RepositoryAccess::release(std::unique_ptr<repo::Lock> taken, const repo::Repository& repository) {
  // Also of a job that was told to stop, and without holding up others where the store is away.
  const base::PatienceScope patience(base::Patience{});
  try {
    taken->release();
  } catch (const std::exception& error) {
    spdlog::warn("a lock of ours stays in the repository for now: {}", error.what());
    cleaned_.erase(place_of(repository));
  }
}

void RepositoryAccess::remove_left_locks(repo::Repository& repository) {
  const std::string place = place_of(repository);
  if (cleaned_.contains(place) || standing_in_) return;
  const size_t removed = repo::remove_locks(repository, [&](const repo::LockInfo& info) { return is_ours(info); });
  if (removed > 0) spdlog::info("removed {} locks that a former run of this installation left", removed);
  cleaned_.insert(place);
}

void RepositoryAccess::check_not_exclusively_locked() {
  check_not_exclusively_locked(*get());
}

void RepositoryAccess::check_not_exclusively_locked(const repo::Repository& repository) const {
  const bool read_only = repository.store().is_read_only();
  std::vector<repo::LockInfo> locks;
  try {
    locks = repo::list_locks(repository);
  } catch (const base::IoError& error) {
    // A mirror is read then, and nothing vanishes there that snapshots need.
    if (!error.transient() || !find_mirrors(repository)) throw;
  }
  for (const auto& info : locks)
    if (info.lock.exclusive && !is_ours(info) && !(info.stale && read_only))
      throw base::Locked("the repository is locked exclusively by " + info.lock.hostname + " (process " +
                         std::to_string(info.lock.pid) + ") since " + repo::format(info.lock.time) +
                         (info.stale ? "; that lock is stale: davit unlock" : ": try again when it is done"));
}

void RepositoryAccess::remove_own_stale_locks() {
  const auto repository = get();
  if (repository->store().is_read_only()) return;
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !busy_ && !exclusive_; });
  if (shared_ > 0) return;  // done when that lock was taken, or it is another repository's turn
  while_busy(lock, [&] { remove_left_locks(*repository); });
}

}  // namespace davit::jobs
