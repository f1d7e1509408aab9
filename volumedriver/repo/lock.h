// restic's lock protocol: lock files beside the data, advisory, honoured by every restic. Any
// number of shared locks, or one exclusive one. Staleness removes nothing by itself, here as there:
// see remove_locks().
//
// Taking one: look for locks that forbid it; write ours; wait `settle`; look again, and give way
// where another appeared meanwhile. Two that try at the same instant may therefore both fail, but
// never both succeed. Who wants to may work during the wait: begin() and settle().
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "repo/repository.h"
#include "repo/small_files.h"

namespace davit::repo {

enum class LockMode : uint8_t { shared, exclusive };

// Whose locks they are: the host name is HOST-<installation ID>, so that no restic takes our pid
// for a local one.
struct LockIdentity {
  std::string host;
  std::string user = "root";
};

struct LockTiming {
  std::chrono::milliseconds settle{200};        // between writing the lock and looking again
  std::chrono::milliseconds refresh{300'000};   // 5 min
  std::chrono::milliseconds expire{1'350'000};  // 22.5 min without a refresh: the holder must stop
  // A lock file that cannot be read is tried again after this, twice this and four times this.
  std::chrono::milliseconds retry{5'000};
};

// Held while it lives; refreshed by a thread of its own, and watched by a second one, since a store
// may hang. release() reports errors, the destructor does not. `repository` must outlive it.
class Lock {
 public:
  // Throws Locked (naming host, pid and time of who holds it) when a lock of another is in the way.
  static std::unique_ptr<Lock> take(Repository& repository, LockMode mode,
                                    const LockIdentity& identity, const LockTiming& timing = {});
  // As take(), but does not wait: the second look comes by itself. Until settle() has returned, the
  // caller writes nothing that others see, and believes nothing that it reads: another may be at
  // work under an exclusive lock that was written at the same time as ours.
  static std::unique_ptr<Lock> begin(Repository& repository, LockMode mode,
                                     const LockIdentity& identity, const LockTiming& timing = {});
  // Waits for the second look. Throws what it threw, each time: Locked where ours has to give way,
  // after which all that was done since begin() counts for nothing; lost() is requested then, too.
  // Waits as long as the caller's patience allows (base/patience.h), half a minute at least: then it
  // throws a transient IoError, and Cancelled where that is to stop. Any thread.
  void settle() const;
  ~Lock();
  void release();
  // Asked to stop once the lock was lost: it could not be refreshed in time (the time that the
  // machine slept counts), or somebody removed it. The holder must stop writing.
  std::stop_token lost() const;

 private:
  struct State;
  explicit Lock(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

struct LockInfo {
  base::Id id;
  LockFile lock;
  bool stale = false;  // older than 30 minutes
  std::string error;   // why it cannot be read; `lock` is empty then
};
std::vector<LockInfo> list_locks(const Repository& repository);
// Removes locks for which `which` is true; returns how many.
size_t remove_locks(Repository& repository, const std::function<bool(const LockInfo&)>& which);

}  // namespace davit::repo
