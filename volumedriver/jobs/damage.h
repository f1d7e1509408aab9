// What the last check, scrub or repair found wrong with the repository, kept in a file of
// DATA/state until a later one finds it whole.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/id.h"
#include "base/synchronized.h"

namespace davit::jobs {

struct Damage {
  base::Id repository;
  base::Time found{};
  std::string by;  // check, scrub, repair
  uint64_t errors = 0;
  std::vector<std::string> messages;  // the first of them
  // All snapshots that cannot be restored as they were saved; packs that are missing or damaged.
  // Sorted.
  std::vector<base::Id> snapshots, packs;
  // Of this host: whose snapshots these are.
  std::vector<std::string> volumes, containers;

  bool affects_volume(const std::string& name) const;
  bool affects_snapshot(const base::Id& id) const;
  // "3 errors in the repository, the first: …"
  std::string summary() const;
};

// Any thread.
class DamageBook {
 public:
  static constexpr size_t kMaxMessages = 100;

  // A file that cannot be read is as if nothing was found.
  explicit DamageBook(std::string path);

  // Of that repository.
  std::optional<Damage> find(const base::Id& repository) const;
  // Of whichever repository.
  std::optional<Damage> last() const;
  // Where it cannot be written, it is known until davit ends, and the log says so.
  void note(Damage damage);
  // That repository is whole.
  void clear(const base::Id& repository);

 private:
  const std::string path_;
  base::Synchronized<std::optional<Damage>> damage_;
};

}  // namespace davit::jobs
