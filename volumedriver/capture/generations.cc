#include "capture/generations.h"

#include <endian.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <vector>

#include "base/errors.h"
#include "capture/file_handle.h"

namespace davit::capture {

namespace {

constexpr unsigned long kBtrfs = 0x9123683e;
constexpr size_t kBuffer = 256 << 10;

// As name_to_handle_at(2) gives them (fs/btrfs/export.c), without a parent.
constexpr int kHandleType = 0x4d;
struct [[gnu::packed]] Handle {
  uint64_t inode, subvolume;
  uint32_t generation;
};

uint64_t handle_of(uint64_t subvolume, uint64_t inode, const btrfs_inode_item& item) {
  const Handle id{inode, subvolume, static_cast<uint32_t>(le64toh(item.generation))};
  alignas(struct file_handle) char buffer[sizeof(struct file_handle) + sizeof id];
  auto* handle = reinterpret_cast<struct file_handle*>(buffer);
  handle->handle_bytes = sizeof id;
  handle->handle_type = kHandleType;
  std::memcpy(handle->f_handle, &id, sizeof id);
  return handle_number(*handle);
}

uint64_t subvolume_of(int directory) {
  btrfs_ioctl_ino_lookup_args lookup{};
  lookup.objectid = BTRFS_FIRST_FREE_OBJECTID;
  if (::ioctl(directory, BTRFS_IOC_INO_LOOKUP, &lookup) != 0)
    base::throw_errno("cannot find the btrfs subvolume", errno);
  return lookup.treeid;
}

// Gives each inode with a number in the range whose leaf changed after `since`, until `take` is
// false.
void for_inodes(int directory, uint64_t first, uint64_t last, uint64_t since,
                const std::function<bool(uint64_t, const btrfs_inode_item&)>& take) {
  std::vector<uint64_t> memory((sizeof(btrfs_ioctl_search_args_v2) + kBuffer) / sizeof(uint64_t));
  auto* const search = reinterpret_cast<btrfs_ioctl_search_args_v2*>(memory.data());
  btrfs_ioctl_search_key& key = search->key;
  key.min_objectid = first;
  key.max_objectid = last;
  key.max_offset = key.max_transid = UINT64_MAX;
  key.max_type = UINT32_MAX;
  key.min_transid = since + 1;
  for (;;) {
    key.nr_items = UINT32_MAX;
    search->buf_size = kBuffer;
    if (::ioctl(directory, BTRFS_IOC_TREE_SEARCH_V2, search) != 0)
      base::throw_errno("cannot search the btrfs tree", errno);
    if (key.nr_items == 0) return;
    const char* at = reinterpret_cast<const char*>(search->buf);
    btrfs_ioctl_search_header header{};
    for (uint32_t i = 0; i < key.nr_items; ++i) {
      std::memcpy(&header, at, sizeof header);
      at += sizeof header;
      if (header.type == BTRFS_INODE_ITEM_KEY && header.len >= sizeof(btrfs_inode_item)) {
        btrfs_inode_item item;
        std::memcpy(&item, at, sizeof item);
        if (!take(header.objectid, item)) return;
      }
      at += header.len;
    }
    // Behind the last one.
    key.min_objectid = header.objectid;
    key.min_type = header.type;
    key.min_offset = header.offset + 1;
    if (key.min_offset != 0) continue;
    key.min_type = (header.type + 1) & 0xff;
    if (key.min_type == 0 && ++key.min_objectid == 0) return;
  }
}

}  // namespace

bool is_btrfs(int directory) {
  struct statfs system;
  return ::fstatfs(directory, &system) == 0 && static_cast<unsigned long>(system.f_type) == kBtrfs;
}

uint64_t commit_generation(int directory) {
  if (::syncfs(directory) != 0) base::throw_errno("cannot sync the volume", errno);
  uint64_t generation = 0;
  if (::ioctl(directory, BTRFS_IOC_START_SYNC, &generation) != 0 ||
      ::ioctl(directory, BTRFS_IOC_WAIT_SYNC, &generation) != 0)
    base::throw_errno("cannot commit btrfs's transaction", errno);
  return generation;
}

bool find_changed_since(int directory, uint64_t since, size_t most, ChangedSet& to) {
  const uint64_t subvolume = subvolume_of(directory);
  struct stat status;
  if (::fstat(directory, &status) != 0) base::throw_errno("cannot stat the volume", errno);
  uint64_t own = 0;
  for_inodes(directory, status.st_ino, status.st_ino, 0, [&](uint64_t inode, const auto& item) {
    own = handle_of(subvolume, inode, item);
    return false;
  });
  if (own == 0 || own != find_handle(directory))
    throw base::Unsupported("the handles of this btrfs are not known");
  size_t count = 0;
  for_inodes(directory, BTRFS_FIRST_FREE_OBJECTID, BTRFS_LAST_FREE_OBJECTID, since,
             [&](uint64_t inode, const auto& item) {
               if (le64toh(item.transid) <= since) return true;
               to.add(handle_of(subvolume, inode, item));
               return ++count <= most;
             });
  return count <= most;
}

}  // namespace davit::capture
