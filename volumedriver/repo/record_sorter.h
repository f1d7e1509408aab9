// Sorts any number of index records on all processors, in bounded memory: they are spread over
// partitions by the beginning of their IDs, which are hashes and so spread evenly; what does not
// fit goes to a file without a name; at the end each partition is gathered and sorted by itself.
//
// Memory, for T threads that add:
//   adding     T * 2 * kBufferRecords * 48 bytes (12 MiB a thread)
//   finishing  processors * 2 * 48 bytes * (records in a partition: about kPartitionRecords, 6 MiB
//              a processor, where `expected` was right), and 8 bytes for each run and partition
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/fd.h"
#include "repo/blob.h"
#include "repo/index_record.h"

namespace davit::repo {

class RecordSorter {
 public:
  static constexpr size_t kBufferRecords = 1 << 17;
  static constexpr size_t kPartitionRecords = 1 << 16;
  static constexpr uint32_t kMaxPacks = uint32_t{1} << 31;

  // `expected`: about how many records there will be. `file`: empty, for what does not fit.
  RecordSorter(base::Fd file, uint64_t expected);
  ~RecordSorter();

  // Any thread. `pack` < kMaxPacks. Throws IoError when the file cannot be written.
  void add(uint32_t pack, std::span<const PackBlob> blobs);

  // After the last add(), once a type. Gives all records of the type in order, in pieces, `first`
  // being the number of a piece's first record; pieces come from many threads and in any order.
  // `renumber` gives packs their final numbers (empty: they have them). `more` appends what else
  // there is with low <= key() <= high, packs renumbered already; any thread. Returns how many.
  using Take = std::function<void(uint64_t first, std::span<const IndexRecord> records)>;
  using More =
      std::function<void(uint64_t low, uint64_t high, std::vector<IndexRecord>& append_to)>;
  uint64_t finish(BlobType type, std::span<const uint32_t> renumber, const More& more,
                  const Take& take);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace davit::repo
