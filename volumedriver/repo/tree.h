// Trees: a directory's listing as restic's canonical JSON. The bytes are hashed, so there is
// exactly one right way to write a node; reading accepts any legal JSON. Encoder and parser are our
// own: a directory may have a million entries, and what is read comes from outside.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/id.h"

namespace davit::repo {

enum class NodeType : uint8_t { file, dir, symlink, dev, chardev, fifo, socket };

std::string_view type_name(NodeType type);

// Nanoseconds in [0, 1e9), counted forward also before 1970. Written as UTC; years outside 0..9999
// are clamped to those.
struct NodeTime {
  int64_t seconds = 0;
  uint32_t nanoseconds = 0;
  auto operator<=>(const NodeTime&) const = default;
};

struct Xattr {
  std::string name;  // must be UTF-8 when encoded; see is_utf8
  base::Bytes value;
  bool operator==(const Xattr&) const = default;
};

// A zero or empty field is left out of the JSON where restic leaves it out.
struct Node {
  std::string name;  // any bytes but '/' and NUL; not "", ".", ".."
  NodeType type = NodeType::file;
  uint32_t mode = 0;  // Go's FileMode bits: see go_mode() and st_mode()
  NodeTime mtime, atime, ctime;
  uint32_t uid = 0, gid = 0;
  std::string user, group;
  uint64_t inode = 0;
  uint64_t device_id = 0;
  uint64_t size = 0;  // files only
  uint64_t links = 0;
  std::string linktarget;  // any bytes; symlinks only
  std::vector<Xattr> xattrs;
  uint64_t device = 0;            // st_rdev
  std::vector<base::Id> content;  // files only
  bool content_missing = false;   // read from a file node without a list of content; never written
  std::optional<base::Id> subtree;  // directories only
  std::string error;

  bool operator==(const Node&) const = default;
};

// stat(2)'s mode and Go's, both with the type bits.
uint32_t go_mode(mode_t st_mode);
mode_t st_mode(uint32_t go_mode);
// Nothing for a mode that is none of the seven types.
std::optional<NodeType> node_type(mode_t st_mode);

// Strict: no overlong forms, no surrogates.
bool is_utf8(std::string_view text);
// What a node may be called: one path component.
bool is_valid_name(std::string_view name);

// Appends one node's JSON object. Throws UsageError for a name or an xattr name that cannot be
// stored: leave those out before.
void encode_node(const Node& node, base::Bytes& append_to);

// One thread. Without finish() nothing is complete.
class TreeEncoder {
 public:
  TreeEncoder();

  // Names strictly ascending by their raw bytes; throws UsageError otherwise.
  void add(const Node& node);
  size_t size_bytes() const { return bytes_.size(); }
  // The canonical bytes; the encoder is empty again and may be used for another tree.
  base::Bytes finish();

 private:
  base::Bytes bytes_;
  std::string last_name_;
  bool any_ = false;
};

struct TreeSummary {
  size_t nodes = 0;
  bool ascending = true;  // strictly, by raw name: a foreign writer may have broken the order, or
                          // repeated a name
};

// Calls `on_node` for each node in the order of the file, which may move it away. Throws Corrupt
// for what is no tree: bad JSON, bad names, types, numbers, IDs or times, depth beyond 32; the
// callback's own exceptions pass through. Unknown fields are skipped. Memory: one node beside the
// input. Nodes given before an error was met have been given: act on a tree only when this
// returned.
TreeSummary parse_tree(base::ByteView json, const std::function<void(Node&&)>& on_node);
// The same, collected.
std::vector<Node> parse_tree(base::ByteView json);

}  // namespace davit::repo
