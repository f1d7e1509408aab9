#include "upkeep/used_blobs.h"

#include <algorithm>
#include <mutex>

#include "base/crew.h"
#include "base/errors.h"
#include "crypto/seal.h"
#include "repo/codec.h"
#include "repo/tree.h"
#include "upkeep/affected.h"
#include "upkeep/work_stack.h"

namespace davit::upkeep {

namespace {

using repo::BlobType;
using Snapshots = std::span<const repo::Repository::SnapshotFile>;
using Tables = std::span<const BlobTable* const>;

// A blob in one of the tables.
struct Found {
  uint32_t table = 0;
  BlobTable::Copies copies;
};

Found find_in(Tables tables, BlobType type, const base::Id& id) {
  for (uint32_t i = 0; i < tables.size(); ++i)
    if (const auto copies = tables[i]->find(type, id); !copies.empty()) return {i, copies};
  return {};
}

// A tree that waits: which table, and its first copy there.
struct Waiting {
  uint32_t table = 0;
  uint32_t record = 0;
};

class Walk {
 public:
  Walk(const repo::Repository& repository, Tables tables, const WalkOptions& options)
      : repository_(repository), tables_(tables), options_(options) {}

  WalkCounts run(Snapshots snapshots) {
    std::vector<Waiting> roots;
    for (const auto& file : snapshots) reach_tree(file.snapshot.tree, roots);
    stack_.push(roots);
    std::stop_callback on_stop(options_.stop, [&] { stack_.stop(); });
    {
      base::Crew crew([&] { stack_.stop(); });
      for (unsigned i = 0; i < base::processor_count(); ++i)
        crew.start("walk trees", [&] { work(); });
      crew.join();
    }
    if (options_.stop.stop_requested()) throw base::Cancelled();
    return {trees_};
  }

 private:
  void work() {
    base::Bytes bytes;
    std::vector<Waiting> found;
    for (bool was_busy = false; auto tree = stack_.pop(was_busy); was_busy = true) {
      found.clear();
      read_tree(*tree, bytes, found);
      stack_.push(found);
    }
  }

  void read_tree(const Waiting& tree, base::Bytes& bytes, std::vector<Waiting>& found) {
    const BlobTable& table = *tables_[tree.table];
    const auto copies = table.copies_of(tree.record);
    const base::Id& id = table.record(tree.record).id;
    ++trees_;
    try {
      load_from_any(repository_, table, copies, bytes);
      const auto summary =
          repo::parse_tree(bytes, [&](repo::Node&& node) { reach(id, node, found); });
      if (!summary.ascending)
        report(
            {Problem::Kind::odd_tree, id, "", "its names are not in order, or one is there twice"});
    } catch (const base::IoError& error) {
      if (error.transient()) throw;  // says nothing about the tree
      report({Problem::Kind::unreadable_tree, id, "", error.what()});
    } catch (const base::Error& error) {
      report({Problem::Kind::unreadable_tree, id, "", error.what()});
    }
    if (options_.progress) ++options_.progress->files_done;
  }

  void reach(const base::Id& tree, const repo::Node& node, std::vector<Waiting>& found) {
    if (node.type == repo::NodeType::dir) {
      if (node.subtree)
        reach_tree(*node.subtree, found);
      else
        report({Problem::Kind::bad_node, tree, node.name, "is a directory without a tree"});
    } else if (node.type == repo::NodeType::file) {
      reach_content(tree, node);
    }
  }

  void reach_tree(const base::Id& id, std::vector<Waiting>& found) {
    const auto [table, copies] = find_in(tables_, BlobType::tree, id);
    if (copies.empty()) {
      report_once({Problem::Kind::unreadable_tree, id, "", "is in no index"});
    } else if (tables_[table]->set(copies.first, BlobTable::used)) {
      found.push_back({table, static_cast<uint32_t>(copies.first)});
    }
  }

  void reach_content(const base::Id& tree, const repo::Node& node) {
    if (node.content_missing)
      report({Problem::Kind::bad_node, tree, node.name, "has no list of content"});
    uint64_t size_bytes = 0;
    bool complete = true;
    for (const base::Id& id : node.content) {
      const auto [number, copies] = find_in(tables_, BlobType::data, id);
      if (copies.empty()) {
        report_once({Problem::Kind::lost_data, id, "", "is in no index"});
        complete = false;
        continue;
      }
      const BlobTable& table = *tables_[number];
      if (table.set(copies.first, BlobTable::used) && table.has(copies.first, BlobTable::damaged) &&
          table.is_lost(copies))
        report_once({Problem::Kind::lost_data, id, "",
                     "cannot be read from pack " +
                         table.packs()[table.record(copies.first).pack].id.hex()});
      const auto& record = table.record(copies.first);
      size_bytes += record.plain_length_bytes
                        ? record.plain_length_bytes
                        : record.length_bytes -
                              std::min<uint64_t>(record.length_bytes, crypto::kSealOverhead);
    }
    if (complete && size_bytes != node.size)
      report({Problem::Kind::bad_node, tree, node.name,
              "says that it has " + std::to_string(node.size) + " bytes, but its content has " +
                  std::to_string(size_bytes)});
  }

  void report_once(Problem problem) {
    {
      std::lock_guard lock(reporting_);
      if (reported_.size() < 100'000 && !reported_.insert(problem.id).second) return;
    }
    report(std::move(problem));
  }

  void report(const Problem& problem) {
    if (!options_.on_problem) {
      if (problem.kind == Problem::Kind::lost_data ||
          problem.kind == Problem::Kind::unreadable_tree)
        throw Stop{problem};
      return;
    }
    std::lock_guard lock(reporting_);
    options_.on_problem(problem);
  }

 public:
  // Ends a walk that must not go on. Not an Error: nothing on the way may take it for a damaged
  // tree.
  struct Stop {
    Problem problem;
  };

 private:
  const repo::Repository& repository_;
  const Tables tables_;
  const WalkOptions& options_;
  WorkStack<Waiting> stack_;
  std::atomic<uint64_t> trees_{0};
  std::mutex reporting_;
  std::unordered_set<base::Id> reported_;
};

[[noreturn]] void throw_with_place(const repo::Repository& repository, Tables tables,
                                   Snapshots snapshots, const Problem& problem,
                                   std::stop_token stop) {
  const bool is_tree = problem.kind == Problem::Kind::unreadable_tree;
  std::string message =
      std::string(is_tree ? "tree " : "data blob ") + problem.id.hex() + ": " + problem.reason;
  const auto places =
      find_affected(repository, tables, snapshots, std::span(&problem.id, 1), 1, stop).places;
  if (!places.empty())
    message = "snapshot " + places[0].snapshot.short_hex() + ", " + places[0].path + ": " + message;
  throw base::Corrupt(message);
}

}  // namespace

WalkCounts mark_used(const repo::Repository& repository, Tables tables, Snapshots snapshots,
                     const WalkOptions& options) {
  Walk walk(repository, tables, options);
  try {
    return walk.run(snapshots);
  } catch (const Walk::Stop& stop) {
    throw_with_place(repository, tables, snapshots, stop.problem, options.stop);
  }
}

void load_from_any(const repo::Repository& repository, const BlobTable& table,
                   const BlobTable::Copies& copies, base::Bytes& out) {
  if (copies.empty()) throw base::NotFound("the blob is in no index");
  for (size_t i = copies.first;; ++i) {
    try {
      return repository.load_blob_from(table.location(i), table.type(i), table.record(i).id, out);
    } catch (const base::Error&) {
      if (i + 1 == copies.first + copies.count) throw;
    }
  }
}

std::vector<repo::Repository::SnapshotFile> read_snapshots(
    const repo::Repository& repository, const std::unordered_set<base::Id>& known,
    const std::function<void(const base::Id&, const std::string&)>& on_error) {
  std::vector<repo::Repository::SnapshotFile> files;
  for (const base::Id& id : list_ids(repository.store(), store::Kind::snapshot)) {
    if (known.contains(id)) continue;
    try {
      const base::Bytes json = repository.load_unpacked(store::Kind::snapshot, id);
      repo::Repository::SnapshotFile file{id, repo::parse_snapshot(json)};
      file.snapshot.id = id;
      files.push_back(std::move(file));
    } catch (const base::NotFound&) {
      // Forgotten since it was listed.
    } catch (const base::Error& error) {
      const auto* io = dynamic_cast<const base::IoError*>(&error);
      if (io && io->transient()) throw;
      if (!on_error) throw base::Corrupt("snapshot " + id.hex() + ": " + error.what());
      on_error(id, error.what());
    }
  }
  std::stable_sort(files.begin(), files.end(), [](const auto& a, const auto& b) {
    return a.snapshot.time.time < b.snapshot.time.time;
  });
  return files;
}

}  // namespace davit::upkeep
