// What fstat said of each file once it was complete, by its number in the order of the walk, so
// that the scan cache (seed.h) need not look every file up again by its name.
//
// Kept in a file without a name. In memory is 40 KiB for each 1024 files of which some are known
// and some are not yet: as many as the window of what is restored at once spans.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/fd.h"
#include "repo/scan_cache.h"

namespace davit::restore {

class Stamps {
 public:
  explicit Stamps(const std::string& directory);

  // Any thread; exactly once for each number from 0 on. `fd`: the file, after its last change.
  void take(uint64_t number, int fd);
  // Nothing is known of it: it will change yet, or its attributes have to be looked at, too.
  void pass_over(uint64_t number);

  // Once all are taken or passed over, by one thread, in ascending order: what is known of it.
  std::optional<repo::ScanStamp> find(uint64_t number);

 private:
  // The file's; all zero: nothing is known.
  struct Stamp {
    uint64_t inode = 0, size_bytes = 0;
    int64_t mtime_seconds = 0, ctime_seconds = 0;
    uint32_t mtime_nanoseconds = 0, ctime_nanoseconds = 0;
  };
  struct Group {
    std::vector<Stamp> stamps;
    size_t left = 0;
  };
  void set(uint64_t number, const Stamp& stamp);

  const base::Fd file_;
  std::mutex mutex_;  // of groups_
  std::unordered_map<uint64_t, Group> groups_;
  Group found_;  // the one that was asked for last
  std::optional<uint64_t> found_number_;
};

}  // namespace davit::restore
