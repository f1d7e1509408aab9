// Trees without what is lost: a tree that needs a blob that no index names, or a tree that cannot
// be read, is written anew, and so are those above it. All others stay as they are.
#pragma once

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/id.h"
#include "base/progress.h"
#include "repo/repository.h"
#include "repo/tree.h"
#include "repo/upload.h"
#include "upkeep/blob_table.h"

namespace davit::upkeep {

// One thread. Memory: 100 bytes a tree, and what is told of those that change.
class TreeMender {
 public:
  // Every blob that `table` names counts as there, but trees that cannot be read. New trees go to
  // `session`.
  TreeMender(const repo::Repository& repository, const BlobTable& table,
             repo::UploadSession& session, base::Progress* progress, std::stop_token stop)
      : repository_(repository),
        table_(table),
        session_(session),
        progress_(progress),
        stop_(std::move(stop)) {}

  // The tree to use instead; the same where nothing is lost, nothing where it cannot be read.
  // Throws what the store and the session throw.
  std::optional<base::Id> mend(const base::Id& root);
  // Every file and directory below the tree that lost something.
  void for_each_lost(
      const base::Id& root,
      const std::function<void(const std::string& path, const std::string& what)>& each) const;
  // Data blobs and trees that are lost, each once.
  size_t lost_blobs() const { return lost_.size(); }

 private:
  // What became of a tree that changed.
  struct Change {
    std::optional<base::Id> tree{};                           // nothing: it cannot be read
    std::vector<std::pair<std::string, std::string>> lost{};  // name, what
    std::vector<std::pair<std::string, base::Id>> below{};    // name, former tree
  };
  struct Frame {
    base::Id tree;
    std::vector<repo::Node> nodes;
    size_t next = 0;  // the first that is not looked at yet
    bool is_changed = false;
    Change change;
  };

  // Nothing where it cannot be read.
  std::optional<std::vector<repo::Node>> read(const base::Id& tree);
  // What is below it is known.
  void mend_node(Frame& frame, repo::Node& node);
  static Change& change_of(Frame& frame);
  void finish(Frame& frame);
  const base::Id& empty_tree();

  const repo::Repository& repository_;
  const BlobTable& table_;
  repo::UploadSession& session_;
  base::Progress* const progress_;
  const std::stop_token stop_;
  base::Bytes bytes_;
  std::unordered_set<base::Id> same_;
  std::unordered_map<base::Id, Change> changed_;  // by the former tree
  std::unordered_set<base::Id> lost_;
  std::optional<base::Id> empty_tree_;
};

}  // namespace davit::upkeep
