// One entry of a live directory as a node: what the kernel says of it, without content.
// Any thread. Nothing here follows a link or triggers a mount.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "repo/tree.h"

namespace davit::archive {

using Status = struct ::statx;

// Nothing where there is no such entry (any more). Throws IoError.
std::optional<Status> find_status(int directory, const std::string& name);
// Of what is open.
Status get_status(int fd);

uint64_t device_of(const Status& status);
repo::NodeTime mtime_of(const Status& status);
repo::NodeTime ctime_of(const Status& status);
// The root of something that is mounted inside: another file system, or a bind mount. Kernels
// before 5.8 cannot tell; there another device counts as mounted.
bool is_mount_root(const Status& status, uint64_t parent_device);

// Name, type, mode, owner, times, inode, size, links, device. `device_id` is kept where restic
// needs one to tell hard links: links > 1, and every fifo, whose links it does not record. atime =
// mtime.
repo::Node make_node(const std::string& name, const Status& status, uint64_t device_id);

// Extended attributes, POSIX ACLs among them, in the order of the kernel. An attribute that cannot
// be stored (its name is not UTF-8) or not be read is left out and described in `problems`.
std::vector<repo::Xattr> read_xattrs(int directory, const std::string& name,
                                     std::vector<std::string>& problems);
std::vector<repo::Xattr> read_xattrs(int fd, std::vector<std::string>& problems);

// Nothing where it is no link any more. Throws IoError.
std::optional<std::string> find_link_target(int directory, const std::string& name);

}  // namespace davit::archive
