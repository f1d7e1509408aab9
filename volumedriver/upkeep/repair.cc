#include "upkeep/repair.h"

#include <algorithm>
#include <memory>
#include <set>

#include "base/errors.h"
#include "base/synchronized.h"
#include "base/unreadable.h"
#include "crypto/seal.h"
#include "crypto/sha256.h"
#include "repo/small_files.h"
#include "upkeep/mend_index.h"
#include "upkeep/mend_trees.h"
#include "upkeep/overlay_store.h"
#include "upkeep/used_blobs.h"

namespace davit::upkeep {

namespace {

constexpr uint64_t kMaxSmallFile = 1 << 20;

// What any program that knows scrypt would try; others must not meet a key that is none.
bool can_be_a_key(const repo::KeyFile& file) {
  const bool is_power = file.scrypt_n > 1 && (file.scrypt_n & (file.scrypt_n - 1)) == 0;
  return is_power && file.scrypt_n <= (uint64_t{1} << 24) && file.scrypt_r > 0 &&
         file.scrypt_r <= 1024 && file.scrypt_p > 0 && file.scrypt_p <= 1024;
}

class Repair {
 public:
  Repair(repo::Repository& repository, const RepairOptions& options)
      : repository_(repository),
        store_(repository.store()),
        options_(options),
        index_(repository, options, report_) {}

  RepairReport run() {
    const repo::Repository::HealWatch watch(repository_, [this](const store::Name& name) {
      healed_.lock()->emplace(name.kind, name.id);
    });
    for (const store::Kind kind : {store::Kind::snapshot, store::Kind::index})
      store_.forget_copies(kind);
    mend_config();
    mend_keys();
    const auto snapshots = read_all_snapshots();
    mend_index(snapshots);
    // From here on every blob that the index names can be read, as far as was looked.
    mend_snapshots(snapshots);
    note_unreadable();
    for (const auto& [kind, id] : healed_.with([](const auto& all) { return all; }))
      act(store::to_string(store::Name{kind, id}) +
          ": was missing or damaged, and is whole again from another copy");
    if (options_.forget) forget();
    return std::move(report_);
  }

 private:
  void act(std::string what) { report_.actions.push_back(std::move(what)); }

  // Those that cannot be are noted. What only says that the store does not give them now is thrown.
  std::vector<repo::Repository::SnapshotFile> read_all_snapshots() {
    std::vector<repo::Repository::SnapshotFile> files;
    for (const base::Id& id : list_ids(store_, store::Kind::snapshot)) {
      const auto load = [&] {
        return repo::parse_snapshot(repository_.load_unpacked(store::Kind::snapshot, id));
      };
      try {
        files.push_back({id, load()});
      } catch (const base::Error& error) {
        if (base::is_place_failing(error)) throw;
        if (repository_.heal_surely({store::Kind::snapshot, id}))
          files.push_back({id, load()});
        else
          unreadable_.push_back({id, error.what(), !dynamic_cast<const base::IoError*>(&error)});
      }
    }
    std::stable_sort(files.begin(), files.end(), [](const auto& a, const auto& b) {
      return a.snapshot.time.time < b.snapshot.time.time;
    });
    return files;
  }

  void mend_config() {
    const auto is_right = [&] {
      try {
        const base::Bytes sealed = store_.get({store::Kind::config, {}}, kMaxSmallFile);
        return repo::parse_config(crypto::open(repository_.key(), sealed)) == repository_.config();
      } catch (const base::Error& error) {
        if (base::is_place_failing(error)) throw;
        return false;
      }
    };
    if (is_right() || (repository_.heal_surely({store::Kind::config, {}}) && is_right())) return;
    base::Bytes sealed;
    crypto::seal(repository_.key(), repo::encode_config(repository_.config()), sealed);
    try {
      store_.put(store::Name{}, sealed);
    } catch (const base::Conflict&) {  // a store that never replaces one
      store_.remove(store::Name{});
      store_.put(store::Name{}, sealed);
    }
    act("config: was damaged or missing, and is written anew");
  }

  void mend_keys() {
    struct Damaged {
      base::Id id;
      base::Bytes json;
    };
    std::vector<Damaged> damaged;
    bool is_any_good = false, is_ours_damaged = false;
    for (const base::Id& id : list_ids(store_, store::Kind::key)) {
      const auto look = [&]() -> std::optional<Damaged> {
        const base::Bytes json = store_.get({store::Kind::key, id}, kMaxSmallFile);
        if (crypto::sha256(json) == id) return std::nullopt;
        return Damaged{id, json};
      };
      std::optional<Damaged> wrong;
      try {
        wrong = look();
      } catch (const base::IoError& error) {
        if (!base::is_bad_medium(error) || !repository_.heal_surely({store::Kind::key, id})) throw;
      }
      if (wrong && repository_.heal_surely({store::Kind::key, id})) wrong = look();
      if (!wrong) {
        is_any_good = true;
        continue;
      }
      if (id == repository_.key_id()) is_ours_damaged = true;
      damaged.push_back(std::move(*wrong));
    }
    // First a key that opens it, then the others. Ours may be missing because its owner removed it.
    if (!is_any_good && repository_.heal_surely({store::Kind::key, repository_.key_id()}))
      is_any_good = true;
    if ((!is_any_good || is_ours_damaged) && options_.add_key)
      act("key " + options_.add_key(repository_).hex() +
          ": is new, since the one that was in use is damaged or gone");
    for (const Damaged& key : damaged) {
      bool is_key = false;
      try {
        is_key = can_be_a_key(repo::parse_key_file(key.json));
      } catch (const base::Error&) {
      }
      // It may still be somebody's: it stays, under the name that its bytes have.
      if (is_key) store_.put({store::Kind::key, crypto::sha256(key.json)}, key.json);
      store_.remove({store::Kind::key, key.id});
      act("key " + key.id.hex() +
          (is_key ? ": was changed; it is kept as " + crypto::sha256(key.json).hex()
                  : ": is damaged, opens nothing any more, and is removed"));
    }
  }

  void mend_index(const std::vector<repo::Repository::SnapshotFile>& snapshots) {
    std::vector<base::Id> suspects = options_.suspects;
    for (bool first = true;; first = false) {
      index_.run(suspects, first && options_.read_data);
      repository_.refresh_index();
      table_ =
          BlobTable::load(repository_, list_ids(store_, store::Kind::index), {}, options_.stop);
      // Trees are read by whoever walks: those that cannot be are in packs that nobody suspected.
      suspects.clear();
      is_anything_lost_ = false;
      WalkOptions walk;
      walk.stop = options_.stop;
      walk.progress = options_.progress;
      walk.on_problem = [&](const Problem& problem) {
        if (problem.kind == Problem::Kind::odd_tree) return;
        is_anything_lost_ = true;
        if (problem.kind != Problem::Kind::unreadable_tree) return;
        const auto copies = table_.find(repo::BlobType::tree, problem.id);
        for (size_t i = copies.first; i < copies.first + copies.count; ++i) {
          const base::Id& pack = table_.packs()[table_.record(i).pack].id;
          if (!index_.was_examined(pack)) suspects.push_back(pack);
        }
      };
      const BlobTable* const tables[] = {&table_};
      mark_used(repository_, tables, snapshots, walk);
      if (suspects.empty()) return;
    }
  }

  void mend_snapshots(const std::vector<repo::Repository::SnapshotFile>& snapshots) {
    if (!is_anything_lost_) return;
    repo::UploadOptions upload;
    upload.stop = options_.stop;
    upload.reserve = options_.reserve;
    repo::UploadSession session(repository_, upload);
    TreeMender trees(repository_, table_, session, options_.progress, options_.stop);
    std::vector<std::optional<base::Id>> mended;
    for (const auto& file : snapshots) mended.push_back(trees.mend(file.snapshot.tree));
    session.finish();
    report_.blobs_lost = trees.lost_blobs();
    for (size_t i = 0; i < snapshots.size(); ++i) {
      const base::Id& id = snapshots[i].id;
      const repo::Snapshot& snapshot = snapshots[i].snapshot;
      if (mended[i] == snapshot.tree) continue;
      trees.for_each_lost(snapshot.tree, [&](const std::string& path, const std::string& what) {
        report_.lost.push_back({id, path, what});
      });
      RepairReport::Mended& entry = report_.snapshots.emplace_back();
      entry.snapshot = id;
      if (mended[i])
        entry.sibling = save_sibling(id, snapshot, *mended[i], snapshots);
      else
        entry.why = "its root directory cannot be read";
      to_forget_.push_back(report_.snapshots.size() - 1);
    }
  }

  // One that a former run has made serves as well.
  base::Id save_sibling(const base::Id& id, const repo::Snapshot& snapshot, const base::Id& tree,
                        const std::vector<repo::Repository::SnapshotFile>& all) {
    if (options_.stop.stop_requested()) throw base::Cancelled();
    repo::Snapshot sibling = snapshot;
    sibling.tree = tree;
    sibling.original = snapshot.original.value_or(id);
    sibling.summary.reset();  // its figures are not true any more
    for (const std::string& tag : options_.tags)
      if (!sibling.has_tag(tag)) sibling.tags.push_back(tag);
    for (const auto& other : all)
      if (other.snapshot.tree == tree && other.snapshot.original == sibling.original &&
          other.snapshot.tags == sibling.tags && other.snapshot.time == sibling.time)
        return other.id;
    return repository_.save_snapshot(sibling);
  }

  // What was lost is told first: afterwards nothing says what the snapshots had.
  void forget() {
    if (options_.before_forget) options_.before_forget(report_);
    for (const size_t number : to_forget_) {
      if (options_.stop.stop_requested()) throw base::Cancelled();
      RepairReport::Mended& entry = report_.snapshots[number];
      store_.remove({store::Kind::snapshot, entry.snapshot});
      entry.forgotten = true;
    }
  }

  void note_unreadable() {
    for (const Unreadable& file : unreadable_) {
      RepairReport::Mended& entry = report_.snapshots.emplace_back();
      entry.snapshot = file.id;
      entry.why = "the snapshot file cannot be read: " + file.why;
      report_.lost.push_back({file.id, "/", "the snapshot file cannot be read"});
      // A disk that does not read it now may read it once more.
      if (file.is_for_good) to_forget_.push_back(report_.snapshots.size() - 1);
    }
  }

  repo::Repository& repository_;
  store::Store& store_;
  const RepairOptions& options_;
  RepairReport report_;
  IndexMender index_;
  BlobTable table_;  // of the index as it is then
  struct Unreadable {
    base::Id id;
    std::string why;
    bool is_for_good = false;
  };
  std::vector<Unreadable> unreadable_;
  std::vector<size_t> to_forget_;  // numbers in report_.snapshots
  base::Synchronized<std::set<std::pair<store::Kind, base::Id>>> healed_;
  bool is_anything_lost_ = false;
};

}  // namespace

RepairReport repair(repo::Repository& repository, const RepairOptions& options) {
  if (!options.dry_run) return Repair(repository, options).run();
  // The same on a store that keeps for itself what is written.
  const auto overlay =
      std::make_shared<OverlayStore>(repository.store(), repository.index_cache_directory());
  repo::Repository shadow(overlay, repository.config(), repository.key(), repository.key_id());
  shadow.set_compression(repository.compression());
  return Repair(shadow, options).run();
}

}  // namespace davit::upkeep
