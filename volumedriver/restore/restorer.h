// Brings a tree of a snapshot back, beneath one directory descriptor: no path is ever walked twice,
// no link is followed, no name can escape. What is already in the directory is the caller's concern
// (normally it is empty). Order: directories and file content by pack, then metadata on the open
// descriptor: owner, xattrs (chown clears capabilities), mode, times; a directory's own metadata
// after its content, the root's last.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/id.h"
#include "base/progress.h"
#include "repo/repository.h"

namespace davit::restore {

struct Options {
  base::Progress* progress = nullptr;  // borrowed; totals are set by the plan
  std::stop_token stop;
  bool sync = true;  // everything durable when it returns
  // "": none. A scan cache for archive::Options is written here, with the new inodes and change
  // times, so that the next backup re-reads nothing.
  std::string scan_cache_path;
};

struct Result {
  uint64_t files = 0, directories = 0, others = 0;
  uint64_t bytes = 0;
  // Entries whose content or metadata could not be brought back as saved (e.g. an xattr that the
  // file system refuses), with the reason; the first 100. Damaged content is never left in place
  // silently: it is an error.
  uint64_t problem_count = 0;
  std::vector<std::string> problems;
};

// Restores the directory node that `path` ("/volumes/NAME") names in the tree `root` into the empty
// directory `directory` (borrowed), with the node's own metadata. Throws NotFound (no such path),
// Corrupt, IoError, Cancelled; then the directory holds a part and the caller removes it.
Result restore_tree(const repo::Repository& repository, const base::Id& root,
                    const std::string& path, int directory, const Options& options);

// The bytes of a small file in a snapshot's tree; nothing where there is none. For
// "/davit/volume.json".
std::optional<base::Bytes> find_small_file(const repo::Repository& repository, const base::Id& root,
                                           const std::string& path, size_t max_bytes);

}  // namespace davit::restore
