// What the last run saved of a volume, so that the next one need not open a file that did not
// change. One binary file a volume, written by backup and by restore, read once from front to back
// beside the walk: neither side ever holds more than one record in memory.
//
//   header   magic, repository ID, context, root tree ID, length of the file, checksum; written
//   last block…   u32 length, checksum, records; a record is one of
//            enter NAME, stamp · leave TREE · file NAME, stamp, xattrs, blob IDs
//            other NAME, stamp, xattrs, target (symbolic links, devices, pipes) · open NAME (to be
//            looked at anew) stamp: trusted, inode, size, mtime, ctime
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
#include "repo/tree.h"

namespace davit::repo {

// By what an unchanged entry is known.
struct ScanStamp {
  // False: it changed so shortly before it was read that equal times prove nothing.
  bool trusted = false;
  uint64_t inode = 0;
  uint64_t size_bytes = 0;  // of files
  NodeTime mtime, ctime;
  bool operator==(const ScanStamp&) const = default;
};

struct ScanRecord : ScanStamp {
  ScanRecord() { trusted = true; }
  std::string name;
  std::vector<Xattr> xattrs;
  std::vector<base::Id> content;
  std::string linktarget;  // symbolic links only
};

// A record where it lies.
struct ScanView {
  enum class Kind : uint8_t { enter, leave, file, other, open, end };

  // The record at the front; Kind::end where there is none that is whole.
  static ScanView parse(base::ByteView bytes);

  ScanStamp stamp() const;    // of enter, file and other; not trusted where it is damaged
  base::Id tree() const;      // of leave
  ScanRecord record() const;  // of file and other: an other's has its target, not its content
  // Whether `holds` is true of every blob of the file.
  template <typename Holds>
  bool all_content(Holds&& holds) const {
    const auto ids = content();
    if (!ids) return false;
    base::Id id;
    for (size_t at = 0; at < ids->size(); at += id.bytes.size()) {
      std::memcpy(id.bytes.data(), ids->data() + at, id.bytes.size());
      if (!holds(id)) return false;
    }
    return true;
  }

  Kind kind = Kind::end;
  std::string_view name;
  base::ByteView body;   // what follows the name
  base::ByteView bytes;  // all of it

 private:
  std::optional<base::ByteView> content() const;
};

// Records as bytes, made by any thread and handed to the writer in the right order.
void append_enter(base::Bytes& to, std::string_view name, const ScanStamp& stamp = {});
void append_other(base::Bytes& to, const ScanRecord& record);
void append_open(base::Bytes& to, std::string_view name);
void append_leave(base::Bytes& to, const base::Id& tree);
void append_record(base::Bytes& to, const ScanRecord& record);

class ScanCacheWriter {
 public:
  // Replaces what is at `path`, which counts as empty until finish().
  ScanCacheWriter(const std::string& path, const base::Id& repository,
                  const base::Id& context = {});

  // Whole records.
  void write(base::ByteView records);
  // Durable when it returns.
  void finish(const base::Id& root_tree);

 private:
  void flush();

  std::string path_;
  base::Fd file_;
  base::Id repository_, context_;
  uint64_t size_bytes_ = 0;
  base::Bytes block_;
};

class ScanCacheReader {
 public:
  // Nothing where there is no usable one for this repository.
  static std::unique_ptr<ScanCacheReader> open(const std::string& path, const base::Id& repository);

  const base::Id& root_tree() const { return root_tree_; }
  const base::Id& context() const { return context_; }

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
  // False once it met damage.
  bool intact() const { return intact_; }

 private:
  ScanCacheReader(base::Fd file, uint64_t size_bytes, const base::Id& context,
                  const base::Id& root_tree);
  bool load_block();

  base::Fd file_;
  uint64_t size_bytes_;
  uint64_t offset_;
  base::Id context_, root_tree_;
  base::Bytes block_;
  size_t at_ = 0;  // in block_, of the record that peek() looks at
  bool peeked_ = false;
  bool intact_ = true;
  ScanView view_;  // of block_
};

}  // namespace davit::repo
