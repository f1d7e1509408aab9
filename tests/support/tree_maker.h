// A directory tree with everything in it that a file system can hold, the same for the same seed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace davit::test {

struct TreeSpec {
  uint64_t seed = 1;
  size_t random_files = 100;
  size_t wide_entries = 200;     // in one directory
  size_t deep_levels = 40;       // of 200 bytes each: a path over PATH_MAX
  bool devices = true;           // need root, and a namespace that may make them
  bool owners = true;            // need root
  bool trusted_xattrs = true;    // need root of the first user namespace
  size_t link_target_bytes = 4000;  // of the longest symlink; xfs holds 1023
  unsigned device_minor = 1048575;  // the largest; xfs holds 262143
  bool odd_link_targets = true;  // not UTF-8; restic before 0.16 damages them
  bool large = true;             // contents of many chunks
  bool sparse = true;
};

// Fills `directory`, which is made if it is not there. Throws std::runtime_error.
void make_tree(const std::string& directory, const TreeSpec& spec = {});

}  // namespace davit::test
