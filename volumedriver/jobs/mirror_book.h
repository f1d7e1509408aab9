// What the daemon knows of its repository's mirrors: how far behind each is and why, what was
// repaired, what has still to be removed. The lasting part is in DATA/state/mirrors, one record and
// one journal a mirror, named by a hash of its place. Any thread may call anything.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/synchronized.h"
#include "jobs/mirror_journal.h"

namespace davit::jobs {

struct MirrorStatus {
  std::string place;  // store::Store::describe()
  bool append_only = false;
  std::string state = "not looked at yet";  // in sync, behind, away, refused, …
  std::optional<base::Time> in_sync, away_since;
  uint64_t behind_files = 0, behind_bytes = 0;
  std::string error, note;  // why it is away or refused; what else is to be known
};

class MirrorBook {
 public:
  explicit MirrorBook(std::string directory);

  // The mirrors that the settings name now, in their order. What is known of others stays on disk.
  void set(const std::vector<std::pair<std::string, bool>>& places_and_append_only);
  std::vector<std::string> places() const;
  std::vector<MirrorStatus> list() const;
  // "2 mirrors are in sync", or what is wrong; "" where there are none.
  std::string summary() const;

  // What goes from the primary and is to go there. Of a mirror that the settings have named since davit began.
  std::shared_ptr<MirrorJournal> journal(const std::string& place);

  // The ID of the repository that was once seen there, so that a place that is suddenly empty is
  // not filled anew: perhaps its file system is not mounted.
  std::optional<std::string> seen(const std::string& place) const;
  void note_seen(const std::string& place, const std::string& id);
  // Somebody says that it may be filled anew. Throws NotFound where no mirror is called so.
  void accept(const std::string& place);

  // How it goes, from its synchronisation.
  void note_behind(const std::string& place, uint64_t files, uint64_t bytes);
  void note_in_sync(const std::string& place, base::Time when, const std::string& note);
  void note_failure(const std::string& place, base::Time when, const std::string& state,
                    const std::string& why);

  void add_repair(base::Time when, const std::string& repair);
  std::vector<std::string> repairs() const;  // the last ones, oldest first
  uint64_t repair_count() const;             // since davit began
  // The primary is away, and mirrors are read instead; "": it is not.
  void note_primary(const std::string& why);
  std::string primary_away() const;

  // Whether it has not been in sync since davit began.
  bool is_first(const std::string& place) const;

  // Called when a mirror may be behind, by any thread.
  void on_change(std::function<void()> call);
  void changed();

 private:
  struct Entry {
    MirrorStatus status;
    std::optional<std::string> seen;
    std::shared_ptr<MirrorJournal> journal;
    bool first = true;
  };
  struct Book {
    std::vector<std::string> order;
    std::map<std::string, Entry> entries;
    std::vector<std::string> repairs;
    uint64_t repair_count = 0;
    std::string primary_away;
  };
  std::string stem(const std::string& place) const;
  Entry load(const std::string& place) const;
  void save(const Entry& entry) const;
  template <typename Change>
  void change(const std::string& place, Change change);

  const std::string directory_;
  mutable base::Synchronized<Book> book_;
  base::Synchronized<std::function<void()>> on_change_;
};

}  // namespace davit::jobs
