#include "volumes/volume_directory.h"

#include <btrfsutil.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include <cerrno>

#include "base/errors.h"
#include "base/fault.h"
#include "base/files.h"
#include "base/log.h"

namespace davit::volumes {

namespace {

bool is_on_btrfs(const std::string& path) {
  struct statfs status;
  return ::statfs(path.c_str(), &status) == 0 && status.f_type == BTRFS_SUPER_MAGIC;
}

}  // namespace

void make_volume_directory(const std::string& path) {
  bool made = false;
  if (is_on_btrfs(path.substr(0, path.rfind('/')))) {
    const btrfs_util_error error = ::btrfs_util_create_subvolume(path.c_str(), 0, nullptr, nullptr);
    made = error == BTRFS_UTIL_OK;
    if (!made)
      spdlog::warn("cannot make {} a btrfs subvolume ({}); it will be a plain directory", path,
                   ::btrfs_util_strerror(error));
  }
  if (!made && ::mkdir(path.c_str(), 0700) != 0) base::throw_errno("cannot make " + path, errno);
  base::fault_point("volume_directory:made");
  if (::chmod(path.c_str(), 0755) != 0) base::throw_errno("cannot set the mode of " + path, errno);
  base::sync_directory(path);
  base::fault_point("volume_directory:synced");
}

void delete_volume_directory(const std::string& path, const std::function<bool()>& stop) {
  base::fault_point("volume_directory:delete");
  // In one step where that can be: it needs CAP_SYS_ADMIN and no subvolume beneath it. Else file by
  // file; an empty subvolume then goes like a directory.
  if (is_on_btrfs(path) && ::btrfs_util_is_subvolume(path.c_str()) == BTRFS_UTIL_OK &&
      ::btrfs_util_delete_subvolume(path.c_str(), 0) == BTRFS_UTIL_OK)
    return;
  base::remove_tree(AT_FDCWD, path, stop);
  base::fault_point("volume_directory:deleted");
}

}  // namespace davit::volumes
