// What a node is, apart from its JSON.
#include <sys/stat.h>

#include "repo/tree.h"
#include "repo/utf8.h"

namespace davit::repo {
namespace {

constexpr uint32_t kGoDir = uint32_t{1} << 31;
constexpr uint32_t kGoSymlink = 1 << 27;
constexpr uint32_t kGoDevice = 1 << 26;
constexpr uint32_t kGoFifo = 1 << 25;
constexpr uint32_t kGoSocket = 1 << 24;
constexpr uint32_t kGoSetuid = 1 << 23;
constexpr uint32_t kGoSetgid = 1 << 22;
constexpr uint32_t kGoCharDevice = 1 << 21;
constexpr uint32_t kGoSticky = 1 << 20;

}  // namespace

std::string_view type_name(NodeType type) {
  switch (type) {
    case NodeType::file:
      return "file";
    case NodeType::dir:
      return "dir";
    case NodeType::symlink:
      return "symlink";
    case NodeType::dev:
      return "dev";
    case NodeType::chardev:
      return "chardev";
    case NodeType::fifo:
      return "fifo";
    case NodeType::socket:
      return "socket";
  }
  return "";
}

uint32_t go_mode(mode_t st_mode) {
  uint32_t mode = st_mode & 0777;
  if (st_mode & S_ISUID) mode |= kGoSetuid;
  if (st_mode & S_ISGID) mode |= kGoSetgid;
  if (st_mode & S_ISVTX) mode |= kGoSticky;
  switch (st_mode & S_IFMT) {
    case S_IFDIR:
      mode |= kGoDir;
      break;
    case S_IFLNK:
      mode |= kGoSymlink;
      break;
    case S_IFBLK:
      mode |= kGoDevice;
      break;
    case S_IFCHR:
      mode |= kGoDevice | kGoCharDevice;
      break;
    case S_IFIFO:
      mode |= kGoFifo;
      break;
    case S_IFSOCK:
      mode |= kGoSocket;
      break;
    default:
      break;
  }
  return mode;
}

mode_t st_mode(uint32_t go_mode) {
  mode_t mode = go_mode & 0777;
  if (go_mode & kGoSetuid) mode |= S_ISUID;
  if (go_mode & kGoSetgid) mode |= S_ISGID;
  if (go_mode & kGoSticky) mode |= S_ISVTX;
  if (go_mode & kGoDir)
    mode |= S_IFDIR;
  else if (go_mode & kGoSymlink)
    mode |= S_IFLNK;
  else if (go_mode & kGoDevice)
    mode |= go_mode & kGoCharDevice ? S_IFCHR : S_IFBLK;
  else if (go_mode & kGoFifo)
    mode |= S_IFIFO;
  else if (go_mode & kGoSocket)
    mode |= S_IFSOCK;
  else
    mode |= S_IFREG;
  return mode;
}

std::optional<NodeType> node_type(mode_t st_mode) {
  switch (st_mode & S_IFMT) {
    case S_IFREG:
      return NodeType::file;
    case S_IFDIR:
      return NodeType::dir;
    case S_IFLNK:
      return NodeType::symlink;
    case S_IFBLK:
      return NodeType::dev;
    case S_IFCHR:
      return NodeType::chardev;
    case S_IFIFO:
      return NodeType::fifo;
    case S_IFSOCK:
      return NodeType::socket;
    default:
      return std::nullopt;
  }
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const CodePoint point = decode_utf8(text);
    if (point.size == 0) return false;
    text.remove_prefix(point.size);
  }
  return true;
}

bool is_valid_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == name.npos &&
         name.find('\0') == name.npos;
}

}  // namespace davit::repo
