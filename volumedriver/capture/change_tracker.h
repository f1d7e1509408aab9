// Tells which files and directories of whole file systems changed: by one fanotify group, or on
// btrfs, which refuses that to subvolumes, by its generations (capture/generations.h). Of the
// first:
//
// What is remembered of an event are handles (capture/file_handle.h): of the directory in which
// something was made, removed, renamed or changed, and of the file itself, so that a change through
// another name of it is told, too. What is told: names that come and go, metadata, truncation, and
// the end of writing (the last close, or the last unmapping). A writer that has not ended is for
// others to find (capture/open_writers.h).
//
// Bounded: the kernel's queue and the handles in memory. Where either was too small, and wherever
// else an event may have been lost, all marks from before are worth nothing, and that is said.
//
// write(2) is not told as such. FAN_MODIFY is needed for truncate(2) and utimensat(2) by path, but
// would more than double a buffered write of 4 KiB, so the mounts through which files are written
// ignore it; what goes by path passes by no mount's mark. A mount not met before is found by the
// first event of a write through it.
//
// Needs Linux 5.15, CAP_SYS_ADMIN in the first user namespace, and ext4, XFS or btrfs: others are
// changed from other machines, or give no handles. Any thread may call anything.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/fd.h"
#include "capture/changed_set.h"

namespace davit::capture {

class ChangeTracker {
 public:
  struct Options {
    size_t most_handles = 1 << 20;
    // False: events are read by take() alone.
    bool reads_ahead = true;
  };
  // Throws IoError, Unsupported: it cannot be here.
  explicit ChangeTracker(Options options);
  ChangeTracker() : ChangeTracker(Options()) {}
  ~ChangeTracker();
  ChangeTracker(const ChangeTracker&) = delete;
  ChangeTracker& operator=(const ChangeTracker&) = delete;

  // Whether no writer is unseen on the file system on which `directory` is open: then take() needs
  // no suspects.
  static bool sees_all_writers(int directory);

  // A moment of a file system. Later ones are greater.
  using Mark = uint64_t;
  struct Taken {
    // Of now: what changes from here on is told with it as `since`.
    std::optional<Mark> mark;           // nothing: this file system cannot be tracked
    std::optional<ChangedSet> changed;  // nothing: not known
    std::string why;                    // where one of them is nothing
  };
  // What changed since that moment on the file system on which `directory` is open, the suspects
  // among it. They count as changed once more for the next one, too.
  Taken take(int directory, std::optional<Mark> since, const std::vector<uint64_t>& suspects);
  // Nobody will ask any more with an earlier `since`: where memory is short, what is told to none
  // but them goes first.
  void forget_until(Mark mark);

 private:
  struct FileSystem {
    Mark since = 0;
    bool is_marked = false;
  };
  Taken take_generations(int directory, std::optional<Mark> since) const;
  // "" or why not. With the mutex held, as all below.
  std::string watch(int directory, uint64_t& device);
  void ignore_writes(int directory, const char* path);
  void drain();
  void note(const void* event);
  void note(uint64_t handle);
  void lose(const std::string& why);
  void make_room();
  bool has_mark(uint64_t device) const;
  void read_ahead(std::stop_token stop);
  // Without the mutex.
  void ignore_writes_of(int process);

  const Options options_;
  base::Fd group_, wake_;
  std::mutex mutex_;
  Mark now_ = 1;
  Mark complete_since_ = 1;
  Mark oldest_wanted_ = 0;
  std::string why_lost_;
  std::string failed_;                           // "": it works
  std::unordered_map<uint64_t, Mark> handles_;   // when they changed last
  std::map<uint64_t, FileSystem> file_systems_;  // by st_dev
  std::set<int> writers_;                        // processes whose writes were told
  std::jthread reader_;
};

}  // namespace davit::capture
