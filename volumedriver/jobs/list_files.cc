#include "jobs/list_files.h"

#include <algorithm>

#include "base/errors.h"
#include "repo/tree.h"

namespace davit::jobs {

using repo::Node;
using repo::NodeType;

namespace {

// Deeper than any path that can be typed; beyond it the tree is hostile.
constexpr size_t kMaxDepth = 100'000;

std::vector<std::string> components_of(const std::string& path) {
  std::vector<std::string> components;
  for (size_t at = 0; at < path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    if (end > at) components.push_back(path.substr(at, end - at));
    at = end + 1;
  }
  return components;
}

ListedNode describe(const Node& node, const std::string& path) {
  ListedNode listed;
  listed.path = path;
  listed.type = repo::type_name(node.type);
  listed.linktarget = node.linktarget;
  listed.mode = repo::st_mode(node.mode);
  listed.uid = node.uid;
  listed.gid = node.gid;
  listed.size_bytes = node.size;
  const int64_t seconds = std::clamp<int64_t>(node.mtime.seconds, -9'000'000'000, 9'000'000'000);
  listed.mtime = base::Time(std::chrono::seconds(seconds)) + std::chrono::nanoseconds(node.mtime.nanoseconds);
  return listed;
}

std::vector<Node> load_tree(const repo::Repository& repository, const base::Id& id) {
  return repo::parse_tree(repository.load_blob(repo::BlobType::tree, id));
}

}  // namespace

void list_files(const repo::Repository& repository, const repo::Snapshot& snapshot, const std::string& below,
                bool recursive, const std::function<void(const ListedNode&)>& each) {
  std::vector<std::string> way = components_of(snapshot.paths.empty() ? "" : snapshot.paths[0]);
  const size_t above = way.size();
  for (auto& component : components_of(below)) way.push_back(std::move(component));
  base::Id tree = snapshot.tree;
  std::string prefix;
  for (size_t i = 0; i < way.size(); ++i) {
    std::optional<Node> found;
    for (auto& node : load_tree(repository, tree))
      if (node.name == way[i]) found = std::move(node);
    if (i >= above) prefix += "/" + way[i];
    if (!found) throw base::NotFound("there is no " + (prefix.empty() ? snapshot.paths[0] : prefix) + " in the snapshot");
    if (found->type != NodeType::dir || !found->subtree) {
      if (i + 1 < way.size()) throw base::NotFound(prefix + " is not a directory");
      each(describe(*found, prefix));
      return;
    }
    tree = *found->subtree;
  }
  struct Level {
    std::vector<Node> nodes;
    size_t next = 0;
    size_t prefix_length;
  };
  std::vector<Level> levels;
  levels.push_back({load_tree(repository, tree), 0, prefix.size()});
  while (!levels.empty()) {
    Level& level = levels.back();
    prefix.resize(level.prefix_length);
    if (level.next == level.nodes.size()) {
      levels.pop_back();
      continue;
    }
    const Node& node = level.nodes[level.next++];
    prefix += "/" + node.name;
    each(describe(node, prefix));
    if (recursive && node.type == NodeType::dir && node.subtree) {
      if (levels.size() > kMaxDepth) throw base::Corrupt("the snapshot's directories are nested without end");
      const base::Id subtree = *node.subtree;
      levels.push_back({load_tree(repository, subtree), 0, prefix.size()});
    }
  }
}

}  // namespace davit::jobs
