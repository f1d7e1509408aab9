#include "capture/open_writers.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/kcmp.h>
#include <linux/loop.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <sstream>

#include "base/errors.h"
#include "base/fd.h"
#include "base/files.h"
#include "capture/file_handle.h"
#include "capture/mount_table.h"

namespace davit::capture {

namespace {

// What /proc/self/ns/pid shows in the first namespace (PROC_PID_INIT_INO).
constexpr ino_t kFirstPidNamespace = 0xeffffffc;
constexpr size_t kMostLookups = 100'000;
// The offset that each io_uring is mapped at once (IORING_OFF_SQES).
constexpr const char* kRingEntries = " 10000000 ";

class Search {
 public:
  Search(uint64_t device, const std::set<int>& harmless) : device_(device), harmless_(harmless) {}

  OpenWriters run() {
    struct stat space;
    if (::stat("/proc/self/ns/pid", &space) != 0 || space.st_ino != kFirstPidNamespace ||
        own_number() != std::to_string(::getpid()))
      doubt("the machine's processes cannot be seen: not in its PID namespace");
    else if (!may_see_all())
      doubt("who writes cannot be seen: SYS_PTRACE or LEASE is missing");
    else
      look_at_processes();
    if (found_.doubt.empty()) look_at_overlays();
    if (found_.doubt.empty()) look_at_loops();
    if (found_.doubt.empty()) look_at_modules();
    return std::move(found_);
  }

 private:
  void doubt(const std::string& why) {
    if (found_.doubt.empty()) found_.doubt = why;
  }

  static std::string own_number() {
    char text[32];
    const ssize_t size = ::readlink("/proc/self", text, sizeof text);
    return size > 0 ? std::string(text, static_cast<size_t>(size)) : "";
  }

  // For each entry that is a number. Nothing where there is no such directory any more.
  template <typename Take>
  void for_numbers(const std::string& path, Take&& take) {
    const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), ::closedir);
    if (!directory) return vanished_or_doubt(path);
    errno = 0;
    while (const dirent* entry = ::readdir(directory.get())) {
      int number = 0;
      const char* const end = entry->d_name + std::strlen(entry->d_name);
      const auto parsed = std::from_chars(entry->d_name, end, number);
      if (parsed.ec == std::errc() && parsed.ptr == end)
        take(::dirfd(directory.get()), entry->d_name, number);
      errno = 0;
    }
    if (errno != 0) vanished_or_doubt(path);
  }
  void vanished_or_doubt(const std::string& path) {
    const int number = errno;
    if (number != ENOENT && number != ESRCH)
      doubt(path + " cannot be looked at: " + std::strerror(number));
  }

  void look_at_processes() {
    for_numbers("/proc", [&](int, const char*, int process) {
      if (!found_.doubt.empty() || harmless_.contains(process)) return;
      const std::string path = "/proc/" + std::to_string(process);
      struct stat space;
      if (::stat((path + "/ns/mnt").c_str(), &space) == 0) spaces_.emplace(space.st_ino, process);
      rings_mapped_ = rings_open_ = 0;
      bool has_memory = look_at_mappings(path);
      for_numbers(path + "/task", [&](int, const char*, int thread) {
        // A leader that ended leaves its threads, with the memory and what they have open.
        if (!has_memory) has_memory = look_at_mappings("/proc/" + std::to_string(thread));
        if (thread == process || !shares_files(process, thread))
          look_at_descriptors("/proc/" + std::to_string(thread));
      });
      if (!has_memory) look_at_kernel_thread(path);
      // One that is registered with itself needs no descriptor.
      if (rings_mapped_ > rings_open_) doubt("files may be registered with an io_uring");
    });
  }

  static bool shares_files(int one, int other) {
    return ::syscall(SYS_kcmp, one, other, KCMP_FILES, 0, 0) == 0;
  }

  void look_at_kernel_thread(const std::string& path) {
    const auto name = read(path + "/comm");
    if (!name) return;
    for (const char* server : {"nfsd", "ksmbd"})
      if (name->starts_with(server)) doubt(std::string(server) + " may be writing");
  }

  // Nothing where it is gone.
  std::optional<std::string> read(const std::string& path) {
    try {
      const auto bytes = base::find_file(path, 256 << 20);
      if (bytes) return std::string(base::as_text(*bytes));
    } catch (const base::IoError& error) {
      if (error.number() != ENOENT && error.number() != ESRCH) doubt(error.what());
    } catch (const base::Error& error) {
      doubt(error.what());
    }
    return std::nullopt;
  }

  // Without the first, processes may be hidden without a trace; the other is for
  // capture/write_lease.h.
  bool may_see_all() {
    const auto status = read("/proc/self/status");
    const size_t line = status ? status->find("\nCapEff:") : std::string::npos;
    if (line == std::string::npos) return false;
    const uint64_t effective = std::strtoull(status->c_str() + line + 8, nullptr, 16);
    return (effective >> CAP_SYS_PTRACE & 1) != 0 && (effective >> CAP_LEASE & 1) != 0;
  }

  // False where the process has no memory of its own.
  bool look_at_mappings(const std::string& path) {
    const auto maps = read(path + "/maps");
    if (!maps || maps->empty()) return false;
    for (size_t at = 0; at < maps->size();) {
      const size_t end = std::min(maps->find('\n', at), maps->size());
      const std::string line = maps->substr(at, end - at);
      at = end + 1;
      // BEGIN-END rwxs OFFSET MAJOR:MINOR INODE PATH. One that is not writable now may have been.
      char range[64], access[8];
      unsigned major_number = 0, minor_number = 0;
      if (line.ends_with(" anon_inode:[io_uring]") && line.find(kRingEntries) != std::string::npos)
        ++rings_mapped_;
      if (std::sscanf(line.c_str(), "%63s %7s %*s %x:%x", range, access, &major_number,
                      &minor_number) != 4 ||
          access[3] != 's' || makedev(major_number, minor_number) != device_)
        continue;
      const uint64_t handle =
          find_handle(AT_FDCWD, (path + "/map_files/" + range).c_str(), AT_SYMLINK_FOLLOW);
      if (handle != 0)
        found_.files.push_back(handle);
      else if (errno != ENOENT && errno != ESRCH)
        doubt(path + "/map_files cannot be looked at: " + std::strerror(errno));
    }
    return true;
  }

  void look_at_descriptors(const std::string& path) {
    for_numbers(path + "/fd", [&](int directory, const char* name, int) {
      struct stat link;
      struct statx file;
      if (::fstatat(directory, name, &link, AT_SYMLINK_NOFOLLOW) != 0 || !(link.st_mode & S_IWUSR))
        return;
      // Asks no server of another machine, and no daemon that may hang.
      if (::statx(directory, name, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_TYPE | STATX_INO,
                  &file) != 0)
        return vanished_or_doubt(path + "/fd/" + name);
      if (S_ISREG(file.stx_mode)) {
        if (makedev(file.stx_dev_major, file.stx_dev_minor) != device_) return;
        const uint64_t handle = find_handle(directory, name, AT_SYMLINK_FOLLOW);
        if (handle != 0)
          found_.files.push_back(handle);
        else
          vanished_or_doubt(path + "/fd/" + name);
      } else if (S_ISSOCK(file.stx_mode)) {
        look_at_message(path + "/fdinfo/" + name);
      } else if (!S_ISCHR(file.stx_mode) && !S_ISFIFO(file.stx_mode) && !S_ISDIR(file.stx_mode) &&
                 !S_ISBLK(file.stx_mode)) {
        look_at_ring(directory, name, path + "/fdinfo/" + name);
      }
    });
  }

  // Descriptors that are on their way between processes.
  void look_at_message(const std::string& info) {
    const auto text = read(info);
    if (!text) return;
    const size_t line = text->find("scm_fds:");
    if (line != std::string::npos && std::strtoul(text->c_str() + line + 8, nullptr, 10) > 0)
      doubt("an open file is on its way between two processes");
  }

  // Files that are registered with an io_uring are in no table of descriptors.
  void look_at_ring(int directory, const char* name, const std::string& info) {
    char target[64];
    const ssize_t size = ::readlinkat(directory, name, target, sizeof target);
    if (size < 0 || std::string_view(target, static_cast<size_t>(size)) != "anon_inode:[io_uring]")
      return;
    ++rings_open_;
    const auto text = read(info);
    if (!text) return;
    // "UserFiles:\t2\n    0: socket:[123]\n    1: /a/file\n…"; nothing where the ring is busy.
    const size_t line = text->find("UserFiles:");
    bool is_known = line != std::string::npos;
    std::istringstream lines(is_known ? text->substr(line) : "");
    unsigned long files = 0, harmless = 0, slot;
    std::string word, file;
    lines >> word >> files;
    for (std::string one; harmless < files && lines >> slot >> std::ws && lines.get() == ':';) {
      if (!(lines >> one) ||
          !(one == "<none>" || one.starts_with("socket:[") || one.starts_with("pipe:[")))
        break;
      ++harmless;
    }
    if (!is_known || harmless < files) doubt("files may be registered with an io_uring");
  }

  // Without opening it, and with the links on the way as the process sees them.
  static base::Fd open_in(int process, const std::string& path) {
    const std::string root = "/proc/" + std::to_string(process) + "/root";
    const base::Fd top(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!top) return {};
    open_how how{};
    how.flags = O_PATH | O_CLOEXEC;
    how.resolve = RESOLVE_IN_ROOT;
    return base::Fd(
        static_cast<int>(::syscall(SYS_openat2, top.get(), path.c_str(), &how, sizeof how)));
  }

  void look_at_overlays() {
    std::set<std::string> uppers;
    for (const auto& [space, process] : spaces_)
      for (const MountEntry& mount : read_mounts(process))
        if (mount.type == "overlay") {
          const size_t at = ("," + mount.options).find(",upperdir=");
          if (at == std::string::npos) continue;
          const size_t begin = at + 9;
          uppers.insert(unescape_octal(std::string_view(mount.options)
                                           .substr(begin, mount.options.find(',', begin) - begin)));
        }
    if (uppers.size() * spaces_.size() > kMostLookups) return doubt("there are too many overlays");
    for (const std::string& upper : uppers) {
      bool is_somewhere = false;
      for (const auto& [space, process] : spaces_) {
        const base::Fd there = open_in(process, upper);
        struct stat status;
        if (!there || ::fstat(there.get(), &status) != 0) continue;
        is_somewhere = true;
        if (status.st_dev != device_) continue;
        const uint64_t handle = find_handle(there.get());
        if (handle == 0) return doubt("the directory of an overlay cannot be looked at");
        found_.overlaid.push_back(handle);
      }
      if (!is_somewhere) doubt("the directory of an overlay cannot be found: " + upper);
    }
  }

  // By what the kernel has: the path is as it was seen by whoever set it up, and may be another's
  // here.
  void look_at_loops() {
    for (const std::string& name : base::list_directory("/sys/block")) {
      if (!name.starts_with("loop")) continue;
      auto path = read("/sys/block/" + name + "/loop/backing_file");
      if (!path) continue;
      const base::Fd loop(::open(("/dev/" + name).c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
      loop_info64 info{};
      if (!loop || ::ioctl(loop.get(), LOOP_GET_STATUS64, &info) != 0) {
        if (errno != ENXIO) doubt(name + " cannot be looked at: " + std::strerror(errno));
        continue;
      }
      if ((info.lo_flags & LO_FLAGS_READ_ONLY) || info.lo_device != device_) continue;
      if (path->ends_with('\n')) path->pop_back();
      uint64_t handle = 0;
      for (const auto& [space, process] : spaces_) {
        const base::Fd there = open_in(process, *path);
        struct stat status;
        if (!there || ::fstat(there.get(), &status) != 0 || status.st_dev != device_ ||
            status.st_ino != info.lo_inode)
          continue;
        if ((handle = find_handle(there.get())) != 0) break;
      }
      if (handle != 0)
        found_.files.push_back(handle);
      else
        doubt("the file behind " + name + " cannot be found: " + *path);
    }
  }

  void look_at_modules() {
    for (const char* module : {"target_core_file", "nvmet"})
      if (::access((std::string("/sys/module/") + module).c_str(), F_OK) == 0)
        doubt(std::string("the kernel may be writing for others (") + module + ")");
  }

  const uint64_t device_;
  const std::set<int>& harmless_;
  OpenWriters found_;
  std::map<uint64_t, int> spaces_;            // mount namespaces, and a process in each
  size_t rings_mapped_ = 0, rings_open_ = 0;  // io_urings of the process that is looked at
};

}  // namespace

OpenWriters find_open_writers(uint64_t device, const std::set<int>& harmless) {
  return Search(device, harmless).run();
}

}  // namespace davit::capture
