// Where an archive run's threads put what they found: nodes into listings, listings into trees,
// trees into their parents' listings, and records into the next scan cache, all in the order of the
// walk although they arrive in any order.
//
// A directory's listing is encoded as far as its front is complete, so that only what is under way
// is held as nodes. A directory is saved when its last entry arrived; this may be on any thread.
//
// begin_directory, end_directory, add and reserve are for the walking thread; everything else is
// for any.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "archive/archiver.h"
#include "repo/scan_cache.h"
#include "repo/tree.h"
#include "repo/upload.h"

namespace davit::archive {

// The next scan cache, filled from any thread, written in the order of reserve().
class OrderedRecords {
 public:
  // `writer` may be null: then nothing is kept.
  explicit OrderedRecords(repo::ScanCacheWriter* writer) : writer_(writer) {}

  bool enabled() const { return writer_ != nullptr; }
  uint64_t reserve();
  // A directory of an earlier scan cache, with all that is below it.
  void append(std::shared_ptr<const repo::KeptScan> scan, size_t directory);
  void fill(uint64_t place, base::Bytes records);
  void append(base::ByteView records);

 private:
  void drain();

  repo::ScanCacheWriter* writer_;
  std::mutex mutex_;
  uint64_t first_ = 0;  // the place of waiting_.front()
  struct Records {
    bool are_there = false;
    base::Bytes bytes;
    std::shared_ptr<const repo::KeptScan> scan;  // not null: those of its directory instead
    size_t directory = 0;
  };
  std::deque<Records> waiting_;
};

class Assembly {
 public:
  struct Directory;

  // Where an entry belongs that is still being read.
  struct Place {
    Directory* directory = nullptr;
    uint64_t slot = 0;
    uint64_t record = 0;
    uint64_t handle = 0;  // of the entry, for its record
  };

  // All borrowed; `progress` and `writer` may be null.
  Assembly(repo::UploadSession& session, repo::ScanCacheWriter* writer, base::Progress* progress);
  ~Assembly();

  // Whole records for the next scan cache, in the order of the walk, for all that begin_directory
  // and add do not record by themselves: they record nothing.
  void record(base::ByteView records);
  bool keeps_records() const { return records_.enabled(); }
  // `node` lacks its subtree. Null `parent`: the root.
  Directory* begin_directory(Directory* parent, repo::Node node);
  // Nothing will be added any more. `prior`: what it was saved as before, zero where that is
  // unknown; nothing where there was none.
  void end_directory(Directory* directory, std::optional<base::Id> prior);
  // An entry that is complete.
  void add(Directory* directory, const repo::Node& node);
  // A file that need not be read, of that size.
  void count_unmodified(uint64_t size_bytes);
  // A directory that is what it was, with all that is in it: nobody began it.
  void count_unmodified_directory();
  // A directory of an earlier scan cache that is taken as it was, with all that is in it: recorded
  // and counted.
  void keep_subtree(std::shared_ptr<const repo::KeptScan> scan, size_t directory);
  // The root itself is such a directory.
  void set_root(repo::Node node);
  Place reserve(Directory* directory);

  // `had_prior`: an earlier run knew a file here.
  void fill(const Place& place, repo::Node node, bool trusted, bool had_prior);
  // It vanished, or cannot be read.
  void leave_out(const Place& place, const std::string& name);

  // Bytes of content that were saved, or found to be saved already.
  void add_progress(uint64_t bytes);
  void report_unreadable(std::string path, std::string reason);
  void report_changed(std::string path, std::string reason);

  // Once all threads have ended: the root's node with its subtree, and what was counted.
  const repo::Node& root() const;
  Result& result() { return result_; }

 private:
  void put(Directory& directory, uint64_t slot, std::optional<repo::Node> node);
  void release(Directory* directory);
  repo::Node save(Directory& directory);
  void count_file(uint64_t size_bytes, uint64_t Result::*kind);

  repo::UploadSession& session_;
  base::Progress* progress_;
  OrderedRecords records_;
  std::mutex mutex_;                  // of what follows
  std::list<Directory> directories_;  // those under way
  std::optional<repo::Node> root_;
  Result result_;
};

}  // namespace davit::archive
