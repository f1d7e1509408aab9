// The scan cache (repo/scan_cache.h) that a restore leaves, so that the next backup opens no file.
// While the trees are walked, a draft takes down what each file is; when everything is in place,
// the draft is read again beside the restored tree for the inodes and change times, which only then
// are final. One thread at a time.
#pragma once

#include <string>

#include "base/id.h"
#include "repo/scan_cache.h"
#include "repo/tree.h"

namespace davit::restore {

class Seed {
 public:
  // The cache appears at `path` with finish(); until then only PATH.draft is there.
  Seed(const std::string& path, const base::Id& repository);
  ~Seed();

  void enter(const std::string& name);
  void leave(const base::Id& tree);
  void add(const repo::Node& file);
  // `directory` holds the tree. Returns when the file system's clock has passed the last change, so
  // that no later one can look the same.
  void finish(int directory, const base::Id& root_tree);

 private:
  void write(const base::Bytes& record);

  std::string path_;
  base::Id repository_;
  repo::ScanCacheWriter draft_;
};

}  // namespace davit::restore
