#include "restore/metadata.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>

#include "base/errors.h"

namespace davit::restore {

namespace {

bool is_path_only(repo::NodeType type) {
  return type != repo::NodeType::file && type != repo::NodeType::dir;
}

// Not one that only this object has (ext4 takes no large attributes, whatever room there is).
bool lacks_room(int fd) {
  struct statvfs status;
  return ::fstatvfs(fd, &status) == 0 && uint64_t{status.f_bavail} * status.f_frsize < (1 << 20);
}

}  // namespace

void apply_metadata(int fd, const struct stat* status, const repo::Node& node,
                    std::vector<std::string>& problems) {
  const auto note = [&](const std::string& what) {
    problems.push_back(what + ": " + std::strerror(errno));
  };
  const bool path_only = is_path_only(node.type);
  // The calls that take a path reach exactly what is open through this one.
  const std::string path = path_only ? "/proc/self/fd/" + std::to_string(fd) : std::string();

  const bool is_owned = status && status->st_uid == node.uid && status->st_gid == node.gid;
  if (!is_owned && ::fchownat(fd, "", node.uid, node.gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) != 0)
    note("owner " + std::to_string(node.uid) + ":" + std::to_string(node.gid));
  for (const repo::Xattr& xattr : node.xattrs) {
    const char* name = xattr.name.c_str();
    const int failed =
        path_only ? ::setxattr(path.c_str(), name, xattr.value.data(), xattr.value.size(), 0)
                  : ::fsetxattr(fd, name, xattr.value.data(), xattr.value.size(), 0);
    if (!failed) continue;
    const int number = errno;
    if (number == EDQUOT || (number == ENOSPC && lacks_room(fd)))
      base::throw_errno("cannot restore the attribute " + xattr.name, number);
    errno = number;
    note("attribute " + xattr.name);
  }
  if (node.type != repo::NodeType::symlink) {
    const mode_t mode = repo::st_mode(node.mode) & 07777;
    // A change of owner and an ACL change it.
    const bool is_right = is_owned && node.xattrs.empty() && (status->st_mode & 07777) == mode;
    if (!is_right && (path_only ? ::chmod(path.c_str(), mode) : ::fchmod(fd, mode)) != 0)
      note("mode");
  }
  const timespec times[2] = {{node.atime.seconds, node.atime.nanoseconds},
                             {node.mtime.seconds, node.mtime.nanoseconds}};
  const int failed = path_only ? ::utimensat(fd, "", times, AT_EMPTY_PATH) : ::futimens(fd, times);
  if (failed) note("times");
}

void clear_inheritance(int directory) {
  if (::fchmod(directory, 0700) != 0) base::throw_errno("cannot prepare the directory", errno);
  std::vector<char> names(64 << 10);
  const ssize_t size = ::flistxattr(directory, names.data(), names.size());
  for (const char* name = names.data(); size > 0 && name < names.data() + size;
       name += std::strlen(name) + 1) {
    const std::string_view view = name;
    if (view.starts_with("user.") || view.starts_with("trusted.") ||
        view.starts_with("system.posix_acl_"))
      ::fremovexattr(directory, name);
  }
}

}  // namespace davit::restore
