#include "base/errors.h"
#include "repo/json_reader.h"
#include "repo/rfc3339.h"
#include "repo/tree.h"
#include "repo/utf8.h"

namespace davit::repo {
namespace {

// Undoes the writer's quoting of names: Go's escapes for strings in double quotes.
class Unquoter {
 public:
  Unquoter(std::string_view quoted, const JsonReader& json) : rest_(quoted), json_(json) {}

  void run(std::string& name) {
    name.clear();
    while (!rest_.empty()) {
      const size_t special = std::min(rest_.find_first_of("\\\""), rest_.size());
      name += rest_.substr(0, special);
      rest_.remove_prefix(special);
      if (rest_.empty()) return;
      if (rest_[0] == '"') json_.fail("an unquoted name");
      rest_.remove_prefix(1);
      escape(name);
    }
  }

 private:
  void escape(std::string& name) {
    if (rest_.empty()) json_.fail("a name with an unfinished escape");
    const char kind = rest_[0];
    if (kind >= '0' && kind <= '7') return append_byte(name, digits(3, 8));
    rest_.remove_prefix(1);
    switch (kind) {
      case 'a':
        name += '\a';
        return;
      case 'b':
        name += '\b';
        return;
      case 't':
        name += '\t';
        return;
      case 'n':
        name += '\n';
        return;
      case 'v':
        name += '\v';
        return;
      case 'f':
        name += '\f';
        return;
      case 'r':
        name += '\r';
        return;
      case '"':
        name += '"';
        return;
      case '\\':
        name += '\\';
        return;
      case 'x':
        return append_byte(name, digits(2, 16));
      case 'u':
        return append_code_point(name, digits(4, 16));
      case 'U':
        return append_code_point(name, digits(8, 16));
      default:
        json_.fail("a name with an unknown escape");
    }
  }
  uint32_t digits(size_t count, uint32_t radix) {
    if (rest_.size() < count) json_.fail("a name with an unfinished escape");
    uint32_t value = 0;
    for (char c : rest_.substr(0, count)) {
      uint32_t digit = 16;
      if (c >= '0' && c <= '9')
        digit = static_cast<uint32_t>(c - '0');
      else if (c >= 'a' && c <= 'f')
        digit = static_cast<uint32_t>(c - 'a' + 10);
      else if (c >= 'A' && c <= 'F')
        digit = static_cast<uint32_t>(c - 'A' + 10);
      if (digit >= radix) json_.fail("a name with a bad escape");
      value = value * radix + digit;
    }
    rest_.remove_prefix(count);
    return value;
  }
  void append_byte(std::string& name, uint32_t value) {
    if (value > 0xff) json_.fail("a name with a bad escape");
    name += static_cast<char>(value);
  }
  void append_code_point(std::string& name, uint32_t value) {
    if (value > 0x10ffff || is_surrogate(value)) json_.fail("a name with a bad escape");
    append_utf8(name, value);
  }

  std::string_view rest_;
  const JsonReader& json_;
};

void read_name(JsonReader& json, std::string& name) {
  const std::string_view quoted = json.string();
  if (quoted.find('\\') == quoted.npos && quoted.find('"') == quoted.npos) {
    name = quoted;
  } else {
    Unquoter(quoted, json).run(name);
  }
}

NodeType read_type(JsonReader& json) {
  const std::string_view name = json.string();
  for (NodeType type : {NodeType::file, NodeType::dir, NodeType::symlink, NodeType::dev,
                        NodeType::chardev, NodeType::fifo, NodeType::socket}) {
    if (name == type_name(type)) return type;
  }
  json.fail("a node of an unknown type");
}

NodeTime read_time(JsonReader& json) {
  const auto time = parse_time(json.string());
  if (!time) json.fail("a time that is none");
  return {time->seconds, time->nanoseconds};
}

void read_xattrs(JsonReader& json, std::vector<Xattr>& xattrs) {
  xattrs.clear();
  for (json.begin_array(); json.next_element();) {
    Xattr& xattr = xattrs.emplace_back();
    for (json.begin_object(); json.next_key();) {
      if (json.take_null()) continue;
      if (json.key() == "name")
        xattr.name = json.string();
      else if (json.key() == "value")
        xattr.value = json.base64();
      else
        json.skip();
    }
    if (xattr.name.empty()) json.fail("an extended attribute without a name");
  }
}

class NodeReader {
 public:
  explicit NodeReader(JsonReader& json) : json_(json) {}

  Node read() {
    has_content_ = has_type_ = false;
    linktarget_raw_.clear();
    Node node;
    for (json_.begin_object(); json_.next_key();) {
      if (!json_.take_null()) field(node);
    }
    if (!has_type_) json_.fail("a node without a type");
    if (!is_valid_name(node.name)) json_.fail("a node with a forbidden name");
    if (!linktarget_raw_.empty()) node.linktarget = base::as_text(linktarget_raw_);
    if (node.linktarget.find('\0') != node.linktarget.npos)
      json_.fail("a symlink's target with a NUL");
    node.content_missing = node.type == NodeType::file && !has_content_;
    return node;
  }

 private:
  void field(Node& node) {
    const std::string_view key = json_.key();
    if (key == "name")
      read_name(json_, node.name);
    else if (key == "type") {
      node.type = read_type(json_);
      has_type_ = true;
    } else if (key == "mode")
      node.mode = json_.uint32();
    else if (key == "mtime")
      node.mtime = read_time(json_);
    else if (key == "atime")
      node.atime = read_time(json_);
    else if (key == "ctime")
      node.ctime = read_time(json_);
    else if (key == "uid")
      node.uid = json_.uint32();
    else if (key == "gid")
      node.gid = json_.uint32();
    else if (key == "user")
      node.user = json_.string();
    else if (key == "group")
      node.group = json_.string();
    else if (key == "inode")
      node.inode = json_.uint64();
    else if (key == "device_id")
      node.device_id = json_.uint64();
    else if (key == "size")
      node.size = json_.uint64();
    else if (key == "links")
      node.links = json_.uint64();
    else if (key == "linktarget")
      node.linktarget = json_.string();
    else if (key == "linktarget_raw")
      linktarget_raw_ = json_.base64();
    else if (key == "extended_attributes")
      read_xattrs(json_, node.xattrs);
    else if (key == "device")
      node.device = json_.uint64();
    else if (key == "content")
      read_content(node.content);
    else if (key == "subtree")
      node.subtree = json_.id();
    else if (key == "error")
      node.error = json_.string();
    else
      json_.skip();
  }
  void read_content(std::vector<base::Id>& content) {
    has_content_ = true;
    content.clear();
    for (json_.begin_array(); json_.next_element();) content.push_back(json_.id());
  }

  JsonReader& json_;
  base::Bytes linktarget_raw_;
  bool has_content_ = false;
  bool has_type_ = false;
};

}  // namespace

TreeSummary parse_tree(base::ByteView bytes, const std::function<void(Node&&)>& on_node) {
  JsonReader json(bytes, "tree");
  NodeReader reader(json);
  TreeSummary summary;
  std::string last_name;
  bool has_nodes = false;
  for (json.begin_object(); json.next_key();) {
    if (json.key() != "nodes") {
      json.skip();
      continue;
    }
    if (has_nodes) json.fail("a second list of nodes");
    has_nodes = true;
    if (json.take_null()) continue;
    for (json.begin_array(); json.next_element();) {
      Node node = reader.read();
      if (summary.nodes != 0 && node.name <= last_name) summary.ascending = false;
      last_name = node.name;
      ++summary.nodes;
      on_node(std::move(node));
    }
  }
  json.finish();
  if (!has_nodes) json.fail("there is no list of nodes");
  return summary;
}

std::vector<Node> parse_tree(base::ByteView json) {
  std::vector<Node> nodes;
  parse_tree(json, [&](Node&& node) { nodes.push_back(std::move(node)); });
  return nodes;
}

}  // namespace davit::repo
