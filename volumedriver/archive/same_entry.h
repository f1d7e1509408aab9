// When an entry is what a scan cache says of it. Any thread.
#pragma once

#include <optional>
#include <string>

#include "archive/node.h"
#include "base/errors.h"
#include "repo/index.h"
#include "repo/scan_record.h"

namespace davit::archive {

inline bool is_same_inode(const repo::ScanStamp& known, const Status& status) {
  return known.trusted && known.inode == status.stx_ino && known.mtime == mtime_of(status) &&
         known.ctime == ctime_of(status);
}

// Kernels that cannot tell mounts show a subvolume as another device; its root always has inode
// 256.
inline bool is_subvolume(const Status& status) {
  return !(status.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) && status.stx_ino == 256;
}

// `known` is of something that is no directory, `device` that of the directory it lies in. The
// blobs of a file must be in the index, too.
inline bool is_same_entry(const repo::ScanView& known, const Status& status, uint64_t device,
                          const repo::Index& index) {
  const bool is_file = known.kind == repo::ScanView::Kind::file;
  const repo::ScanStamp stamp = known.stamp();
  if (!is_same_inode(stamp, status) || S_ISDIR(status.stx_mode) ||
      S_ISREG(status.stx_mode) != is_file || is_mount_root(status, device))
    return false;
  return !is_file ||
         (stamp.size_bytes == status.stx_size && known.all_content([&](const base::Id& id) {
           return index.contains(repo::BlobType::data, id);
         }));
}

// Nothing as well where it cannot be asked: whatever is wrong shows when it is looked at anew.
inline std::optional<Status> try_status(int directory, const std::string& name) {
  try {
    return find_status(directory, name);
  } catch (const base::IoError&) {
    return std::nullopt;
  }
}

}  // namespace davit::archive
