#include "base/errors.h"
#include "repo/json_writer.h"
#include "repo/rfc3339.h"
#include "repo/tree.h"

namespace davit::repo {
namespace {

constexpr std::string_view kOpening = "{\"nodes\":[";
constexpr std::string_view kClosing = "]}\n";

class NodeWriter {
 public:
  explicit NodeWriter(base::Bytes& to) : json_(to) {}

  void write(const Node& node) {
    json_.raw("{\"name\":");
    json_.quoted_string(node.name);
    json_.raw(",\"type\":\"");
    json_.raw(type_name(node.type));
    json_.raw("\"");
    number(",\"mode\":", node.mode);
    time(",\"mtime\":\"", node.mtime);
    if (node.atime == node.mtime) {
      repeat_time(",\"atime\":\"");
    } else {
      time(",\"atime\":\"", node.atime);
    }
    time(",\"ctime\":\"", node.ctime);
    json_.raw(",\"uid\":");
    json_.number(node.uid);
    json_.raw(",\"gid\":");
    json_.number(node.gid);
    text(",\"user\":", node.user);
    text(",\"group\":", node.group);
    number(",\"inode\":", node.inode);
    number(",\"device_id\":", node.device_id);
    number(",\"size\":", node.size);
    number(",\"links\":", node.links);
    link_target(node.linktarget);
    xattrs(node.xattrs);
    number(",\"device\":", node.device);
    content(node);
    if (node.subtree) {
      json_.raw(",\"subtree\":");
      json_.id(*node.subtree);
    }
    text(",\"error\":", node.error);
    json_.raw("}");
  }

 private:
  void number(std::string_view field, uint64_t value) {
    if (value == 0) return;
    json_.raw(field);
    json_.number(value);
  }
  void text(std::string_view field, std::string_view value) {
    if (value.empty()) return;
    json_.raw(field);
    json_.string(value);
  }
  void time(std::string_view field, const NodeTime& time) {
    json_.raw(field);
    time_size_ = format_time({time.seconds, time.nanoseconds, 0}, time_text_);
    time_text_[time_size_++] = '"';
    json_.raw({time_text_, time_size_});
  }
  void repeat_time(std::string_view field) {
    json_.raw(field);
    json_.raw({time_text_, time_size_});
  }
  void link_target(const std::string& target) {
    text(",\"linktarget\":", target);
    if (!is_utf8(target)) {
      json_.raw(",\"linktarget_raw\":");
      json_.base64(base::as_bytes(target));
    }
  }
  void xattrs(const std::vector<Xattr>& xattrs) {
    if (xattrs.empty()) return;
    std::string_view before = ",\"extended_attributes\":[{\"name\":";
    for (const Xattr& xattr : xattrs) {
      if (!is_utf8(xattr.name)) {
        throw base::UsageError(
            "the name of an extended attribute is not UTF-8 and cannot be stored");
      }
      json_.raw(before);
      json_.string(xattr.name);
      json_.raw(",\"value\":");
      json_.base64(xattr.value);
      before = "},{\"name\":";
    }
    json_.raw("}]");
  }
  void content(const Node& node) {
    if (node.type != NodeType::file) return json_.raw(",\"content\":null");
    if (node.content.empty()) return json_.raw(",\"content\":[]");
    std::string_view before = ",\"content\":[";
    for (const base::Id& id : node.content) {
      json_.raw(before);
      json_.id(id);
      before = ",";
    }
    json_.raw("]");
  }

  JsonWriter json_;
  char time_text_[kMaxTimeText + 1];
  size_t time_size_ = 0;
};

}  // namespace

void encode_node(const Node& node, base::Bytes& append_to) {
  if (!is_valid_name(node.name))
    throw base::UsageError("a file cannot be stored under the name \"" + node.name + "\"");
  const size_t start = append_to.size();
  try {
    NodeWriter(append_to).write(node);
  } catch (...) {
    append_to.resize(start);
    throw;
  }
}

TreeEncoder::TreeEncoder() {
  JsonWriter(bytes_).raw(kOpening);
}

void TreeEncoder::add(const Node& node) {
  if (any_ && node.name <= last_name_) {
    throw base::UsageError("the nodes of a tree must ascend: \"" + node.name + "\" came after \"" +
                           last_name_ + "\"");
  }
  const size_t start = bytes_.size();
  if (any_) bytes_.push_back(',');
  try {
    encode_node(node, bytes_);
  } catch (...) {
    bytes_.resize(start);
    throw;
  }
  last_name_ = node.name;
  any_ = true;
}

base::Bytes TreeEncoder::finish() {
  JsonWriter(bytes_).raw(kClosing);
  base::Bytes finished = std::move(bytes_);
  *this = TreeEncoder();
  return finished;
}

}  // namespace davit::repo
