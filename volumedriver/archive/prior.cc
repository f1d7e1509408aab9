#include "archive/prior.h"

#include <algorithm>
#include <chrono>

#include "base/errors.h"
#include "base/log.h"

namespace davit::archive {

namespace {

class Nothing : public Prior {
 public:
  bool enter(const std::string&) override { return false; }
  base::Id leave() override { return {}; }
  std::optional<repo::ScanRecord> find(const std::string&) override { return std::nullopt; }
};

class CachedPrior : public Prior {
 public:
  CachedPrior(std::unique_ptr<repo::ScanCacheReader> reader, bool same_context)
      : reader_(std::move(reader)), same_context_(same_context) {}
  bool enter(const std::string& name) override { return reader_->enter(name); }
  base::Id leave() override { return reader_->leave(); }
  std::optional<repo::ScanRecord> find(const std::string& name) override {
    return reader_->find(name);
  }
  repo::ScanCacheReader* cache() override { return same_context_ ? reader_.get() : nullptr; }

 private:
  std::unique_ptr<repo::ScanCacheReader> reader_;
  const bool same_context_;
};

// Holds the listings of the directories from the root to the current one.
class ParentTree : public Prior {
 public:
  // What changed after `read_at` may have changed while it was read.
  ParentTree(const repo::Repository& repository, repo::NodeTime read_at, const base::Id& root)
      : repository_(repository), read_at_(read_at), root_(root) {}

  bool enter(const std::string& name) override {
    if (levels_.empty()) return push(root_);
    const repo::Node* node = seek(name);
    return node && node->type == repo::NodeType::dir && node->subtree && push(*node->subtree);
  }

  base::Id leave() override {
    const base::Id tree = levels_.back().tree;
    levels_.pop_back();
    return tree;
  }

  std::optional<repo::ScanRecord> find(const std::string& name) override {
    repo::Node* node = seek(name);
    if (!node || node->type != repo::NodeType::file || node->content_missing) return std::nullopt;
    repo::ScanRecord record;
    record.name = name;
    record.trusted = node->ctime < read_at_ && is_settled(node->mtime);
    record.inode = node->inode;
    record.size_bytes = node->size;
    record.mtime = node->mtime;
    record.ctime = node->ctime;
    record.xattrs = std::move(node->xattrs);
    record.content = std::move(node->content);
    return record;
  }

 private:
  struct Level {
    base::Id tree;
    std::vector<repo::Node> nodes;
    size_t next = 0;
  };

  // One far in the future was set by hand, and does not tell of a change during the run.
  bool is_settled(const repo::NodeTime& mtime) const {
    constexpr int64_t kLongestRun = 7 * 24 * 3600;
    return mtime < read_at_ || mtime.seconds > read_at_.seconds + kLongestRun;
  }

  bool push(const base::Id& tree) {
    Level level;
    level.tree = tree;
    try {
      level.nodes = repo::parse_tree(repository_.load_blob(repo::BlobType::tree, tree));
    } catch (const base::Error& error) {
      spdlog::warn("a tree of the parent snapshot cannot be used: {}", error.what());
      return false;
    }
    if (!std::is_sorted(level.nodes.begin(), level.nodes.end(),
                        [](const auto& a, const auto& b) { return a.name < b.name; }))
      return false;
    levels_.push_back(std::move(level));
    return true;
  }

  repo::Node* seek(const std::string& name) {
    Level& level = levels_.back();
    while (level.next < level.nodes.size() && level.nodes[level.next].name < name) ++level.next;
    if (level.next == level.nodes.size() || level.nodes[level.next].name != name) return nullptr;
    return &level.nodes[level.next];
  }

  const repo::Repository& repository_;
  const repo::NodeTime read_at_;
  const base::Id root_;
  std::vector<Level> levels_;
};

// The tree of the directory at `path`; nothing where there is none.
std::optional<base::Id> find_tree(const repo::Repository& repository, base::Id tree,
                                  const std::vector<std::string>& path) {
  for (const std::string& name : path) {
    const auto nodes = repo::parse_tree(repository.load_blob(repo::BlobType::tree, tree));
    const auto node = std::find_if(nodes.begin(), nodes.end(),
                                   [&](const repo::Node& node) { return node.name == name; });
    if (node == nodes.end() || node->type != repo::NodeType::dir || !node->subtree)
      return std::nullopt;
    tree = *node->subtree;
  }
  return tree;
}

std::unique_ptr<Prior> open_parent(const repo::Repository& repository, const base::Id& parent,
                                   const std::vector<std::string>& path) {
  const repo::Snapshot snapshot = repository.load_snapshot(parent);
  const auto tree = find_tree(repository, snapshot.tree, path);
  if (!tree) return nullptr;
  // The snapshot's time is when the run began. Clocks of file systems tick up to 2 s coarsely.
  const auto limit = snapshot.time.time.time_since_epoch() - std::chrono::seconds(2);
  const auto seconds = std::chrono::floor<std::chrono::seconds>(limit);
  const repo::NodeTime read_at{seconds.count(), static_cast<uint32_t>((limit - seconds).count())};
  return std::make_unique<ParentTree>(repository, read_at, *tree);
}

}  // namespace

std::unique_ptr<Prior> open_prior(const repo::Repository& repository,
                                  const std::string& scan_cache_path, const base::Id& context,
                                  const std::optional<base::Id>& parent,
                                  const std::vector<std::string>& path) {
  if (!scan_cache_path.empty())
    if (auto reader = repo::ScanCacheReader::open(scan_cache_path, repository.id())) {
      const bool same_context = reader->context() == context;
      return std::make_unique<CachedPrior>(std::move(reader), same_context);
    }
  if (parent) {
    try {
      if (auto tree = open_parent(repository, *parent, path)) return tree;
    } catch (const base::Error& error) {
      spdlog::warn("the parent snapshot {} cannot be used: {}", parent->short_hex(), error.what());
    }
  }
  return std::make_unique<Nothing>();
}

}  // namespace davit::archive
