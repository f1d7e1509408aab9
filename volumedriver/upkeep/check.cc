#include "upkeep/check.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "base/crew.h"
#include "base/errors.h"
#include "base/synchronized.h"
#include "base/unreadable.h"
#include "crypto/sha256.h"
#include "repo/small_files.h"
#include "upkeep/affected.h"
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
    const repo::Repository::HealWatch watch(repository_, [this](const store::Name& name) {
      healed_.lock()->emplace(name.kind, name.id);
    });
    check_config_and_keys();
    for (const store::Kind kind : {store::Kind::snapshot, store::Kind::index})
      repository_.store().forget_copies(kind);
    // Snapshots before indexes, and those before packs, so that a backup that runs meanwhile is no
    // error.
    snapshots_ =
        read_snapshots(repository_, {}, [&](const base::Id& id, const std::string& reason) {
          error_in({store::Kind::snapshot, id}, "snapshot " + id.hex() + ": " + reason);
          report_.damaged_snapshots.push_back(id);
        });
    report_.snapshots = snapshots_.size();
    read_indexes();
    list_packs();
    read_packs_whole();
    walk_trees();
    tell_places();
    for (const auto& [sort, count] : surplus_)
      report_.errors.push_back(std::to_string(count) + " more of this kind: " + sort);
    tell_repaired();
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
  void error_in(const store::Name& name, std::string message) {
    wrong_.emplace(name.kind, name.id);
    error(std::string(store::kind_name(name.kind)) + " files", std::move(message));
  }
  void error_in_pack(uint32_t pack, const std::string& reason) {
    const base::Id& id = table_.packs()[pack].id;
    if (wrong_.emplace(store::Kind::data, id).second) report_.damaged_packs.push_back(id);
    error("packs", "pack " + id.hex() + ": " + reason);
  }

  // `look` throws what is wrong with the file. It is looked at again where it was put right.
  template <typename Look>
  void look_at(const store::Name& name, const std::string& what, const Look& look) {
    for (bool again = false;; again = true) {
      try {
        return look();
      } catch (const base::Error& failure) {
        if (base::is_place_failing(failure)) throw;
        if (!again && options_.before_heal) options_.before_heal();
        if (again || !repository_.heal(name)) return error_in(name, what + ": " + failure.what());
      }
    }
  }

  void check_config_and_keys() {
    look_at({store::Kind::config, {}}, "config", [&] {
      const base::Bytes sealed = repository_.store().get({store::Kind::config, {}}, kMaxSmallFile);
      if (repo::parse_config(crypto::open(repository_.key(), sealed)) != repository_.config())
        throw base::Corrupt("it is another repository's");
    });
    auto keys = list_ids(repository_.store(), store::Kind::key);
    // One that is missing beside others may have been removed by its owner.
    if (keys.empty() && repository_.heal({store::Kind::key, repository_.key_id()}))
      keys = list_ids(repository_.store(), store::Kind::key);
    for (const base::Id& id : keys)
      look_at({store::Kind::key, id}, "key " + id.hex(), [&] {
        const base::Bytes json = repository_.store().get({store::Kind::key, id}, kMaxSmallFile);
        if (crypto::sha256(json) != id)
          throw base::Corrupt("its content is not what its name says");
        repo::parse_key_file(json);
      });
    if (keys.empty())
      error("there is no key left: after a restart nobody can open this repository");
  }

  void read_indexes() {
    const auto files = list_ids(repository_.store(), store::Kind::index);
    table_ = BlobTable::load(
        repository_, files,
        [&](const base::Id& file, const std::string& reason) {
          error_in({store::Kind::index, file}, "index " + file.hex() + ": " + reason);
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
    asked_to_heal_.resize(sizes_.size());
    uint64_t orphans = 0, orphan_bytes = 0;
    repository_.store().list(store::Kind::data, [&](const store::FileInfo& file) {
      if (const auto number = table_.find_pack(file.id)) {
        sizes_[*number] = file.size_bytes;
      } else {
        ++orphans;
        orphan_bytes += file.size_bytes;
      }
    });
    if (orphans > 0)
      report_.hints.push_back(
          std::to_string(orphans) + " packs (" + base::human_size(orphan_bytes) +
          ") are in no index: of a backup that is running or was interrupted; prune removes them");
    std::vector<uint32_t> wrong;
    for (uint32_t i = 0; i < sizes_.size(); ++i)
      if (sizes_[i] != table_.packs()[i].size_bytes) wrong.push_back(i);
    if (wrong.empty()) return;
    base::for_each_parallel("heal packs", repository_.store().connections(), wrong.size(),
                            [&](size_t i) {
                              if (options_.stop.stop_requested()) throw base::Cancelled();
                              if (heal_pack(wrong[i])) sizes_[wrong[i]] = size_of(wrong[i]);
                            });
    std::vector<bool> is_wrong(sizes_.size());
    bool any = false;
    for (const uint32_t i : wrong) {
      const auto& pack = table_.packs()[i];
      if (sizes_[i] == pack.size_bytes) continue;
      is_wrong[i] = any = true;
      error_in_pack(i, sizes_[i] ? "has " + std::to_string(*sizes_[i]) + " bytes, the index says " +
                                       std::to_string(pack.size_bytes)
                                 : "is missing");
    }
    if (!any) return;
    for (size_t i = 0; i < table_.size(); ++i) {
      const auto& record = table_.record(i);
      const uint64_t end = uint64_t{record.offset_bytes} + record.length_bytes;
      if (is_wrong[record.pack] && end > sizes_[record.pack].value_or(0))
        table_.set(i, BlobTable::damaged);
    }
  }

  std::optional<uint64_t> size_of(uint32_t pack) {
    return repository_.store().find_size({store::Kind::data, table_.packs()[pack].id});
  }
  // Asks once for each pack. Different packs by different threads.
  bool heal_pack(uint32_t pack) {
    if (asked_to_heal_[pack]) return false;
    asked_to_heal_[pack] = true;
    if (options_.before_heal) options_.before_heal();
    return repository_.heal(
        {store::Kind::data, table_.packs()[pack].id, table_.packs()[pack].has_tree});
  }

  // By number of the pack the size of each that is to be read.
  std::vector<std::optional<uint64_t>> choose_packs() {
    std::vector<PackSize> there;
    std::vector<uint32_t> numbers;
    for (uint32_t i = 0; i < sizes_.size(); ++i) {
      if (!sizes_[i]) continue;
      there.push_back({table_.packs()[i].id, *sizes_[i]});
      numbers.push_back(i);
    }
    if (options_.on_packs) options_.on_packs(there);
    std::vector<bool> chosen(there.size(), options_.read_data);
    if (!options_.read_data && options_.choose) chosen = options_.choose(there);
    std::vector<std::optional<uint64_t>> sizes(sizes_.size());
    const auto take = [&](uint32_t number) {
      if (!sizes[number] && sizes_[number]) ++report_.packs_read;
      sizes[number] = sizes_[number];
    };
    for (size_t i = 0; i < there.size(); ++i)
      if (chosen[i]) take(numbers[i]);
    for (const base::Id& pack : options_.also_read)
      if (const auto number = table_.find_pack(pack)) take(*number);
    return sizes;
  }

  void read_packs_whole() {
    const auto sizes = choose_packs();
    if (report_.packs_read == 0) return;
    if (options_.progress) {
      uint64_t total_bytes = 0;
      for (const auto& size : sizes) total_bytes += size.value_or(0);
      options_.progress->bytes_total = total_bytes;
    }
    PackCheck check;
    check.progress = options_.progress;
    check.stop = options_.stop;
    check.on_error = [&](uint32_t pack, const std::string& reason) { error_in_pack(pack, reason); };
    check.heal = [&](uint32_t pack) { return heal_pack(pack); };
    check.on_away = [&](uint32_t, const base::IoError& error) {
      --report_.packs_read;
      if (!report_.away) report_.away = error;
    };
    if (options_.on_whole_pack)
      check.on_whole = [&](uint32_t pack) { options_.on_whole_pack(table_.packs()[pack].id); };
    report_.bytes_read = read_packs(repository_, table_, sizes, check);
  }

  void walk_trees() {
    WalkOptions options;
    options.on_problem = [&](const Problem& problem) {
      if (problem.kind == Problem::Kind::odd_tree) {
        if (++odd_trees_ <= 10)
          report_.hints.push_back("tree " + problem.id.hex() + ": " + problem.reason);
        return;
      }
      wrong_blobs_.insert(problem.id);
      if (problem.kind == Problem::Kind::unreadable_tree) note_packs_of_tree(problem.id);
      if (problems_.size() < kMaxPlaces)
        problems_.push_back(problem);
      else
        ++more_problems_;
    };
    options.progress = options_.progress;
    options.stop = options_.stop;
    const BlobTable* const tables[] = {&table_};
    report_.trees = mark_used(repository_, tables, snapshots_, options).trees;
  }

  // Its packs are not what they must be, although they may not have been read whole.
  void note_packs_of_tree(const base::Id& tree) {
    const auto copies = table_.find(repo::BlobType::tree, tree);
    for (size_t i = copies.first; i < copies.first + copies.count; ++i) {
      const base::Id& pack = table_.packs()[table_.record(i).pack].id;
      if (wrong_.emplace(store::Kind::data, pack).second) report_.damaged_packs.push_back(pack);
    }
  }

  // Says of each problem where a user would meet it.
  void tell_places() {
    if (problems_.empty()) return;
    const std::vector<base::Id> ids(wrong_blobs_.begin(), wrong_blobs_.end());
    const BlobTable* const tables[] = {&table_};
    const Affected affected =
        find_affected(repository_, tables, snapshots_, ids, kMaxPlaces, options_.stop);
    report_.damaged_snapshots.insert(report_.damaged_snapshots.end(), affected.snapshots.begin(),
                                     affected.snapshots.end());
    std::unordered_map<base::Id, std::vector<const Place*>> by_id;
    for (const auto& place : affected.places) by_id[place.id].push_back(&place);
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

  // What was put right and is whole now.
  void tell_repaired() {
    for (const auto& file : healed_.with([](const auto& all) { return all; })) {
      if (wrong_.contains(file)) continue;
      const store::Name name{file.first, file.second};
      report_.repaired.push_back(store::to_string(name) +
                                 ": was missing or damaged, and is whole again");
    }
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
  std::vector<char> asked_to_heal_;             // as sizes_
  std::set<std::pair<store::Kind, base::Id>> wrong_;
  base::Synchronized<std::set<std::pair<store::Kind, base::Id>>> healed_;
  std::vector<Problem> problems_;
  std::unordered_set<base::Id> wrong_blobs_;
  uint64_t more_problems_ = 0, odd_trees_ = 0;
};

}  // namespace

CheckReport check(repo::Repository& repository, const CheckOptions& options) {
  return Checker(repository, options).run();
}

}  // namespace davit::upkeep
