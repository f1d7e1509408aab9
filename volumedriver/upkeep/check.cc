#include "upkeep/check.h"

#include <algorithm>
#include <map>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "base/errors.h"
#include "crypto/sha256.h"
#include "repo/small_files.h"
#include "upkeep/blob_table.h"
#include "upkeep/check_packs.h"
#include "upkeep/used_blobs.h"

namespace davit::upkeep {

namespace {

// Of each sort of error so many are told one by one; the rest is a number.
constexpr size_t kMaxLines = 100;
constexpr size_t kMaxPlaces = 200;
constexpr uint64_t kMaxSmallFile = 1 << 20;

class Checker {
 public:
  Checker(repo::Repository& repository, const CheckOptions& options)
      : repository_(repository), options_(options) {}

  CheckReport run() {
    check_config_and_keys();
    for (const store::Kind kind : {store::Kind::snapshot, store::Kind::index})
      repository_.store().forget_copies(kind);
    // Snapshots before indexes, and those before packs, so that a backup that runs meanwhile is no
    // error.
    snapshots_ =
        read_snapshots(repository_, {}, [&](const base::Id& id, const std::string& reason) {
          error("snapshot " + id.hex() + ": " + reason);
        });
    report_.snapshots = snapshots_.size();
    read_indexes();
    list_packs();
    if (options_.read_data) read_all_packs();
    walk_trees();
    tell_places();
    for (const auto& [sort, count] : surplus_)
      report_.errors.push_back(std::to_string(count) + " more of this kind: " + sort);
    return std::move(report_);
  }

 private:
  void error(std::string message) { report_.errors.push_back(std::move(message)); }
  // For what may be wrong a million times at once.
  void error(const std::string& sort, std::string message) {
    if (++told_[sort] <= kMaxLines)
      error(std::move(message));
    else
      ++surplus_[sort];
  }

  void check_config_and_keys() {
    try {
      const base::Bytes sealed = repository_.store().get({store::Kind::config, {}}, kMaxSmallFile);
      const auto config = repo::parse_config(crypto::open(repository_.key(), sealed));
      if (config != repository_.config()) error("config: it is another repository's");
    } catch (const base::IoError&) {
      throw;
    } catch (const base::Error& failure) {
      error(std::string("config: ") + failure.what());
    }
    const auto keys = list_ids(repository_.store(), store::Kind::key);
    for (const base::Id& id : keys) {
      try {
        const base::Bytes json = repository_.store().get({store::Kind::key, id}, kMaxSmallFile);
        if (crypto::sha256(json) != id)
          throw base::Corrupt("its content is not what its name says");
        repo::parse_key_file(json);
      } catch (const base::IoError&) {
        throw;
      } catch (const base::Error& failure) {
        error("key " + id.hex() + ": " + failure.what());
      }
    }
    if (keys.empty())
      error("there is no key left: after a restart nobody can open this repository");
  }

  void read_indexes() {
    const auto files = list_ids(repository_.store(), store::Kind::index);
    table_ = BlobTable::load(
        repository_, files,
        [&](const base::Id& file, const std::string& reason) {
          error("index files", "index " + file.hex() + ": " + reason);
        },
        options_.stop);
    report_.packs = table_.packs().size();
    report_.blobs = table_.size();
    if (table_.repeated_packs() > 0)
      report_.hints.push_back(
          std::to_string(table_.repeated_packs()) +
          " packs are named by more than one index file; prune or `restic repair index` tidies up");
    uint64_t mixed = 0, duplicates = 0;
    for (const auto& pack : table_.packs())
      if (pack.has_data && pack.has_tree) ++mixed;
    for (size_t first = 0; first < table_.size();) {
      const size_t count = table_.copies_of(first).count;
      duplicates += count - 1;
      first += count;
    }
    if (mixed > 0)
      report_.hints.push_back(std::to_string(mixed) +
                              " packs hold both data and trees; prune sorts them out");
    if (duplicates > 0)
      report_.hints.push_back(std::to_string(duplicates) +
                              " blobs are stored twice or more; prune removes the copies");
  }

  void list_packs() {
    sizes_.resize(table_.packs().size());
    uint64_t orphans = 0, orphan_bytes = 0, total_bytes = 0;
    repository_.store().list(store::Kind::data, [&](const store::FileInfo& file) {
      if (const auto number = table_.find_pack(file.id)) {
        sizes_[*number] = file.size_bytes;
        total_bytes += file.size_bytes;
      } else {
        ++orphans;
        orphan_bytes += file.size_bytes;
      }
    });
    if (options_.progress && options_.read_data) options_.progress->bytes_total = total_bytes;
    if (orphans > 0)
      report_.hints.push_back(
          std::to_string(orphans) + " packs (" + base::human_size(orphan_bytes) +
          ") are in no index: of a backup that is running or was interrupted; prune removes them");
    std::vector<bool> is_wrong(sizes_.size());
    bool any = false;
    for (uint32_t i = 0; i < sizes_.size(); ++i) {
      const auto& pack = table_.packs()[i];
      if (sizes_[i] == pack.size_bytes) continue;
      is_wrong[i] = any = true;
      error("packs",
            "pack " + pack.id.hex() +
                (sizes_[i] ? ": has " + std::to_string(*sizes_[i]) + " bytes, the index says " +
                                 std::to_string(pack.size_bytes)
                           : ": is missing"));
    }
    if (!any) return;
    for (size_t i = 0; i < table_.size(); ++i) {
      const auto& record = table_.record(i);
      const uint64_t end = uint64_t{record.offset_bytes} + record.length_bytes;
      if (is_wrong[record.pack] && end > sizes_[record.pack].value_or(0))
        table_.set(i, BlobTable::damaged);
    }
  }

  void read_all_packs() {
    PackCheck check{options_.progress, options_.stop,
                    [&](uint32_t pack, const std::string& reason) {
                      error("packs", "pack " + table_.packs()[pack].id.hex() + ": " + reason);
                    }};
    report_.bytes_read = read_packs(repository_, table_, sizes_, check);
  }

  void walk_trees() {
    WalkOptions options;
    options.on_problem = [&](const Problem& problem) {
      if (problem.kind == Problem::Kind::odd_tree) {
        if (++odd_trees_ <= 10)
          report_.hints.push_back("tree " + problem.id.hex() + ": " + problem.reason);
      } else if (problems_.size() < kMaxPlaces) {
        problems_.push_back(problem);
      } else {
        ++more_problems_;
      }
    };
    options.progress = options_.progress;
    options.stop = options_.stop;
    const BlobTable* const tables[] = {&table_};
    report_.trees = mark_used(repository_, tables, snapshots_, options).trees;
  }

  // Says of each problem where a user would meet it.
  void tell_places() {
    if (problems_.empty()) return;
    std::vector<base::Id> ids;
    for (const auto& problem : problems_) ids.push_back(problem.id);
    const BlobTable* const tables[] = {&table_};
    const auto places =
        find_places(repository_, tables, snapshots_, ids, kMaxPlaces, options_.stop);
    std::unordered_map<base::Id, std::vector<const Place*>> by_id;
    for (const auto& place : places) by_id[place.id].push_back(&place);
    for (const auto& problem : problems_) {
      const auto found = by_id.find(problem.id);
      if (found == by_id.end()) {
        error(describe(problem, ""));
        continue;
      }
      for (const Place* place : found->second)
        error("snapshot " + place->snapshot.short_hex() + ", " + describe(problem, place->path));
    }
    if (more_problems_ > 0)
      error(std::to_string(more_problems_) + " more trees or blobs that files need are wrong");
  }

  static std::string describe(const Problem& problem, const std::string& path) {
    const std::string id = problem.id.hex();
    const std::string where = path.empty() ? "" : path + ": ";
    switch (problem.kind) {
      case Problem::Kind::unreadable_tree:
        return where + "tree " + id + ": " + problem.reason;
      case Problem::Kind::lost_data:
        return where + "data blob " + id + " " + problem.reason;
      default:
        return (path == "/" ? "" : path) + "/" + problem.name + " " + problem.reason + " (tree " +
               id + ")";
    }
  }

  repo::Repository& repository_;
  const CheckOptions& options_;
  CheckReport report_;
  std::map<std::string, size_t> told_, surplus_;
  std::vector<repo::Repository::SnapshotFile> snapshots_;
  BlobTable table_;
  std::vector<std::optional<uint64_t>> sizes_;  // by number of the pack
  std::vector<Problem> problems_;
  uint64_t more_problems_ = 0, odd_trees_ = 0;
};

}  // namespace

CheckReport check(repo::Repository& repository, const CheckOptions& options) {
  return Checker(repository, options).run();
}

}  // namespace davit::upkeep
