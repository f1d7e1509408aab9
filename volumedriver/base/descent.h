// Where a walk stands in a directory tree: a chain of directories, from a root downward, each
// opened by name from the one above it. Paths of any depth (over PATH_MAX too) need a bounded
// number of descriptors: levels far above are closed, and found again by ".." or by their names,
// and believed only if device and inode are those that were left.
//
// One thread moves it. A Handle keeps its directory open for as long as anybody holds it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"

namespace davit::base {

class Descent {
 public:
  using Handle = std::shared_ptr<const Fd>;

  // Levels that stay open beside the root.
  static constexpr size_t kOpenLevels = 24;

  explicit Descent(Handle root);

  // The directory it stands in; null after a leave() that could not find it again.
  const Handle& here() const { return levels_.back().handle; }
  // 0 at the root.
  size_t depth() const { return levels_.size() - 1; }

  // Goes down into `directory`, which was opened as `name` in here(). Throws IoError.
  void enter(const std::string& name, Fd directory);
  // Goes up one level. False when that directory cannot be found any more (it was moved away
  // meanwhile): here() is null then, but leave() still works.
  bool leave();

 private:
  struct Level {
    std::string name;
    Handle handle;
    dev_t device = 0;
    ino_t inode = 0;
  };
  Handle reopen(const Handle& child) const;

  std::vector<Level> levels_;
};

// Opens a directory for reading, following no link and leaving its access time alone where that is
// allowed. -1 with errno set on failure.
int open_directory_at(int directory, const char* name);

}  // namespace davit::base
