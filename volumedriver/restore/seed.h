// The scan cache (repo/scan_cache.h) that a restore leaves, so that the next backup opens no file.
// While the trees are walked, a draft takes down what each file is; when everything is in place,
// the draft is read again and written with the inodes and change times, which only then are final:
// most were noted when the file was complete (stamps.h), the others are looked up in the restored
// tree. One thread at a time, but for stamps().
#pragma once

#include <cstdint>
#include <string>

#include "base/id.h"
#include "repo/scan_cache.h"
#include "repo/tree.h"
#include "restore/stamps.h"

namespace davit::restore {

class Seed {
 public:
  // The cache appears at `path` with finish(); until then only PATH.draft is there.
  Seed(const std::string& path, const base::Id& repository);
  ~Seed();

  void enter(const std::string& name);
  void leave(const base::Id& tree);
  // Returns the file's number in stamps(), where the caller sees to it.
  uint64_t add(const repo::Node& file);
  Stamps& stamps() { return stamps_; }
  // `directory` holds the tree. Returns when the file system's clock has passed the last change, so
  // that no later one can look the same.
  void finish(int directory, const base::Id& root_tree);

 private:
  void write(const base::Bytes& record);
  repo::ScanStamp find_stamp(uint64_t number, int directory, const std::string& name,
                             const repo::ScanRecord& saved);

  std::string path_;
  base::Id repository_;
  repo::ScanCacheWriter draft_;
  Stamps stamps_;
  uint64_t files_ = 0;
};

}  // namespace davit::restore
