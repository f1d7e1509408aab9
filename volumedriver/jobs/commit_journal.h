// What davit is about to do to an engine for a commit, written down before it does it: DATA/state/commits/UUID.json,
// one file a commit, synced. An entry is closed when the container is as it was and the image is gone from the engine,
// or kept there on purpose. What a killed process leaves open is undone at the next start (commits.h).
#pragma once

#include <string>
#include <vector>

#include "base/clock.h"

namespace davit::jobs {

struct CommitEntry {
  std::string uuid;
  std::string container_id, container;  // ID and name
  std::string started_at;               // of the container, as the engine says it: tells this run of it from a later one
  bool was_running = false, was_paused = false;
  std::string reference;                // of the image
  std::string point;
  base::Time begun{};
  std::string image_id;                 // "": the engine did not answer (yet)
};

class CommitJournal {
 public:
  explicit CommitJournal(std::string directory);
  // Durable when it returns, with a UUID of its own.
  CommitEntry begin(CommitEntry entry);
  void note_image(CommitEntry& entry, const std::string& image_id);
  void close(const CommitEntry& entry);
  // What former processes left, oldest first; before the first begin(). A file that cannot be read is left alone and
  // logged: it names a container, and nothing is guessed.
  std::vector<CommitEntry> load() const;

 private:
  std::string path(const CommitEntry& entry) const { return directory_ + "/" + entry.uuid + ".json"; }
  void save(const CommitEntry& entry) const;
  const std::string directory_;
};

}  // namespace davit::jobs
