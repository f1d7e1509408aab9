// Everything there is to say about a directory tree, as sorted lines of text: two trees are equal
// when their manifests are. Shares no code with what it tests. Works at any depth (over PATH_MAX
// too).
//
// A line: the path ("." for the root), then type, mode, uid, gid, mtime, and as the type has them
// size, sha256, target, device, xattrs (ACLs among them), and for one of several names of a file
// the first of them. Bytes that are not printable ASCII, and backslashes, are \xhh.
#pragma once

#include <string>

namespace davit::test {

struct ManifestOptions {
  bool sockets = false;  // backups leave them out
  bool sparse = false;   // where the data is: "extents=0+65536,…"
  bool times = true;
  // One name for each file, as restic 0.14 restores links of fifos and symlinks.
  bool special_links = true;
  // xattrs and targets of symlinks as they are; off for what restic 0.14 cannot do.
  bool symlink_details = true;
};

std::string tree_manifest(const std::string& directory, const ManifestOptions& options = {});

// The lines that differ, at most `limit` of them, "- " expected, "+ " found; "" when equal.
std::string manifest_difference(const std::string& expected, const std::string& found,
                                size_t limit = 20);

}  // namespace davit::test
