#include "restore/find_node.h"

#include <algorithm>

#include "base/errors.h"

namespace davit::restore {

std::vector<repo::Node> load_tree(const repo::Repository& repository, const base::Id& id) {
  std::vector<repo::Node> nodes;
  const base::Bytes bytes = repository.load_blob(repo::BlobType::tree, id);
  const repo::TreeSummary summary =
      repo::parse_tree(bytes, [&](repo::Node&& node) { nodes.push_back(std::move(node)); });
  if (!summary.ascending) {
    const auto by_name = [](const repo::Node& a, const repo::Node& b) { return a.name < b.name; };
    std::sort(nodes.begin(), nodes.end(), by_name);
    const auto twice = std::adjacent_find(
        nodes.begin(), nodes.end(),
        [](const repo::Node& a, const repo::Node& b) { return a.name == b.name; });
    if (twice != nodes.end())
      throw base::Corrupt("a directory of the snapshot holds the name " + twice->name + " twice");
  }
  return nodes;
}

std::optional<repo::Node> find_node(const repo::Repository& repository, const base::Id& root,
                                    const std::string& path) {
  if (path.empty() || path[0] != '/') throw base::UsageError("not an absolute path: " + path);
  base::Id tree = root;
  for (size_t from = 1;;) {
    const size_t slash = std::min(path.find('/', from), path.size());
    const std::string_view name = std::string_view(path).substr(from, slash - from);
    std::optional<repo::Node> found;
    const base::Bytes bytes = repository.load_blob(repo::BlobType::tree, tree);
    repo::parse_tree(bytes, [&](repo::Node&& node) {
      if (node.name == name) found = std::move(node);
    });
    if (!found || slash == path.size()) return found;
    if (found->type != repo::NodeType::dir || !found->subtree) return std::nullopt;
    tree = *found->subtree;
    from = slash + 1;
  }
}

}  // namespace davit::restore
