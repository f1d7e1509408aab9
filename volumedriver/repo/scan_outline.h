// Where the directories of a scan cache lie in it, and by which handles a change in them is told:
// so that a run which knows what changed can pass over the rest, a whole subtree at once, without
// reading its records. Some 100 bytes a directory and 8 an entry, and none of it in memory of ours:
// it is mapped where it lies, and made in files without names.
//
// Directories stand in the order of the walk: those below one follow it. Positions count bytes of
// records from the first of the file, so that a subtree keeps its shape wherever it is moved.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/id.h"
#include "base/mapped_file.h"
#include "repo/scan_record.h"

namespace davit::repo {

struct ScanOutline {
  struct Directory {
    uint64_t handle = 0;          // 0: not known
    uint64_t begin = 0, end = 0;  // of its records, from its enter to behind its leave
    uint64_t handles_begin = 0;   // in `handles`: of all entries below it; they end at own_end
    uint64_t own_begin = 0, own_end = 0;  // of the entries in it that are no directories
    uint64_t files = 0, bytes = 0;        // below it, at any depth
    uint32_t next = 0;                    // the index behind the last directory below it
    uint32_t is_doubtful = 0;             // 1: something in it must be looked at in any case
    base::Id tree;
  };
  struct Block {
    uint64_t begin = 0;   // of its records
    uint64_t offset = 0;  // in the file, of its header
    uint64_t length = 0;  // of its records
  };
  std::span<const Directory> directories;
  std::span<const uint64_t> handles;
  std::span<const Block> blocks;

  // The outline in these bytes, which it borrows; they begin at a multiple of kAlignment. Nothing
  // where it is damaged.
  static constexpr uint64_t kAlignment = 8;
  static std::optional<ScanOutline> read(base::ByteView bytes);
};

// A scan cache of an earlier run from which parts are taken. Constant; any thread.
struct KeptScan {
  base::Fd file;
  base::MappedFile bytes;  // all of the file
  ScanOutline outline;     // in `bytes`

  // The records of the block. Throws Corrupt, IoError.
  base::Bytes load(const ScanOutline::Block& block) const;
  // The record at that position, as it lies in the file; its block's checksum is not looked at.
  // Kind::end where there is none.
  ScanView peek(uint64_t position) const;
};

// Makes the outline of records as they are written. Holds 8 bytes for each entry of the directories
// that are open, and 24 for each block. Throws IoError. One thread.
class ScanOutliner {
 public:
  // `directory`: where its files are made.
  explicit ScanOutliner(const std::string& directory)
      : directories_(directory), handles_(directory) {}

  // Whole records, which follow those before.
  void add(base::ByteView records);
  // The directory of another scan cache, with all that is below it.
  void add(const ScanOutline& from, size_t directory);
  void begin_block(uint64_t offset, uint64_t length);
  // Appends it to the file, which is so long; returns how long it is then. Where the records were
  // no tree, nothing is appended.
  uint64_t finish(int file, uint64_t size_bytes);

 private:
  // Grows in a file without a name.
  class Spill {
   public:
    explicit Spill(const std::string& directory) : file_(base::make_unnamed_file(directory)) {}
    void append(base::ByteView bytes);
    void replace(uint64_t offset, base::ByteView bytes);
    uint64_t size_bytes() const { return written_ + pending_.size(); }
    void copy_to(int file, uint64_t offset);

   private:
    void flush();

    base::Fd file_;
    uint64_t written_ = 0;
    base::Bytes pending_;  // follows it
  };
  struct Level {
    uint64_t index;
    ScanOutline::Directory directory;
    std::vector<uint64_t> own;
  };
  uint32_t directory_count() const {
    return static_cast<uint32_t>(directories_.size_bytes() / sizeof(ScanOutline::Directory));
  }
  uint64_t handle_count() const { return handles_.size_bytes() / sizeof(uint64_t); }
  void add(const ScanView& record);

  Spill directories_, handles_;
  std::vector<ScanOutline::Block> blocks_;
  std::vector<Level> open_;
  uint64_t position_ = 0, block_position_ = 0;
  bool is_tree_ = true;
};

}  // namespace davit::repo
