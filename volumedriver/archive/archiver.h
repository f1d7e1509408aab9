// Saves a live directory tree into a repository.
//
// The snapshot's root tree holds /volumes/NAME: the nodes on the way, then the directory itself as
// a node, then its content; and beside it the caller's extra files. Trees are restic's canonical
// bytes (repo/tree.h), times in UTC, atime = mtime, user and group names left out, device_id only
// where links > 1.
//
// Threads, with P processors: first look at what the scan cache lists (P); then walk (1) -> read
// and chunk (P; L of them a file of several pieces at once) -> hash, compress, seal (P).
//
// Memory, whatever the size of the tree, with L = max(1, P / 4):
//   pieces   L * 4 slabs of 8 MiB
//   small    P * 1 MiB
//   session  repo/upload.h, with 2 * P calling threads
//   look     9 bits a directory, a block of the scan cache (256 KiB) a thread
//   tracking 1 bit a directory, 8 bytes an entry of each open directory, and what changed: 60 bytes
//            a handle, of which jobs/tracking keeps 512 Ki at most
//   names    8 batches of 32 files, and the node list of each open directory (the format stores it
//            as one blob), 300 to 500 bytes a node
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "archive/exclude.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/progress.h"
#include "capture/changed_set.h"
#include "repo/repository.h"
#include "repo/upload.h"

namespace davit::archive {

// A file that is not on disk: stored in the root tree at `path` (absolute, e.g.
// "/davit/volume.json").
struct ExtraFile {
  std::string path;
  base::Bytes bytes;
};

struct Source {
  int directory = -1;  // the tree's root, opened O_DIRECTORY; borrowed
  int parent =
      -1;  // its parent directory, whose metadata the node "volumes" gets; -1: fixed metadata
  std::string path;     // in the snapshot: "/volumes/NAME"
  uint64_t device = 0;  // what hard links get as device_id; 0: the root's st_dev
  std::vector<ExtraFile> extras;
};

struct Options {
  Excludes excludes;
  // Unchanged files are taken from here without being opened: the scan cache of the volume (made by
  // the last backup or restore), else the parent snapshot's tree.
  std::string scan_cache_path;     // "": none; a damaged or foreign one is ignored
  std::optional<base::Id> parent;  // snapshot ID
  // Keeps handles in the scan cache, by which changes are told (capture/file_handle.h).
  bool keeps_handles = false;
  // The handles of all that may have changed since the run began that made the scan cache: what is
  // in none of them is not looked at. Borrowed; null: everything is.
  const capture::ChangedSet* changed = nullptr;
  // Looks at everything all the same, and lists in Result::missed what `changed` did not have.
  bool verifies_changed = false;
  base::Progress* progress = nullptr;  // borrowed
  std::stop_token stop;
  const base::Clock* clock = nullptr;  // borrowed; null: the system's
};

// Something that changed although its handle, and that of its directory, were not told.
struct MissedChange {
  std::string path;                   // relative to the tree's root
  uint64_t directory = 0, entry = 0;  // handles; 0: not known
};

struct FileProblem {
  std::string path;  // relative to the tree's root, raw bytes
  std::string reason;
};

struct Result {
  base::Id tree;  // root tree's ID, for Snapshot::tree
  uint64_t files_new = 0, files_changed = 0, files_unmodified = 0;
  uint64_t dirs_new = 0, dirs_changed = 0, dirs_unmodified = 0;
  uint64_t total_files = 0, total_bytes = 0;
  uint64_t looked_at = 0;                 // entries; of the others nothing was asked
  std::vector<MissedChange> missed;       // the first 100
  bool holds_overlays = false;            // directories of which `changed` has all that is below
  bool holds_subvolumes = false;          // of btrfs: `changed` knows nothing of what is in them
  uint64_t unreadable_count = 0;          // left out: the snapshot is partial
  uint64_t changed_while_read_count = 0;  // saved as read after several tries
  std::vector<FileProblem> unreadable;    // the first 100
  std::vector<FileProblem> changed_while_read;
};

// Saves the tree through `session` (not finished here, so that the caller decides what belongs
// together). Throws on what makes the whole backup worthless (store, root directory gone),
// Cancelled on stop.
Result archive_tree(repo::Repository& repository, repo::UploadSession& session,
                    const Source& source, const Options& options);

// After session.finish() and the snapshot are durable: keeps the scan cache that archive_tree
// prepared (written beside as PATH.new) for the next run.
void commit_scan_cache(const std::string& scan_cache_path);

}  // namespace davit::archive
