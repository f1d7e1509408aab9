#include "archive/passed_entries.h"

#include <string>
#include <utility>

namespace davit::archive {

repo::Node make_known_node(const repo::ScanView& known, const Status& status, uint64_t device_id) {
  repo::ScanRecord record = known.record();
  repo::Node node = make_node(std::string(known.name), status, device_id);
  node.xattrs = std::move(record.xattrs);
  node.content = std::move(record.content);
  node.linktarget = std::move(record.linktarget);
  return node;
}

void PassedEntries::add(const repo::ScanView& known, const Status& status) {
  base::append(records_, known.bytes);
  statuses_.push_back({status.stx_mode, status.stx_uid, status.stx_gid, status.stx_nlink,
                       status.stx_rdev_major, status.stx_rdev_minor});
}

void PassedEntries::add_directory(repo::Node node) {
  repo::append_enter(records_, node.name);
  directories_.push_back(std::move(node));
}

Status PassedEntries::Rest::expand(const repo::ScanView& known) const {
  const repo::ScanStamp stamp = known.stamp();
  Status status{};
  status.stx_mode = static_cast<uint16_t>(mode);
  status.stx_uid = uid;
  status.stx_gid = gid;
  status.stx_nlink = links;
  status.stx_rdev_major = major;
  status.stx_rdev_minor = minor;
  status.stx_ino = stamp.inode;
  status.stx_size = stamp.size_bytes;
  status.stx_mtime.tv_sec = stamp.mtime.seconds;
  status.stx_mtime.tv_nsec = stamp.mtime.nanoseconds;
  status.stx_ctime.tv_sec = stamp.ctime.seconds;
  status.stx_ctime.tv_nsec = stamp.ctime.nanoseconds;
  return status;
}

}  // namespace davit::archive
