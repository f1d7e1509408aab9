// The daemon's one door to its repository: opens it, keeps it open, and owns its locks. Jobs wait for a lock, they
// do not fail: shared holds are counted over one restic lock, and the exclusive one waits until they are gone.
// Any thread may call anything.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>

#include "base/clock.h"
#include "jobs/settings.h"
#include "repo/lock.h"
#include "repo/repository.h"

namespace davit::jobs {

class RepositoryAccess {
 public:
  // `data_directory`: where the embedded repository and the secrets are. `installation`: makes our locks ours.
  RepositoryAccess(const Settings& settings, std::string data_directory, std::string installation);
  ~RepositoryAccess();

  // The open repository; opens it where needed, and makes the embedded one on the first start of an installation.
  // Throws NoRepository, WrongPassword, IoError, … each saying what to do. Settings that changed are followed.
  std::shared_ptr<repo::Repository> get();
  // As get(), but never opens: nothing while it is not open.
  std::shared_ptr<repo::Repository> find_open() const;
  // Makes the repository that the settings name (Conflict: there is one). Returns its ID.
  base::Id init();
  std::string url() const;  // "" in the settings means the embedded one: its path

  // Where the password comes from; for key_passwd and hints.
  std::string password() const;
  std::optional<std::string> password_file() const;  // nothing: environment or command
  bool password_generated() const;                   // made by us, and never exported

  // A shared hold on the repository, for all that reads or adds.
  class Hold {
   public:
    ~Hold();
    // The lock was lost: stop writing.
    std::stop_token lost() const { return lost_; }

   private:
    friend class RepositoryAccess;
    Hold(RepositoryAccess& access, std::stop_token lost) : access_(access), lost_(std::move(lost)) {}
    RepositoryAccess& access_;
    std::stop_token lost_;
  };
  using OnWait = std::function<void(const std::string& why)>;
  // Waits as long as it takes; throws Cancelled on `stop`. `on_wait` is told, at intervals, who is in the way.
  std::unique_ptr<Hold> hold_shared(std::stop_token stop, const OnWait& on_wait = {});
  // The caller must have no hold. Holds that others have are waited for; new ones wait once this has waited long.
  void with_exclusive(std::stop_token stop, const std::function<void()>& work, const OnWait& on_wait = {});

  repo::LockIdentity identity() const { return identity_; }
  // Throws Locked when another program holds the exclusive lock (its forget or prune may be half done).
  void check_not_exclusively_locked();
  // Locks left by a former process of this installation. Call at start, before any hold.
  void remove_own_stale_locks();

 private:
  void release_shared();
  std::unique_ptr<repo::Lock> take(repo::LockMode mode);
  std::string embedded_path() const;
  std::string marker_path() const;
  void note_repository(const std::string& url, const base::Id& id) const;

  const Settings& settings_;
  const std::string data_directory_;
  const repo::LockIdentity identity_;

  mutable std::mutex open_mutex_;  // one opener at a time; protects the next three
  std::shared_ptr<repo::Repository> repository_;
  std::string open_url_, open_password_source_;

  std::mutex mutex_;  // protects the rest
  std::condition_variable_any changed_;
  unsigned shared_ = 0;
  bool busy_ = false;       // somebody takes or gives back the restic lock
  bool exclusive_ = false;
  bool exclusive_urgent_ = false;
  std::unique_ptr<repo::Lock> lock_;
  std::shared_ptr<repo::Repository> locked_repository_;
};

}  // namespace davit::jobs
