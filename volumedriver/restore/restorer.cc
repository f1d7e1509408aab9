#include "restore/restorer.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/crew.h"
#include "base/errors.h"
#include "base/fault.h"
#include "repo/tree.h"
#include "restore/content.h"
#include "restore/find_node.h"
#include "restore/seed.h"
#include "restore/sink.h"

namespace davit::restore {

namespace {

// Deeper than any file system lets a person go by accident; a snapshot may be built by hand.
constexpr size_t kMaxDepth = 1 << 20;

// Goes through the snapshot's trees, makes directories and special files, and plans the contents.
class TreeWalk {
 public:
  TreeWalk(const repo::Repository& repository, Sink& sink, Content& content, Seed* seed,
           const Options& options)
      : repository_(repository), sink_(sink), content_(content), seed_(seed), options_(options) {}

  void run(const repo::Node& root) {
    enter(root);
    while (!levels_.empty()) {
      if (options_.stop.stop_requested()) throw base::Cancelled();
      Level& level = levels_.back();
      if (level.next < level.nodes.size()) {
        visit(std::move(level.nodes[level.next++]));
        continue;
      }
      if (seed_) seed_->leave(level.tree);
      levels_.pop_back();
      if (!levels_.empty()) sink_.leave();
    }
    content_.close();
  }

 private:
  struct Level {
    base::Id tree;
    std::vector<repo::Node> nodes;
    size_t next = 0;
  };

  // The sink stands in the directory already.
  void enter(const repo::Node& node) {
    if (!node.subtree)
      throw base::Corrupt("a directory of the snapshot has no list of its entries");
    if (levels_.size() >= kMaxDepth) throw base::Corrupt("the snapshot's directories are too deep");
    if (seed_) seed_->enter(levels_.empty() ? "" : node.name);
    levels_.push_back({*node.subtree, load_tree(repository_, *node.subtree), 0});
  }

  void visit(repo::Node node) {
    switch (node.type) {
      case repo::NodeType::dir:
        sink_.enter(node);
        enter(node);
        return;
      case repo::NodeType::file: {
        const uint64_t number = seed_ ? seed_->add(node) : 0;
        base::Fd made;
        ++sink_.result().files;
        sink_.result().bytes += node.size;
        if (sink_.link(node, made) == Sink::Link::further) {
          if (seed_) seed_->stamps().pass_over(number);
          if (options_.progress) {
            options_.progress->files_done.fetch_add(1, std::memory_order_relaxed);
            options_.progress->bytes_done.fetch_add(node.size, std::memory_order_relaxed);
          }
          return;
        }
        content_.add(std::move(node), std::move(made), number);
        return;
      }
      default:
        sink_.make_special(node);
    }
  }

  const repo::Repository& repository_;
  Sink& sink_;
  Content& content_;
  Seed* seed_;
  const Options& options_;
  std::vector<Level> levels_;
};

}  // namespace

Result restore_tree(const repo::Repository& repository, const base::Id& root,
                    const std::string& path, int directory, const Options& options) {
  const auto node = find_node(repository, root, path);
  if (!node) throw base::NotFound("the snapshot holds no " + path);
  if (node->type != repo::NodeType::dir)
    throw base::NotFound(path + " is no directory in the snapshot");

  std::unique_ptr<Seed> seed;
  if (!options.scan_cache_path.empty())
    seed = std::make_unique<Seed>(options.scan_cache_path, repository.id());
  Sink sink(directory, *node);
  const unsigned threads =
      std::min(32u, base::processor_count() + repository.store().connections());
  Content content(repository, sink, threads, seed ? &seed->stamps() : nullptr, options.progress,
                  options.stop);
  base::Crew crew([&] { content.stop(); });
  crew.start("plan", [&] { TreeWalk(repository, sink, content, seed.get(), options).run(*node); });
  for (unsigned i = 0; i < threads; ++i) crew.start("fill", [&] { content.run(); });
  crew.join();
  // From here on all content is in place, and every directory but the root has its metadata.

  sink.finish();
  base::fault_point("restore:filled");
  if (options.sync && ::syncfs(directory) != 0)
    base::throw_errno("cannot sync what was restored", errno);
  if (seed) seed->finish(directory, root);
  base::fault_point("restore:done");
  Result result = std::move(sink.result());
  if (options.progress) {
    options.progress->files_total = result.files;
    options.progress->bytes_total = result.bytes;
    options.progress->errors = result.problem_count;
  }
  return result;
}

std::optional<base::Bytes> find_small_file(const repo::Repository& repository, const base::Id& root,
                                           const std::string& path, size_t max_bytes) {
  const auto node = find_node(repository, root, path);
  if (!node || node->type != repo::NodeType::file) return std::nullopt;
  base::Bytes bytes;
  for (const base::Id& id : node->content) {
    const auto location = repository.index().find(repo::BlobType::data, id);
    // Before it is loaded: a hostile index may promise gigabytes.
    const size_t promised = location ? std::max(location->plain_length, location->length) : 0;
    if (promised > max_bytes + (64 << 10) || bytes.size() + promised > max_bytes + (64 << 10))
      throw base::Corrupt(path + " is larger than it can be");
    base::append(bytes, repository.load_blob(repo::BlobType::data, id));
  }
  if (bytes.size() > max_bytes) throw base::Corrupt(path + " is larger than it can be");
  return bytes;
}

}  // namespace davit::restore
