// What the last run saved of a volume, so that the next one need not open a file that did not
// change. One binary file a volume, written by backup and by restore, read once from front to back
// beside the walk: neither side ever holds more than one record in memory.
//
//   header   magic, repository ID, context, root tree ID, number of the run, end of the blocks,
//            length of the file, checksum; written last
//   block…   u32 length, checksum, records; a record is one of
//            enter NAME, stamp · leave TREE · file NAME, stamp, xattrs, blob IDs
//            other NAME, stamp, xattrs, target (symbolic links, devices, pipes) · open NAME (to be
//            looked at anew); stamp: trusted, inode, size, mtime, ctime, handle
//   outline  from the next multiple of 8 on: where the directories lie (repo/scan_outline.h),
//            checksum; only where it was asked for
//
// Records stand in the order of the walk: depth first, names ascending by their raw bytes within a
// directory. Of a directory whose own stamp is trusted every entry has a record: while the stamp
// is true its listing is that of the records. The context is a hash of all else that decides what
// the tree comes to (excludes, device number): with another one only the files count. It is a
// cache: whatever is missing, damaged, cut short or made for another repository is as if it were
// not there. What it says of a file is believed only where size, mtime, ctime and inode are still
// the same and all the blobs are in the index, so a stale one is harmless.
//
// One thread for each reader and writer.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/id.h"
#include "repo/scan_outline.h"
#include "repo/scan_record.h"

namespace davit::repo {

class ScanCacheWriter {
 public:
  // Replaces what is at `path`, which counts as empty until finish().
  ScanCacheWriter(const std::string& path, const base::Id& repository, const base::Id& context = {},
                  bool with_outline = false);

  // Whole records.
  void write(base::ByteView records);
  // The directory of that index in the outline of `from`, with all that is below it: its records as
  // they lie there. Only with an outline. Where they cannot be read, finish() leaves an empty
  // cache.
  void copy(const KeptScan& from, size_t directory);
  // Durable when it returns.
  void finish(const base::Id& root_tree);

 private:
  void flush();
  void copy_block(const KeptScan& from, const ScanOutline::Block& block);

  std::string path_;
  base::Fd file_;
  base::Id repository_, context_;
  uint64_t size_bytes_ = 0;
  base::Bytes block_;
  std::unique_ptr<ScanOutliner> outliner_;  // null: none is wanted
  bool is_damaged_ = false;
};

class ScanCacheReader {
 public:
  // Nothing where there is no usable one for this repository.
  static std::unique_ptr<ScanCacheReader> open(const std::string& path, const base::Id& repository);

  const base::Id& root_tree() const { return root_tree_; }
  const base::Id& context() const { return context_; }
  // No two caches that were written have the same.
  const base::Id& run() const { return run_; }
  // For taking parts of it; null where it has no outline that is whole.
  std::shared_ptr<const KeptScan> open_kept() const;

  // Asked in the order of the walk, names ascending within a directory; what lies between is
  // skipped. True when there is such a directory: it is then the current one until leave().
  bool enter(std::string_view name);
  // As enter(), but it stays above: peek() is the directory's record.
  bool find_directory(std::string_view name);
  // The tree that the current directory was saved as; zero where that is not known any more.
  base::Id leave();
  // The file of the current directory.
  std::optional<ScanRecord> find(std::string_view name);

  // For a plain pass over all of it: the next record, which stays the next one until skip(). At
  // damage: Kind::end.
  using Kind = ScanView::Kind;
  Kind peek();
  // What peek() saw; good until skip().
  const ScanView& view() const { return view_; }
  void skip();
  // As skip(), with all that is in a directory.
  void skip_entry();
  // Of the record that peek() sees, counted as in an outline.
  uint64_t position() const { return block_position_ + at_; }
  // Goes behind the directory, as the outline has it.
  void seek_behind(const ScanOutline& outline, size_t directory);
  // False once it met damage.
  bool intact() const { return intact_; }

 private:
  explicit ScanCacheReader(base::Fd file) : file_(std::move(file)) {}
  bool load_block();

  base::Fd file_;
  uint64_t size_bytes_ = 0, blocks_end_ = 0;
  uint64_t offset_ = 0;  // of the next block
  base::Id context_, root_tree_, run_;
  base::Bytes block_;
  uint64_t block_position_ = 0;
  size_t at_ = 0;  // in block_, of the record that peek() looks at
  bool peeked_ = false;
  bool intact_ = true;
  ScanView view_;  // of block_
};

}  // namespace davit::repo
