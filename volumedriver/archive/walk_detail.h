// The walk as walk.cc and walk_by_cache.cc share it; for nobody else.
//
// A directory is gone through in one of two ways. What changed, or is not known, is listed and each
// entry saved. Where the scan cache vouches for a directory's listing, its entries are taken from
// there and looked at one by one; nothing is encoded or hashed as long as all of them are what they
// were, as the tree is in the repository then. The first that is not makes begin_all() give the
// assembly what was kept back, from the root on. Either way, each directory inside is gone through
// in the one that is right for it. Where it is known of a directory that nothing changed in it, at
// any depth (archive/kept_subtrees.h; of most, as archive/look_ahead.h came before), it is looked at
// itself, and what is in it is not.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "archive/passed_entries.h"
#include "archive/same_entry.h"
#include "archive/walk.h"
#include "base/descent.h"
#include "repo/scan_cache.h"

namespace davit::archive {

// The names in a directory, sorted. Throws IoError.
std::vector<std::string> list_names(int directory);

class Walk {
 public:
  Walk(Stages& stages, const Source& source, const Options& options, Prior& prior,
       const KeptSubtrees* kept)
      : stages_(stages),
        source_(source),
        options_(options),
        prior_(prior),
        kept_(kept),
        descent_(stages.root) {}

  void run();

 private:
  using Kind = repo::ScanView::Kind;

  struct Level {
    // Null until something in it turns out to be new: `node` and `passed` are what it has so far.
    Assembly::Directory* directory = nullptr;
    repo::Node node;
    PassedEntries passed;
    // Its listing is as the scan cache says: the entries are taken from there and looked at one by
    // one. Else they are `names`, from `next` on.
    bool by_cache = false;
    std::string last_name;  // by_cache: the last one that was looked at
    std::vector<std::string> names;
    size_t next = 0;
    bool has_prior = false;
    // It need not have been looked at, and is nevertheless: its index. Whatever is new in it was
    // missed.
    std::optional<size_t> kept_index;
    size_t path_size = 0;    // of the directory's own path in path_
    uint64_t device = 0;     // st_dev
    uint64_t device_id = 0;  // what hard links in it get
  };

  void enter_root(const Status& status);
  void visit(const std::string& name);
  // True when the entry is a directory that is now the current one.
  bool save(const std::string& name);
  bool enter(const std::string& name);
  void leave();
  void go_down(Level level, const std::string& name, base::Fd directory, const Status& status);
  // The level that was left is gone from levels_.
  void go_up();
  void save_file(const std::string& name, const Status& status);
  void save_special(const std::string& name, const Status& status);
  void save_mount_point(const std::string& name, const Status& status);
  void send_batch();
  void record_enter(const std::string& name, const repo::ScanStamp& stamp);
  // "": what follows in the directory is not known.
  void record_open(const std::string& name);
  void report_or_throw(const base::IoError& error);
  void report(std::string reason);
  // 0: not known, or not wanted.
  uint64_t handle_of(int fd) const;
  uint64_t handle_of(const std::string& name);
  // Of a file that is not read; `known`: what it had. 0 as well where somebody may write to it:
  // then it is looked at in each run, until nobody may.
  uint64_t handle_of_file(const std::string& name, uint64_t known);
  bool is_unmodified(const repo::ScanRecord& known, const Status& status) const;
  bool has_blob(const base::Id& id) const;
  // Inode numbers are unique in a subvolume only, so hard links in one must not meet those of
  // another. A number that a reboot or a snapshot does not change: of its place in the tree.
  uint64_t subvolume_id() const;

  // Directories that the scan cache lists (walk_by_cache.cc).
  void step_by_cache();
  // The cache stands at the record of the directory, path_ is its path. False: it is to be looked
  // at anew.
  bool enter_by_cache(const std::string& name);
  // For a directory inside one that is listed anew.
  bool find_by_cache(const std::string& name);
  void leave_by_cache();
  // The cache stands at the record of a directory that is itself what it was. True: all in it is,
  // too, and the cache stands behind it.
  bool pass_subtree(repo::Node& node);
  // A directory whose tree is in the repository; its level is gone from levels_, or never was
  // there.
  void add_known(repo::Node node);
  void note_missed(const std::string& name);
  // The cache stands at the record of the level's directory.
  void go_by_cache(Level& level);
  // What was kept back is wanted: something below is not what it was.
  void begin_all();
  // An entry of a directory that is listed by the cache.
  void look_anew(std::string name);
  // The cache does not tell what follows.
  void list_rest();
  // The entry that the cache stands at, which is what it was.
  void record_same();

  Stages& stages_;
  const Source& source_;
  const Options& options_;
  Prior& prior_;
  const KeptSubtrees* const kept_;  // of prior_.cache(); may be null
  base::Descent descent_;
  std::vector<Level> levels_;
  std::vector<FileJob> batch_;  // to be read
  size_t entries_since_ = 0;    // looked at since the first of them
  std::string path_;            // of the entry that is looked at, relative to the root
  uint64_t root_device_ = 0;
  uint64_t looked_at_ = 0;
};

}  // namespace davit::archive
