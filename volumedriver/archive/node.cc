#include "archive/node.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/errors.h"

namespace davit::archive {

namespace {

constexpr unsigned kWanted = STATX_BASIC_STATS;

// The attributes of whatever the two calls reach.
template <typename List, typename Get>
std::vector<repo::Xattr> collect_xattrs(List list, Get get, std::vector<std::string>& problems) {
  std::vector<repo::Xattr> xattrs;
  thread_local std::vector<char> names(4096);
  ssize_t size;
  for (;;) {
    size = list(names.data(), names.size());
    if (size >= 0) break;
    const int number = errno;
    if (number == ERANGE && names.size() < 1 << 20) {
      names.resize(names.size() * 4);
      continue;
    }
    // Gone, or a file system without attributes.
    if (number != ENOENT && number != ENOTSUP && number != ELOOP)
      problems.push_back(std::string("its extended attributes cannot be listed: ") +
                         std::strerror(number));
    return xattrs;
  }
  thread_local base::Bytes value(1024);
  for (const char* name = names.data(); name < names.data() + size; name += std::strlen(name) + 1) {
    if (!repo::is_utf8(name)) {
      problems.push_back("an extended attribute was left out: its name is not UTF-8");
      continue;
    }
    ssize_t length;
    while ((length = get(name, value.data(), value.size())) < 0 && errno == ERANGE &&
           value.size() < 1 << 20)
      value.resize(value.size() * 4);
    if (length < 0) {
      const int number = errno;
      if (number != ENODATA && number != ENOENT)
        problems.push_back(std::string("its extended attribute ") + name +
                           " cannot be read: " + std::strerror(number));
      continue;
    }
    xattrs.push_back({name, base::Bytes(value.begin(), value.begin() + length)});
  }
  return xattrs;
}

}  // namespace

std::optional<Status> find_status(int directory, const std::string& name) {
  Status status;
  if (::statx(directory, name.c_str(), AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, kWanted, &status) ==
      0)
    return status;
  const int number = errno;
  if (number == ENOENT) return std::nullopt;
  base::throw_errno("cannot stat " + name, number);
}

Status get_status(int fd) {
  Status status;
  if (::statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, kWanted, &status) != 0)
    base::throw_errno("cannot stat an open file", errno);
  return status;
}

uint64_t device_of(const Status& status) {
  return ::makedev(status.stx_dev_major, status.stx_dev_minor);
}

repo::NodeTime mtime_of(const Status& status) {
  return {status.stx_mtime.tv_sec, status.stx_mtime.tv_nsec};
}

repo::NodeTime ctime_of(const Status& status) {
  return {status.stx_ctime.tv_sec, status.stx_ctime.tv_nsec};
}

bool is_mount_root(const Status& status, uint64_t parent_device) {
  if (status.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT)
    return (status.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
  return device_of(status) != parent_device;
}

repo::Node make_node(const std::string& name, const Status& status, uint64_t device_id) {
  repo::Node node;
  node.name = name;
  const auto type = repo::node_type(status.stx_mode);
  if (!type) throw base::Error(name + " is of a type that cannot be stored");
  node.type = *type;
  node.mode = repo::go_mode(status.stx_mode);
  node.mtime = mtime_of(status);
  node.atime = node.mtime;
  node.ctime = ctime_of(status);
  node.uid = status.stx_uid;
  node.gid = status.stx_gid;
  node.inode = status.stx_ino;
  using enum repo::NodeType;
  if (node.type != dir && node.type != fifo && node.type != socket) node.links = status.stx_nlink;
  if (node.links > 1 || node.type == fifo) node.device_id = device_id;
  if (node.type == file) node.size = status.stx_size;
  if (node.type == dev || node.type == chardev)
    node.device = ::makedev(status.stx_rdev_major, status.stx_rdev_minor);
  return node;
}

std::vector<repo::Xattr> read_xattrs(int directory, const std::string& name,
                                     std::vector<std::string>& problems) {
  // The calls that take no descriptor follow no link only in the last component; what is before it
  // is the directory itself, whatever its path has become.
  const std::string path = "/proc/self/fd/" + std::to_string(directory) + "/" + name;
  return collect_xattrs(
      [&](char* names, size_t size) { return ::llistxattr(path.c_str(), names, size); },
      [&](const char* xattr, uint8_t* value, size_t size) {
        return ::lgetxattr(path.c_str(), xattr, value, size);
      },
      problems);
}

std::vector<repo::Xattr> read_xattrs(int fd, std::vector<std::string>& problems) {
  return collect_xattrs([&](char* names, size_t size) { return ::flistxattr(fd, names, size); },
                        [&](const char* xattr, uint8_t* value, size_t size) {
                          return ::fgetxattr(fd, xattr, value, size);
                        },
                        problems);
}

std::optional<std::string> find_link_target(int directory, const std::string& name) {
  std::string target(4096, '\0');
  for (;;) {
    const ssize_t size = ::readlinkat(directory, name.c_str(), target.data(), target.size());
    if (size < 0) {
      const int number = errno;
      if (number == ENOENT || number == EINVAL) return std::nullopt;
      base::throw_errno("cannot read the link " + name, number);
    }
    if (static_cast<size_t>(size) < target.size()) {
      target.resize(static_cast<size_t>(size));
      return target;
    }
    target.resize(target.size() * 2);
  }
}

}  // namespace davit::archive
