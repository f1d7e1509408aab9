// What the last run saved of a volume, so that the next one need not open a file that did not
// change. One binary file a volume, written by backup and by restore, read once from front to back
// beside the walk: neither side ever holds more than one record in memory.
//
//   header   magic, repository ID, root tree ID, length of the file, checksum; written last
//   block…   u32 length, checksum, records; a record is one of
//            enter NAME · leave TREE · file NAME, inode, size, times, xattrs, blob IDs
//
// Records stand in the order of the walk: depth first, names ascending by their raw bytes within a
// directory. It is a cache: whatever is missing, damaged, cut short or made for another repository
// is as if it were not there. What it says of a file is believed only where size, mtime, ctime and
// inode are still the same and all the blobs are in the index, so a stale one is harmless.
//
// One thread for each reader and writer.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/id.h"
#include "repo/tree.h"

namespace davit::repo {

struct ScanRecord {
  std::string name;
  // False: the file changed so shortly before it was read that equal times prove nothing.
  bool trusted = true;
  uint64_t inode = 0;
  uint64_t size_bytes = 0;
  NodeTime mtime, ctime;
  std::vector<Xattr> xattrs;
  std::vector<base::Id> content;
};

// Records as bytes, made by any thread and handed to the writer in the right order.
void append_enter(base::Bytes& to, std::string_view name);
void append_leave(base::Bytes& to, const base::Id& tree);
void append_record(base::Bytes& to, const ScanRecord& record);

class ScanCacheWriter {
 public:
  // Replaces what is at `path`, which counts as empty until finish().
  ScanCacheWriter(const std::string& path, const base::Id& repository);

  // Whole records.
  void write(base::ByteView records);
  // Durable when it returns.
  void finish(const base::Id& root_tree);

 private:
  void flush();

  std::string path_;
  base::Fd file_;
  base::Id repository_;
  uint64_t size_bytes_ = 0;
  base::Bytes block_;
};

class ScanCacheReader {
 public:
  // Nothing where there is no usable one for this repository.
  static std::unique_ptr<ScanCacheReader> open(const std::string& path, const base::Id& repository);

  const base::Id& root_tree() const { return root_tree_; }

  // Asked in the order of the walk, names ascending within a directory; what lies between is
  // skipped. True when there is such a directory: it is then the current one until leave().
  bool enter(std::string_view name);
  // The tree that the current directory was saved as; zero where that is not known any more.
  base::Id leave();
  // The file of the current directory.
  std::optional<ScanRecord> find(std::string_view name);

  // For a plain pass over all of it.
  enum class Kind : uint8_t { enter, leave, file, end };
  // The next record, which stays the next one until skip(). At damage: end.
  Kind peek();
  std::string_view peek_name() const { return name_; }
  base::Id peek_tree() const;
  ScanRecord peek_record() const;
  void skip();
  // False once it met damage.
  bool intact() const { return intact_; }

 private:
  ScanCacheReader(base::Fd file, uint64_t size_bytes, const base::Id& root_tree);
  bool load_block();
  void skip_directory();

  base::Fd file_;
  uint64_t size_bytes_;
  uint64_t offset_;
  base::Id root_tree_;
  base::Bytes block_;
  size_t at_ = 0;  // in block_, of the record that peek() looks at
  bool peeked_ = false;
  bool intact_ = true;
  Kind kind_ = Kind::end;
  std::string_view name_;  // in block_
  base::ByteView body_;    // in block_: what follows the name
  size_t record_size_ = 0;
};

}  // namespace davit::repo
