// Subvolumes of btrfs.
#pragma once

#include <fcntl.h>
#include <linux/btrfs.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "base/errors.h"
#include "base/fd.h"

namespace davit::test {

inline base::Fd open_above(const std::string& path) {
  return base::open_file(path.substr(0, path.rfind('/')), O_RDONLY | O_DIRECTORY);
}

template <typename Arguments>
void name_subvolume(Arguments& arguments, const std::string& path) {
  std::strncpy(arguments.name, path.c_str() + path.rfind('/') + 1, sizeof arguments.name - 1);
}

inline void make_subvolume(const std::string& path) {
  btrfs_ioctl_vol_args arguments{};
  name_subvolume(arguments, path);
  if (::ioctl(open_above(path).get(), BTRFS_IOC_SUBVOL_CREATE, &arguments) != 0)
    base::throw_errno("cannot make a subvolume", errno);
}

inline void remove_subvolume(const std::string& path) {
  btrfs_ioctl_vol_args arguments{};
  name_subvolume(arguments, path);
  if (::ioctl(open_above(path).get(), BTRFS_IOC_SNAP_DESTROY, &arguments) != 0)
    base::throw_errno("cannot remove a subvolume", errno);
}

// Writable, of what `from` is now.
inline void make_snapshot(const std::string& from, const std::string& path) {
  const base::Fd source = base::open_file(from, O_RDONLY | O_DIRECTORY);
  btrfs_ioctl_vol_args_v2 arguments{};
  arguments.fd = source.get();
  name_subvolume(arguments, path);
  if (::ioctl(open_above(path).get(), BTRFS_IOC_SNAP_CREATE_V2, &arguments) != 0)
    base::throw_errno("cannot make a snapshot", errno);
}

}  // namespace davit::test
