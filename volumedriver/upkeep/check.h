// Check: proves that every snapshot can be restored, as `restic check` does (format facts §13):
// indexes, packs and their sizes, every tree and every blob that a file names; with read_data every
// pack is read, decrypted, decompressed and hashed. Under a shared lock.
#pragma once

#include <cstdint>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "repo/repository.h"

namespace davit::upkeep {

struct CheckOptions {
  bool read_data = false;
  base::Progress* progress = nullptr;
  std::stop_token stop;
};

struct CheckReport {
  std::vector<std::string>
      errors;  // each: what is wrong, and in which snapshot and path where known
  std::vector<std::string> hints;  // no danger: orphan packs, duplicates
  uint64_t snapshots = 0, trees = 0, blobs = 0, packs = 0, bytes_read = 0;
  bool ok() const { return errors.empty(); }
};

CheckReport check(repo::Repository& repository, const CheckOptions& options);

}  // namespace davit::upkeep
