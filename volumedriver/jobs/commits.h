// What davit does to engines for commits, and how it is taken back: each commit stands in a journal before it begins,
// and its entry is closed only when the container runs as it did and the image is gone (or is kept on purpose). What
// cannot be taken back now, because the engine is away or has not answered, is tried again with growing pauses, by a
// thread of its own; after a kill the next start goes on with it.
//
// Any thread may call anything.
#pragma once

#include <condition_variable>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "engine/engine.h"
#include "jobs/commit_journal.h"
#include "jobs/image_names.h"
#include "jobs/kept_images.h"

namespace davit::jobs {

// The container runs again where the commit alone paused it, and no image of the commit is left. False: an image may
// still come, since nobody knows whether the engine is still at it. Throws what the engine does.
bool undo_commit(engine::Engine& engine, const CommitEntry& entry, const KeptImages& kept, base::Time now);

class Commits {
 public:
  Commits(engine::Engine* engine, const base::Clock& clock, const std::string& data_directory);
  ~Commits();  // stop()

  // Takes over what a former process left.
  void start();
  void stop();

  // ---- for the job of a commit
  // A name that nothing in the engine has, reserved until settle(), or release_name() where no commit begins.
  ImageName reserve_name(const std::string& container, base::Time time);
  void release_name(const std::string& reference);
  CommitEntry begin(const CommitEntry& entry) { return journal_.begin(entry); }
  void note_image(CommitEntry& entry, const std::string& image_id) { journal_.note_image(entry, image_id); }
  // Takes the commit back, at its good end or bad. True: it is; else it is done later, and the error is logged.
  bool settle(const CommitEntry& entry);

  // ---- images that stay in the engine
  // From here on settle() leaves the entry's image there.
  void keep(const CommitEntry& entry, base::Time time);
  // Removes what was kept of the container, but for the newest `count`. Throws what the engine does; an image that a
  // container uses stays until the next time.
  void trim_kept(const std::string& container, unsigned count);

  // Entries that are still to be taken back.
  size_t pending() const;

 private:
  void run();

  engine::Engine* const engine_;
  const base::Clock& clock_;
  CommitJournal journal_;
  KeptImages kept_;
  mutable std::mutex mutex_;  // protects the rest
  std::condition_variable changed_;
  std::set<std::string> reserved_;
  std::vector<CommitEntry> pending_;
  bool fresh_ = false;  // something new is pending: no long pause
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace davit::jobs
