// The daemon's one door to its repository: opens it, keeps it open, and owns its locks. Jobs wait for a lock, they
// do not fail: shared holds are counted over one restic lock, and the exclusive one waits until they are gone.
// Where the settings change to another repository, holds on the old one end first; a job works from its beginning to
// its end on the repository of its hold.
// Any thread may call anything.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "base/bandwidth.h"
#include "base/clock.h"
#include "base/synchronized.h"
#include "jobs/mirror_book.h"
#include "jobs/mirror_removals.h"
#include "jobs/settings.h"
#include "repo/lock.h"
#include "repo/repository.h"
#include "store/mirror_store.h"

namespace davit::jobs {

// Where what davit remembers of a repository is kept; it may be lost.
std::string cache_directory(const std::string& data_directory, const repo::Repository& repository);

class RepositoryAccess {
 public:
  struct Timing {
    repo::LockTiming lock;
    std::chrono::milliseconds retry{2'000};       // how often a lock of somebody else is looked at again
    std::chrono::milliseconds patience{600'000};  // after so long new holds wait for the exclusive one in turn
  };
  // `data_directory`: where the embedded repository and the secrets are. `installation`: its ID, by which our locks
  // are known as ours. Removes what a killed process left half written beside secrets, state and caches.
  RepositoryAccess(const Settings& settings, std::string data_directory, std::string installation);
  RepositoryAccess(const Settings& settings, std::string data_directory, std::string installation, Timing timing);
  ~RepositoryAccess();

  // The open repository; opens it where needed, and makes the embedded one on the first start of an installation.
  // Throws NoRepository, WrongPassword, IoError, … each saying what to do. Settings that changed are followed. A store
  // that is away is waited for as long as the caller's patience allows (base/patience.h), without holding up others.
  std::shared_ptr<repo::Repository> get();
  // As get(), but never opens: nothing while it is not open.
  std::shared_ptr<repo::Repository> find_open() const;
  // What is known of the mirrors that DAVIT_MIRRORS names.
  MirrorBook& mirror_book() { return mirror_book_; }
  // The primary and the mirrors of an open repository, also of one that the settings do not mean any more; nullptr
  // where it has none.
  std::shared_ptr<store::MirrorStore> find_mirrors(const repo::Repository& repository) const;
  // To be kept while a prune removes what no snapshot needs: its mirrors are told (MirrorRemovals). nullptr without.
  std::shared_ptr<void> note_prune(const repo::Repository& repository) const;
  const repo::LockTiming& lock_timing() const { return timing_.lock; }
  // DAVIT_LIMIT_DOWNLOAD: when so many bytes may be read from a store. What get() opens heeds it already.
  std::chrono::steady_clock::time_point reserve_download(uint64_t bytes) {
    return download_.reserve(bytes, std::chrono::steady_clock::now());
  }
  // Makes the repository that the settings name (Conflict: there is one). Returns its ID.
  base::Id init();
  std::string url() const;  // "" in the settings means the embedded one: its path

  // Where the password comes from; for key_passwd and hints.
  std::string password() const;
  std::optional<std::string> password_file() const;  // nothing: environment or command
  bool password_generated() const;                   // made by us, and never exported

  // A shared hold on the repository, for all that reads or adds.
  enum class Use : uint8_t { read, write };
  class Hold {
   public:
    ~Hold();
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;
    const std::shared_ptr<repo::Repository>& repository() const { return repository_; }
    // The lock was lost: stop writing.
    std::stop_token lost() const { return lost_; }
    // For a hold that was taken with When::begun: waits until its lock has settled. Throws Locked where it has to give
    // way; nothing that was read or made since counts then. Any thread.
    void settle() const;
    // Settles; throws a transient IoError once it was lost.
    void check() const;

   private:
    friend class RepositoryAccess;
    // `lock`: null where a read-only store is read without one.
    Hold(RepositoryAccess& access, std::shared_ptr<repo::Repository> repository, const repo::Lock* lock, Use use)
        : access_(access), repository_(std::move(repository)), lock_(lock),
          lost_(lock ? lock->lost() : std::stop_token()),
          strictly_(use == Use::write ? access.strictly(*repository_) : nullptr) {}
    RepositoryAccess& access_;
    const std::shared_ptr<repo::Repository> repository_;
    const repo::Lock* const lock_;
    const std::stop_token lost_;
    const std::shared_ptr<void> strictly_;
  };
  using OnWait = std::function<void(const std::string& why)>;
  // Waits as long as locks are in the way; throws Cancelled on `stop`, and what get() throws. `on_wait` is told, at
  // intervals, who is in the way. A thread that has a hold must not ask for another one.
  // A store that is read-only cannot keep a lock: who only reads goes on without one, with a warning in the log, unless
  // somebody at work elsewhere excludes us; who writes gets an IoError that says so.
  // While the primary is away a mirror stands in for it: who only reads has a lock there.
  // When::begun returns 200 ms earlier, with a lock that may still have to give way: see Hold::settle() and work_under.
  enum class When : uint8_t { settled, begun };
  std::unique_ptr<Hold> hold_shared(std::stop_token stop, const OnWait& on_wait = {}, Use use = Use::write,
                                    When when = When::settled);
  // Runs `work` under a hold that has only begun, and again from its beginning where its lock had to give way. `work`
  // settles or checks the hold before it makes anything that lasts, and leaves nothing behind when it throws. Returns
  // the hold, settled.
  std::unique_ptr<Hold> work_under(std::stop_token stop, const OnWait& on_wait, Use use,
                                   const std::function<void(const Hold&)>& work);
  // Locks the repository that the caller has at hand. The caller must have no hold. Holds that others have are waited
  // for; new ones wait once this has waited long. `work` gets a token that tells that the lock was lost.
  void with_exclusive(std::stop_token stop, const std::shared_ptr<repo::Repository>& repository,
                      const std::function<void(std::stop_token lost)>& work, const OnWait& on_wait = {});

  repo::LockIdentity identity() const;  // HOST-<installation ID>
  bool is_ours(const repo::LockInfo& info) const;  // of this installation, of this run or a former one
  // Throws Locked when another program holds the exclusive lock (its forget or prune may be half done). One that is
  // stale counts too, except where the store is read-only and nobody can remove it.
  void check_not_exclusively_locked();
  // Locks left by a former process of this installation; done anyway before the first lock is taken.
  void remove_own_stale_locks();
  // Removes temporary files that a killed write left in the store. Where it cannot (a read-only store), it says so.
  void tidy();

 private:
  std::unique_ptr<Hold> begin_shared(std::stop_token stop, const OnWait& on_wait, Use use);
  // As take(); for reading, on a mirror where the primary is away.
  std::unique_ptr<repo::Lock> take_shared(const std::shared_ptr<repo::Repository>& repository, Use use);
  void end_stand_in();
  // While the result lives somebody writes: see store::MirrorStore::strictly. nullptr without mirrors.
  std::shared_ptr<void> strictly(const repo::Repository& repository) const;
  // The mirrors that one opening of a repository has; none: null.
  struct Mirrors {
    std::weak_ptr<repo::Repository> repository{};  // whose they are
    std::shared_ptr<store::MirrorStore> stores{};
    std::shared_ptr<MirrorRemovals> removals{};
  };
  // The store of the URL with the settings' mirrors around it, read no faster than is allowed.
  std::shared_ptr<store::Store> open_place(const std::string& url, Mirrors& mirrors);
  void note_open(const std::shared_ptr<repo::Repository>& repository, Mirrors mirrors);
  Mirrors find(const repo::Repository& repository) const;
  // Says why, and lets others go on for a while.
  void pause(std::stop_token stop, const OnWait& on_wait, const std::string& why);
  void release_shared();
  // Calls it without the mutex, while no other takes or gives back the restic lock. Throws what it throws, with the
  // mutex held again.
  void while_busy(std::unique_lock<std::mutex>& lock, const std::function<void()>& work);
  // Begun, not settled.
  std::unique_ptr<repo::Lock> take(const std::shared_ptr<repo::Repository>& repository, repo::LockMode mode);
  void remove_left_locks(repo::Repository& repository);
  void check_not_exclusively_locked(const repo::Repository& repository) const;
  // Gives it back. Where that fails it is removed before the next one is taken. With busy_ or exclusive_ set.
  void release(std::unique_ptr<repo::Lock> taken, const repo::Repository& repository);
  // One try of get().
  std::shared_ptr<repo::Repository> get_now();
  // Changes when the password or the way to the store may be another; holds no secret.
  std::string describe_sources() const;
  std::string embedded_path() const;
  std::string marker_path() const;
  void note_repository(const std::string& url, const base::Id& id) const;

  const Settings& settings_;
  const std::string data_directory_;
  const std::string installation_;
  const Timing timing_;
  // DAVIT_LIMIT_DOWNLOAD, for all that is read at once, from whatever store.
  base::Bandwidth download_{[this] { return static_cast<uint64_t>(settings_.number("DAVIT_LIMIT_DOWNLOAD")) << 10; }};

  std::mutex opening_;  // one opener at a time; protects the next two
  std::string open_url_, open_sources_;
  mutable base::Synchronized<std::shared_ptr<repo::Repository>> open_;
  MirrorBook mirror_book_;
  mutable base::Synchronized<std::vector<Mirrors>> mirrors_;  // of every repository that still lives

  std::mutex mutex_;  // protects the rest
  std::condition_variable_any changed_;
  unsigned shared_ = 0;     // holds, those without a lock among them
  bool busy_ = false;       // somebody takes or gives back the restic lock
  bool exclusive_ = false;
  bool exclusive_urgent_ = false;
  std::shared_ptr<repo::Repository> locked_repository_;  // outlives its lock
  std::unique_ptr<repo::Lock> lock_;
  std::shared_ptr<store::MirrorStore> standing_in_;  // a mirror of it has the lock; set with busy_, as cleaned_
  // Places from which locks of former runs were removed. Used by whoever has set busy_ or exclusive_.
  std::set<std::string> cleaned_;
};

}  // namespace davit::jobs
