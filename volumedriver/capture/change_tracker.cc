#include "capture/change_tracker.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/errors.h"
#include "base/files.h"
#include "base/log.h"
#include "capture/file_handle.h"
#include "capture/generations.h"
#include "capture/mount_table.h"

namespace davit::capture {

namespace {

// The event of a move names directories; that of the moved itself is for its other names.
constexpr uint64_t kMask = FAN_CLOSE_WRITE | FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM |
                           FAN_MOVED_TO | FAN_MOVE_SELF | FAN_ATTRIB | FAN_MODIFY | FAN_ONDIR;
// Between two looks at the queue: some hundred events in a busy one, which holds 16,384.
constexpr int kPauseMs = 10;
// Nobody changes that fast for long: take() must come to an end.
constexpr size_t kMostEvents = 1 << 20;
constexpr unsigned long kExt4 = 0xef53, kXfs = 0x58465342;

void require_kernel() {
  utsname name;
  int major = 0, minor = 0;
  if (::uname(&name) != 0 || std::sscanf(name.release, "%d.%d", &major, &minor) != 2 || major < 5 ||
      (major == 5 && minor < 15))
    throw base::Unsupported("the kernel is older than 5.15");
}

}  // namespace

ChangeTracker::ChangeTracker(Options options) : options_(options) {
  require_kernel();
  group_ = base::Fd(::fanotify_init(
      FAN_CLASS_NOTIF | FAN_REPORT_DFID_NAME | FAN_REPORT_FID | FAN_NONBLOCK | FAN_CLOEXEC,
      O_RDONLY));
  if (!group_) base::throw_errno("the kernel does not tell of changes (fanotify_init)", errno);
  wake_ = base::Fd(::eventfd(0, EFD_CLOEXEC));
  if (!wake_) base::throw_errno("eventfd", errno);
  if (options_.reads_ahead)
    reader_ = std::jthread([this](std::stop_token stop) { read_ahead(stop); });
}

ChangeTracker::~ChangeTracker() {
  if (!reader_.joinable()) return;
  const uint64_t one = 1;
  reader_.request_stop();
  static_cast<void>(!::write(wake_.get(), &one, sizeof one));
}

void ChangeTracker::read_ahead(std::stop_token stop) {
  pollfd both[2] = {{wake_.get(), POLLIN, 0}, {group_.get(), POLLIN, 0}};
  while (!stop.stop_requested()) {
    ::poll(both, 2, -1);
    std::set<int> writers;
    {
      std::lock_guard lock(mutex_);
      drain();
      if (!failed_.empty()) return;
      writers.swap(writers_);
    }
    for (const int process : writers) ignore_writes_of(process);
    ::poll(both, 1, kPauseMs);
  }
}

ChangeTracker::Taken ChangeTracker::take(int directory, std::optional<Mark> since,
                                         const std::vector<uint64_t>& suspects) {
  if (is_btrfs(directory)) return take_generations(directory, since);
  std::lock_guard lock(mutex_);
  drain();
  uint64_t device = 0;
  Taken taken;
  taken.why = failed_.empty() ? watch(directory, device) : failed_;
  if (!taken.why.empty()) return taken;
  taken.mark = now_++;
  for (const uint64_t handle : suspects) note(handle);
  if (!since) {
    taken.why = "nothing is known of the time before";
  } else if (*since < complete_since_) {
    taken.why = why_lost_;
  } else if (*since < file_systems_[device].since) {
    taken.why = "its file system was not watched all the time";
  } else {
    taken.changed.emplace();
    for (const auto& [handle, changed] : handles_)
      if (changed > *since) taken.changed->add(handle);
  }
  return taken;
}

bool ChangeTracker::sees_all_writers(int directory) {
  return is_btrfs(directory);
}

ChangeTracker::Taken ChangeTracker::take_generations(int directory,
                                                     std::optional<Mark> since) const {
  Taken taken;
  taken.mark = commit_generation(directory);
  if (!since) {
    taken.why = "nothing is known of the time before";
  } else if (*since > *taken.mark) {
    taken.why = "its file system is an older state of what it was";
  } else {
    taken.changed.emplace();
    if (!find_changed_since(directory, *since, options_.most_handles, *taken.changed)) {
      taken.changed.reset();
      taken.why = "more changed than is kept in memory";
    }
  }
  return taken;
}

std::string ChangeTracker::watch(int directory, uint64_t& device) {
  struct statfs system;
  struct stat status;
  if (::fstatfs(directory, &system) != 0 || ::fstat(directory, &status) != 0)
    return std::string("its file system cannot be looked at: ") + std::strerror(errno);
  if (static_cast<unsigned long>(system.f_type) != kExt4 &&
      static_cast<unsigned long>(system.f_type) != kXfs)
    return "only ext4, XFS and btrfs are tracked";
  if (find_handle(directory) == 0) return "its file system gives no handles";
  device = status.st_dev;
  FileSystem& known = file_systems_[device];
  // Where it was unmounted meanwhile, the mark went with it.
  if (known.is_marked && has_mark(device)) return "";
  known.is_marked = false;
  if (::fanotify_mark(group_.get(), FAN_MARK_ADD | FAN_MARK_FILESYSTEM, kMask, directory,
                      nullptr) != 0)
    return std::string("the kernel refuses to watch its file system: ") + std::strerror(errno);
  known.is_marked = true;
  known.since = now_;
  ignore_writes(directory, nullptr);
  return "";
}

void ChangeTracker::ignore_writes(int directory, const char* path) {
  const auto mark = [&](unsigned how) {
    return ::fanotify_mark(group_.get(), FAN_MARK_ADD | FAN_MARK_MOUNT | how, FAN_MODIFY, directory,
                           path);
  };
#ifdef FAN_MARK_IGNORE_SURV
  if (mark(FAN_MARK_IGNORE_SURV) == 0 || errno != EINVAL) return;
#endif
  mark(FAN_MARK_IGNORED_MASK | FAN_MARK_IGNORED_SURV_MODIFY);
}

void ChangeTracker::ignore_writes_of(int process) {
  std::set<uint64_t> devices;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [device, known] : file_systems_)
      if (known.is_marked) devices.insert(device);
  }
  const std::string root = "/proc/" + std::to_string(process) + "/root";
  for (const MountEntry& mount : read_mounts(process))
    if (devices.contains(mount.device)) ignore_writes(AT_FDCWD, (root + mount.path).c_str());
}

bool ChangeTracker::has_mark(uint64_t device) const {
  const auto info = base::find_file("/proc/self/fdinfo/" + std::to_string(group_.get()), 64 << 20);
  if (!info) return false;
  char line[64];
  std::snprintf(line, sizeof line, "fanotify sdev:%x ", major(device) << 20 | minor(device));
  return base::as_text(*info).find(line) != std::string_view::npos;
}

void ChangeTracker::drain() {
  alignas(fanotify_event_metadata) static thread_local char buffer[64 << 10];
  for (size_t events = 0; failed_.empty();) {
    const ssize_t got = ::read(group_.get(), buffer, sizeof buffer);
    if (got < 0) {
      const int number = errno;
      if (number == EINTR) continue;
      if (number == EAGAIN) return;
      failed_ = std::string("the kernel tells of no more changes: ") + std::strerror(number);
      lose(failed_);
      return;
    }
    // Events are aligned to 4 bytes only.
    for (ssize_t at = 0; at < got; ++events) {
      uint32_t length;
      std::memcpy(&length, buffer + at, sizeof length);
      if (length < FAN_EVENT_METADATA_LEN) return lose("the kernel told something unknown");
      note(buffer + at);
      at += length;
    }
    if (events > kMostEvents) return lose("more changed than could be read");
  }
}

void ChangeTracker::note(const void* from) {
  fanotify_event_metadata event;
  std::memcpy(&event, from, sizeof event);
  if (event.mask & FAN_Q_OVERFLOW) return lose("the kernel's queue of changes overflowed");
  if ((event.mask & FAN_MODIFY) && event.pid > 0) writers_.insert(event.pid);
  const char* at = static_cast<const char*>(from) + event.metadata_len;
  const char* const end = static_cast<const char*>(from) + event.event_len;
  bool told = false;
  while (at + sizeof(fanotify_event_info_header) <= end) {
    const auto* info = reinterpret_cast<const fanotify_event_info_fid*>(at);
    const auto type = info->hdr.info_type;
    if (type == FAN_EVENT_INFO_TYPE_FID || type == FAN_EVENT_INFO_TYPE_DFID ||
        type == FAN_EVENT_INFO_TYPE_DFID_NAME) {
      note(handle_number(*reinterpret_cast<const struct file_handle*>(info->handle)));
      told = true;
    }
    if (info->hdr.len == 0) break;
    at += info->hdr.len;
  }
  if (!told) lose("the kernel told of a change without saying where");
}

void ChangeTracker::note(uint64_t handle) {
  if (handles_.size() >= options_.most_handles && !handles_.contains(handle)) make_room();
  handles_[handle] = now_;
}

void ChangeTracker::make_room() {
  if (oldest_wanted_ > complete_since_) {
    complete_since_ = oldest_wanted_;
    why_lost_ = "more changed than is kept in memory";
    std::erase_if(handles_, [&](const auto& one) { return one.second <= oldest_wanted_; });
  }
  // Not less, so that the next one does not come here again at once.
  if (handles_.size() > options_.most_handles / 4 * 3) lose("more changed than is kept in memory");
}

void ChangeTracker::forget_until(Mark mark) {
  std::lock_guard lock(mutex_);
  oldest_wanted_ = std::min(mark, now_ - 1);  // generations may be greater
}

void ChangeTracker::lose(const std::string& why) {
  why_lost_ = why;
  complete_since_ = ++now_;
  handles_.clear();
}

}  // namespace davit::capture
