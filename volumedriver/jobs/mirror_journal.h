// What davit itself has removed from the primary and may therefore remove from one mirror, in a
// file of DATA/state: it survives restarts and mirrors that are away for long. A file that the
// primary lacks and that is not in here was lost, and stays on the mirror. One line an entry,
// appended and synced before the primary's file goes; what a crash left of a line counts for
// nothing. Any thread may call anything.
#pragma once

#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "base/id.h"
#include "store/store.h"

namespace davit::jobs {

class MirrorJournal {
 public:
  explicit MirrorJournal(std::string path) : path_(std::move(path)) {}

  void add(const store::Name& removed);
  // A prune is about to free what no snapshot uses; these snapshots it knows. From then on a
  // snapshot that the mirror has, the primary has not, and no prune knew is broken there, too: it
  // goes.
  void add_prune(std::span<const base::Id> snapshots);
  // One that came after the prune.
  void add_known(const base::Id& snapshot);

  struct Content {
    std::vector<store::Name> removed;
    bool pruned = false;
    std::vector<base::Id> known;  // snapshots, sorted
    size_t size_bytes = 0;        // of what was read
  };
  Content read() const;
  // Forgets what was read, but for `pending`. What was added since stays.
  void forget(const Content& read, std::span<const store::Name> pending);

 private:
  void append(const std::string& lines);

  const std::string path_;
  mutable std::mutex mutex_;
};

}  // namespace davit::jobs
