// Where the directories of a scan cache lie in it, and by which handles a change in them is told:
// so that a run which knows what changed can pass over the rest, a whole subtree at once, without
// reading its records. Some 100 bytes a directory and 8 an entry, held whole.
//
// Directories stand in the order of the walk: those below one follow it. Positions count bytes of
// records from the first of the file, so that a subtree keeps its shape wherever it is moved.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/id.h"
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
  std::vector<Directory> directories;
  std::vector<uint64_t> handles;
  std::vector<Block> blocks;

  base::Bytes encode() const;
  // Nothing where it is damaged.
  static std::optional<ScanOutline> decode(base::ByteView bytes);
};

// A scan cache of an earlier run from which parts are taken. Constant; any thread.
struct KeptScan {
  base::Fd file;
  ScanOutline outline;

  // The records of the block. Throws Corrupt, IoError.
  base::Bytes load(const ScanOutline::Block& block) const;
};

// Makes the outline of records as they are written. One thread.
class ScanOutliner {
 public:
  // Whole records, which follow those before.
  void add(base::ByteView records);
  // The directory of another scan cache, with all that is below it.
  void add(const ScanOutline& from, size_t directory);
  void begin_block(uint64_t offset, uint64_t length);
  // Nothing where the records were no tree.
  std::optional<ScanOutline> finish();

 private:
  struct Level {
    size_t directory;
    std::vector<uint64_t> own;
  };
  void add(const ScanView& record);

  ScanOutline outline_;
  std::vector<Level> open_;
  uint64_t position_ = 0, block_position_ = 0;
  bool is_tree_ = true;
};

}  // namespace davit::repo
