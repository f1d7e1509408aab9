// When each pack of a repository was read whole and found whole last: what a scrub, which reads a
// part each day, goes by. In a file of 16 bytes a pack; where that is lost, all begins anew. Times
// are kept to the minute. One thread.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/id.h"
#include "upkeep/data_subset.h"

namespace davit::upkeep {

class ReadBook {
 public:
  // Of that repository; empty where the file is missing, damaged or another repository's.
  static ReadBook load(const std::string& path, const base::Id& repository);
  // Durable when it returns. Throws IoError.
  void save(const std::string& path) const;

  // The packs that there are now: those that came are seen from now on, those that went are
  // forgotten.
  void adopt(std::span<const PackSize> packs, base::Time now);
  // One of those.
  void note_read(const base::Id& pack, base::Time now);

  // Which packs to read now, so that none goes unread for longer than `period`: those that would
  // before the next day is over; else those that were never read, then those whose last reading is
  // the oldest, until a part of all bytes is reached as large as `since_last` is of `period`
  // (since_last: what has gone by since the last time; at least a day counts).
  std::vector<bool> choose(std::span<const PackSize> packs, base::Time now,
                           std::chrono::seconds period, std::chrono::nanoseconds since_last) const;

  struct Coverage {
    size_t packs = 0;
    size_t covered = 0;                // of them read within the period
    size_t never = 0;                  // of them not yet read
    std::optional<base::Time> oldest;  // reading of those that were read
    // 1 where there are no packs.
    double ratio() const {
      return packs == 0 ? 1 : static_cast<double>(covered) / static_cast<double>(packs);
    }
  };
  Coverage coverage(base::Time now, std::chrono::seconds period) const;

 private:
  using Key = std::array<uint8_t, 12>;  // the beginning of a pack's ID
  struct Entry {
    uint32_t minute = 0;  // since 1970: when it was read, or seen first
    bool is_read = false;
  };
  static Key key_of(const base::Id& pack);

  base::Id repository_;
  std::map<Key, Entry> entries_;
};

}  // namespace davit::upkeep
