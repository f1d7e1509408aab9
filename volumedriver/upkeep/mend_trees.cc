#include "upkeep/mend_trees.h"

#include <algorithm>

#include "base/errors.h"
#include "crypto/seal.h"
#include "upkeep/used_blobs.h"

namespace davit::upkeep {

namespace {

uint64_t plain_size(const BlobTable::Record& record) {
  if (record.plain_length_bytes != 0) return record.plain_length_bytes;
  return record.length_bytes - std::min<uint64_t>(record.length_bytes, crypto::kSealOverhead);
}

}  // namespace

std::optional<base::Id> TreeMender::mend(const base::Id& root) {
  std::vector<Frame> path;
  // True where the tree is known by now.
  const auto enter = [&](const base::Id& tree) {
    if (same_.contains(tree) || changed_.contains(tree)) return true;
    if (stop_.stop_requested()) throw base::Cancelled();
    auto nodes = read(tree);
    if (progress_) ++progress_->files_done;
    if (!nodes) {
      lost_.insert(tree);
      changed_.emplace(tree, Change{});
      return true;
    }
    Frame& frame = path.emplace_back();
    frame.tree = tree;
    frame.nodes = std::move(*nodes);
    return false;
  };
  enter(root);
  while (!path.empty()) {
    const size_t depth = path.size() - 1;
    if (path[depth].next == path[depth].nodes.size()) {
      finish(path[depth]);
      path.pop_back();
      continue;
    }
    Frame& frame = path[depth];
    repo::Node& node = frame.nodes[frame.next];
    if (node.subtree && !enter(base::Id(*node.subtree))) continue;  // first what is below it
    mend_node(path[depth], path[depth].nodes[path[depth].next]);
    ++path[depth].next;
  }
  if (same_.contains(root)) return root;
  return changed_.at(root).tree;
}

std::optional<std::vector<repo::Node>> TreeMender::read(const base::Id& tree) {
  const auto copies = table_.find(repo::BlobType::tree, tree);
  if (copies.empty()) return std::nullopt;
  try {
    load_from_any(repository_, table_, copies, bytes_);
    return repo::parse_tree(bytes_);
  } catch (const base::IoError&) {
    throw;  // says nothing about the tree
  } catch (const base::Error&) {
  }
  return std::nullopt;
}

void TreeMender::mend_node(Frame& frame, repo::Node& node) {
  const auto lost = [&](const std::string& what) {
    change_of(frame).lost.emplace_back(node.name, what);
  };
  if (node.type == repo::NodeType::dir) {
    if (!node.subtree) {
      lost("a directory without a list of what was in it; it is empty now");
      node.subtree = empty_tree();
      return;
    }
    const auto below = changed_.find(*node.subtree);
    if (below == changed_.end()) return;
    if (below->second.tree) {
      change_of(frame).below.emplace_back(node.name, *node.subtree);
      node.subtree = below->second.tree;
    } else {
      lost("the directory cannot be read: all that was in it is lost");
      node.subtree = empty_tree();
    }
    return;
  }
  if (node.type != repo::NodeType::file) return;
  std::vector<base::Id> kept;
  uint64_t size_bytes = 0;
  for (const base::Id& id : node.content) {
    const auto copies = table_.find(repo::BlobType::data, id);
    if (copies.empty()) {
      lost_.insert(id);
      continue;
    }
    kept.push_back(id);
    size_bytes += plain_size(table_.record(copies.first));
  }
  if (kept.size() == node.content.size() && size_bytes == node.size && !node.content_missing)
    return;
  if (size_bytes < node.size)
    lost("lost " + std::to_string(node.size - size_bytes) + " of " + std::to_string(node.size) +
         " bytes");
  else
    lost("had a wrong size: " + std::to_string(node.size) + " bytes were said, there are " +
         std::to_string(size_bytes));
  node.content = std::move(kept);
  node.content_missing = false;
  node.size = size_bytes;
}

TreeMender::Change& TreeMender::change_of(Frame& frame) {
  frame.is_changed = true;
  return frame.change;
}

void TreeMender::finish(Frame& frame) {
  if (!frame.is_changed) {
    same_.insert(frame.tree);
    return;
  }
  // What a foreign writer put in another order, or twice.
  auto& nodes = frame.nodes;
  std::stable_sort(nodes.begin(), nodes.end(),
                   [](const repo::Node& a, const repo::Node& b) { return a.name < b.name; });
  repo::TreeEncoder encoder;
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (i > 0 && nodes[i].name == nodes[i - 1].name)
      frame.change.lost.emplace_back(nodes[i].name, "was there twice; the second one is lost");
    else
      encoder.add(nodes[i]);
  }
  frame.change.tree = session_.save_blob(repo::BlobType::tree, encoder.finish()).id;
  changed_.emplace(frame.tree, std::move(frame.change));
}

const base::Id& TreeMender::empty_tree() {
  if (!empty_tree_)
    empty_tree_ = session_.save_blob(repo::BlobType::tree, repo::TreeEncoder().finish()).id;
  return *empty_tree_;
}

void TreeMender::for_each_lost(
    const base::Id& root,
    const std::function<void(const std::string&, const std::string&)>& each) const {
  std::vector<std::pair<std::string, base::Id>> waiting{{"", root}};
  while (!waiting.empty()) {
    const auto [path, tree] = std::move(waiting.back());
    waiting.pop_back();
    const auto found = changed_.find(tree);
    if (found == changed_.end()) continue;
    const Change& change = found->second;
    if (!change.tree)
      each(path.empty() ? "/" : path, "the directory cannot be read: all that was in it is lost");
    for (const auto& [name, what] : change.lost) each(path + "/" + name, what);
    for (const auto& [name, below] : change.below) waiting.emplace_back(path + "/" + name, below);
  }
}

}  // namespace davit::upkeep
