#include "upkeep/affected.h"

#include <algorithm>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "base/errors.h"
#include "repo/tree.h"
#include "upkeep/used_blobs.h"

namespace davit::upkeep {

namespace {

constexpr size_t kPlacesOfOne = 3;

class Finder {
 public:
  Finder(const repo::Repository& repository, std::span<const BlobTable* const> tables,
         std::span<const base::Id> ids, size_t max_places, std::stop_token stop)
      : repository_(repository),
        tables_(tables),
        wanted_(ids.begin(), ids.end()),
        max_places_(max_places),
        places_of_one_(std::max(kPlacesOfOne, max_places / std::max<size_t>(1, wanted_.size()))),
        stop_(std::move(stop)) {}

  void search(const repo::Repository::SnapshotFile& file) {
    judge(file.snapshot.tree);
    if (!is_affected_[file.snapshot.tree]) return;
    found.snapshots.push_back(file.id);
    note_places(file);
  }

  Affected found;

 private:
  struct Frame {
    base::Id tree;
    bool is_affected = false;
    std::vector<base::Id> subtrees;  // that are not looked at yet
  };

  // From the leaves to the root: whether a tree needs one of the blobs.
  void judge(const base::Id& root) {
    std::vector<Frame> path;
    const auto enter = [&](const base::Id& tree) {
      Frame& frame = path.emplace_back();
      frame.tree = tree;
      frame.is_affected = wanted_.contains(tree);
      is_affected_.emplace(tree, frame.is_affected);  // ends the walk where a tree holds itself
      for_each_node(tree, [&](const repo::Node& node) {
        for (const base::Id& id : node.content)
          if (wanted_.contains(id)) frame.is_affected = true;
        if (node.subtree) frame.subtrees.push_back(*node.subtree);
      });
    };
    if (!is_affected_.contains(root)) enter(root);
    while (!path.empty()) {
      Frame& frame = path.back();
      if (frame.subtrees.empty()) {
        const bool is_affected = is_affected_[frame.tree] = frame.is_affected;
        path.pop_back();
        if (is_affected && !path.empty()) path.back().is_affected = true;
        continue;
      }
      const base::Id next = frame.subtrees.back();
      frame.subtrees.pop_back();
      if (const auto known = is_affected_.find(next); known != is_affected_.end())
        frame.is_affected |= known->second;
      else
        enter(next);
    }
  }

  // Goes down only where something is.
  void note_places(const repo::Repository::SnapshotFile& file) {
    struct Directory {
      base::Id tree;
      std::string path;
    };
    std::vector<Directory> waiting{{file.snapshot.tree, ""}};
    std::unordered_set<base::Id> entered;  // a directory that is there twice is told once
    std::unordered_map<base::Id, size_t> noted;
    const auto note = [&](const base::Id& id, const std::string& path) {
      if (found.places.size() >= max_places_ || !wanted_.contains(id)) return;
      if (noted[id] >= kPlacesOfOne || noted_[id] >= places_of_one_) return;
      ++noted[id];
      ++noted_[id];
      found.places.push_back({id, file.id, path});
    };
    while (!waiting.empty() && found.places.size() < max_places_) {
      const Directory directory = std::move(waiting.back());
      waiting.pop_back();
      note(directory.tree, directory.path.empty() ? "/" : directory.path);
      if (!entered.insert(directory.tree).second) continue;
      for_each_node(directory.tree, [&](const repo::Node& node) {
        std::string path = directory.path + "/" + node.name;
        std::set<base::Id> needed;  // once, however often it is in the file
        for (const base::Id& id : node.content)
          if (wanted_.contains(id)) needed.insert(id);
        for (const base::Id& id : needed) note(id, path);
        if (!node.subtree) return;
        const auto known = is_affected_.find(*node.subtree);
        if (known != is_affected_.end() && known->second)
          waiting.push_back({*node.subtree, std::move(path)});
      });
    }
  }

  void for_each_node(const base::Id& tree, const std::function<void(const repo::Node&)>& each) {
    if (stop_.stop_requested()) throw base::Cancelled();
    for (const BlobTable* table : tables_) {
      const auto copies = table->find(repo::BlobType::tree, tree);
      if (copies.empty()) continue;
      try {
        load_from_any(repository_, *table, copies, bytes_);
        repo::parse_tree(bytes_, [&](repo::Node&& node) { each(node); });
      } catch (const base::IoError& error) {
        if (error.transient()) throw;
      } catch (const base::Error&) {  // reported by the walk that made us search
      }
      return;
    }
  }

  const repo::Repository& repository_;
  const std::span<const BlobTable* const> tables_;
  const std::unordered_set<base::Id> wanted_;
  const size_t max_places_, places_of_one_;
  const std::stop_token stop_;
  base::Bytes bytes_;
  std::unordered_map<base::Id, bool> is_affected_;  // by tree
  std::unordered_map<base::Id, size_t> noted_;
};

}  // namespace

Affected find_affected(const repo::Repository& repository, std::span<const BlobTable* const> tables,
                       std::span<const repo::Repository::SnapshotFile> snapshots,
                       std::span<const base::Id> ids, size_t max_places, std::stop_token stop) {
  Finder finder(repository, tables, ids, max_places, std::move(stop));
  for (const auto& file : snapshots) finder.search(file);
  return std::move(finder.found);
}

}  // namespace davit::upkeep
