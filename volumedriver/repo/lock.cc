#include "repo/lock.h"

#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "base/errors.h"
#include "base/log.h"
#include "base/patience.h"
#include "base/sleep.h"

namespace davit::repo {

namespace {

using base::Id;
using std::chrono::milliseconds;
using store::Kind;

constexpr auto kStaleAge = std::chrono::minutes(30);
constexpr int kReadTries = 4;
// At least so long the second look may take, whoever waits for it: one call of a slow store.
constexpr milliseconds kLook{30'000};

// Counts on while the machine sleeps, unlike steady_clock.
milliseconds boot_time() {
  timespec now;
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return std::chrono::duration_cast<milliseconds>(std::chrono::seconds(now.tv_sec) +
                                                  std::chrono::nanoseconds(now.tv_nsec));
}

base::Time wall_time() {
  return std::chrono::time_point_cast<base::Time::duration>(std::chrono::system_clock::now());
}

Repository::SealedFile make_lock(const Repository& repository, LockMode mode,
                                 const LockIdentity& identity) {
  LockFile file;
  file.time.time = wall_time();
  file.exclusive = mode == LockMode::exclusive;
  file.hostname = identity.host;
  file.username = identity.user;
  file.pid = ::getpid();
  file.uid = ::geteuid();
  file.gid = ::getegid();
  return repository.seal_unpacked(Kind::lock, encode_lock(file));
}

std::vector<store::FileInfo> lock_files(const Repository& repository) {
  std::vector<store::FileInfo> files;
  repository.store().list(Kind::lock, [&](const store::FileInfo& file) { files.push_back(file); });
  return files;
}

// Nothing where it is gone or still empty. Another's lock may be half written where the store is
// not atomic, so it is read again a few times.
std::optional<LockFile> read_lock(const Repository& repository, const store::FileInfo& file,
                                  milliseconds retry) {
  if (file.size_bytes == 0) return std::nullopt;
  for (int again = 1;; ++again) {
    try {
      return parse_lock(repository.load_unpacked(Kind::lock, file.id));
    } catch (const base::NotFound&) {
      return std::nullopt;
    } catch (const base::Error&) {
      if (again == kReadTries) throw;
    }
    if (!base::sleep_for(retry, base::patience().stop)) throw base::Cancelled();
    retry *= 2;
  }
}

// Throws Locked where the lock of another forbids ours.
void check_others(const Repository& repository, LockMode mode, const std::optional<Id>& ours,
                  milliseconds retry) {
  for (const auto& file : lock_files(repository)) {
    if (file.id == ours) continue;
    const auto other = read_lock(repository, file, retry);
    if (!other || (mode == LockMode::shared && !other->exclusive)) continue;
    throw base::Locked("the repository is locked" +
                       std::string(other->exclusive ? " exclusively" : "") + " by pid " +
                       std::to_string(other->pid) + " on " + other->hostname + " since " +
                       format(other->time) + " (lock " + file.id.short_hex() +
                       "; if that process is gone, remove the lock with \"davit unlock\")");
  }
}

}  // namespace

struct Lock::State {
  State(Repository& repository, LockMode mode, LockIdentity identity, LockTiming timing)
      : repository(repository), mode(mode), identity(std::move(identity)), timing(timing) {}
  ~State() { end_threads(); }

  void begin_threads();
  void end_threads();
  // The second look. False where ours has to give way, or cannot know.
  bool look_again();
  void refresh_loop();
  void watch_loop();
  // False once the lock is lost.
  bool refresh();
  void lose(const std::string& why);
  // False when the lock is to be released.
  bool sleep(milliseconds time);
  // Until it expires.
  milliseconds time_left();

  Repository& repository;
  const LockMode mode;
  const LockIdentity identity;
  const LockTiming timing;
  std::stop_source lost;
  std::stop_source ended;  // the threads are to end: ends their waiting for the store

  // The refreshing thread's; the owner's before it started and after it ended.
  Id id;
  std::vector<Id> left_over;  // earlier ones that could not be removed yet

  std::mutex mutex;
  std::condition_variable_any changed;
  bool ending = false;          // under the mutex
  bool settled = false;         // under the mutex
  std::exception_ptr failure;   // under the mutex: of the second look
  milliseconds refreshed_at{};  // under the mutex, boot time

  std::thread refresher, watcher;
};

void Lock::State::begin_threads() {
  refresher = std::thread([this] { refresh_loop(); });
  watcher = std::thread([this] { watch_loop(); });
}

milliseconds Lock::State::time_left() {
  const std::lock_guard guard(mutex);
  return std::max(timing.expire - (boot_time() - refreshed_at), milliseconds(0));
}

void Lock::State::end_threads() {
  {
    const std::lock_guard guard(mutex);
    ending = true;
  }
  ended.request_stop();
  changed.notify_all();
  if (refresher.joinable()) refresher.join();
  if (watcher.joinable()) watcher.join();
}

bool Lock::State::sleep(milliseconds time) {
  std::unique_lock guard(mutex);
  return !changed.wait_for(guard, time, [&] { return ending; });
}

void Lock::State::lose(const std::string& why) {
  if (lost.request_stop()) spdlog::warn("the repository's lock is lost: {}", why);
}

bool Lock::State::refresh() {
  // Somebody may have removed it while the machine slept, and may be pruning by now.
  if (!repository.store().find_size({Kind::lock, id})) {
    lose("somebody removed it");
    return false;
  }
  const milliseconds made_at = boot_time();  // as the file says; others count from then
  const Repository::SealedFile next = make_lock(repository, mode, identity);
  // Where the answer is lost it may be there all the same: it is to be removed, too.
  left_over.push_back(next.id);
  repository.store().put({Kind::lock, next.id}, next.bytes);
  std::swap(left_over.back(), id);
  {
    const std::lock_guard guard(mutex);
    refreshed_at = made_at;
  }
  while (!left_over.empty()) {
    repository.store().remove({Kind::lock, left_over.back()});
    left_over.pop_back();
  }
  return true;
}

bool Lock::State::look_again() {
  std::exception_ptr why;
  try {
    check_others(repository, mode, id, timing.retry);
  } catch (...) {
    why = std::current_exception();
  }
  if (why) lost.request_stop();  // before anybody hears of it
  {
    const std::lock_guard guard(mutex);
    settled = true;
    failure = why;
  }
  changed.notify_all();
  return !why;
}

void Lock::State::refresh_loop() {
  if (!sleep(timing.settle)) return;
  {
    const base::PatienceScope patience({time_left(), ended.get_token()});
    if (!look_again()) return;
  }
  milliseconds wait = timing.refresh;
  while (sleep(wait) && !lost.stop_requested()) {
    wait = timing.refresh;
    // A store that is away is waited for as long as the lock holds.
    const base::PatienceScope patience({time_left(), ended.get_token()});
    try {
      if (!refresh()) return;
    } catch (const base::Cancelled&) {
      return;
    } catch (const std::exception& error) {
      spdlog::warn("cannot refresh the repository's lock, trying again: {}", error.what());
      wait = timing.refresh / 5;
    }
  }
}

void Lock::State::watch_loop() {
  // Short naps: a nap does not count the time that the machine sleeps.
  while (sleep(std::max(timing.expire / 64, milliseconds(1)))) {
    milliseconds age;
    {
      const std::lock_guard guard(mutex);
      age = boot_time() - refreshed_at;
    }
    if (age > timing.expire) return lose("it could not be refreshed in time");
  }
}

Lock::Lock(std::unique_ptr<State> state) : state_(std::move(state)) {}

std::unique_ptr<Lock> Lock::begin(Repository& repository, LockMode mode,
                                  const LockIdentity& identity, const LockTiming& timing) {
  check_others(repository, mode, std::nullopt, timing.retry);
  auto state = std::make_unique<State>(repository, mode, identity, timing);
  state->refreshed_at = boot_time();
  const Repository::SealedFile file = make_lock(repository, mode, identity);
  state->id = file.id;
  // From here on the lock is removed however this ends: also where only the answer was lost.
  std::unique_ptr<Lock> lock(new Lock(std::move(state)));
  repository.store().put({Kind::lock, file.id}, file.bytes);
  lock->state_->begin_threads();
  return lock;
}

std::unique_ptr<Lock> Lock::take(Repository& repository, LockMode mode,
                                 const LockIdentity& identity, const LockTiming& timing) {
  std::unique_ptr<Lock> lock = begin(repository, mode, identity, timing);
  lock->settle();
  return lock;
}

void Lock::settle() const {
  State& state = *state_;
  const base::Patience& patience = base::patience();
  std::unique_lock guard(state.mutex);
  if (!state.changed.wait_for(guard, patience.stop,
                              state.timing.settle + std::max(patience.limit, kLook),
                              [&] { return state.settled; })) {
    if (patience.stop.stop_requested()) throw base::Cancelled();
    throw base::IoError("the repository " + state.repository.store().describe() +
                            " does not tell who else has a lock",
                        0, true);
  }
  if (state.failure) std::rethrow_exception(state.failure);
}

void Lock::release() {
  if (!state_) return;
  const std::unique_ptr<State> state = std::move(state_);
  state->end_threads();
  state->left_over.push_back(state->id);
  for (const Id& id : state->left_over) state->repository.store().remove({Kind::lock, id});
}

Lock::~Lock() {
  // Whoever unwinds has waited for the store already, or does not want to wait.
  const base::PatienceScope patience(base::Patience{});
  try {
    release();
  } catch (const std::exception& error) {
    spdlog::warn("cannot remove a lock of the repository: {}", error.what());
  }
}

std::stop_token Lock::lost() const {
  return state_->lost.get_token();
}

std::vector<LockInfo> list_locks(const Repository& repository) {
  std::vector<LockInfo> locks;
  const base::Time now = wall_time();
  for (const auto& file : lock_files(repository)) {
    LockInfo info{.id = file.id, .lock = {}, .stale = false, .error = {}};
    try {
      if (file.size_bytes == 0) throw base::Corrupt("it is empty");
      info.lock = parse_lock(repository.load_unpacked(Kind::lock, file.id));
      info.stale = now - info.lock.time.time > kStaleAge;
    } catch (const base::NotFound&) {
      continue;
    } catch (const base::Corrupt& error) {
      info.error = error.what();
    }
    locks.push_back(std::move(info));
  }
  std::sort(locks.begin(), locks.end(), [](const LockInfo& a, const LockInfo& b) {
    return std::pair(a.lock.time.time, a.id) < std::pair(b.lock.time.time, b.id);
  });
  return locks;
}

size_t remove_locks(Repository& repository, const std::function<bool(const LockInfo&)>& which) {
  size_t removed = 0;
  for (const LockInfo& info : list_locks(repository)) {
    if (!which(info)) continue;
    repository.store().remove({Kind::lock, info.id});
    ++removed;
  }
  return removed;
}

}  // namespace davit::repo
