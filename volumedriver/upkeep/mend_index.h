// The part of repair that makes index and packs agree: what is in no index comes in, what is gone
// or damaged leaves, and what can be had of damaged packs is stored again.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/id.h"
#include "repo/index_file.h"
#include "repo/repository.h"
#include "upkeep/blob_table.h"
#include "upkeep/repair.h"

namespace davit::upkeep {

class IndexMender {
 public:
  // Counts and actions go to `report`. All are borrowed.
  IndexMender(repo::Repository& repository, const RepairOptions& options, RepairReport& report)
      : repository_(repository), options_(options), report_(report) {}

  // Looks at all packs where `all`, else at those of `suspects` and those in which something shows.
  // Does what there is to do. True where something was.
  bool run(const std::vector<base::Id>& suspects, bool all);
  // Packs that were read whole, by this run or a former one.
  bool was_examined(const base::Id& pack) const { return examined_.contains(pack); }

 private:
  enum class Fate : uint8_t {
    keep,     // the index is right about it
    index,    // as its header says
    drop,     // from the index
    destroy,  // from the index, then from the store
  };
  struct Pack {
    base::Id id;
    std::optional<uint64_t> size_bytes;  // in the store
    std::optional<uint32_t> number;      // in the table
    bool is_read_whole = false;
    bool has_gaps = false;  // a medium gave parts of it only
    Fate fate = Fate::keep;
    std::vector<repo::PackBlob> blobs;  // fate index: what is in it
  };

  void load();
  bool is_given_after_all(const base::Id& file) const;
  void heal_sizes();
  void choose(const std::vector<base::Id>& suspects, bool all);
  void examine_all();
  void write_index();
  void remove_old();
  bool can_be_read_after_all(const base::Id& pack) const;
  bool is_old(const BlobTable::File& file) const;
  // Of the packs that are read whole.
  void find_indexed_blobs();
  std::vector<repo::PackBlob> indexed_blobs(uint32_t number) const;
  void act(const std::string& sort, const std::string& what);
  void tell();

  repo::Repository& repository_;
  const RepairOptions& options_;
  RepairReport& report_;

  BlobTable table_;
  std::vector<Pack> packs_;        // of the table, by number; then those in no index
  std::vector<size_t> doubtful_;   // numbers of packs to be looked at
  std::vector<uint32_t> records_;  // of packs that are read whole, by pack
  std::vector<std::span<const uint32_t>> records_of_;  // by number of the pack
  std::map<base::Id, std::string> damaged_files_;      // of the index, and why
  std::vector<base::Id> old_files_;
  std::set<base::Id> examined_;
  std::set<base::Id> hopeless_;         // in no index, and nothing can be had of them
  std::map<std::string, size_t> told_;  // by sort
};

}  // namespace davit::upkeep
