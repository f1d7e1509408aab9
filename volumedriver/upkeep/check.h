// Check: proves that every snapshot can be restored, as `restic check` does (format facts §13):
// indexes, packs and their sizes, every tree and every blob that a file names; packs that are
// chosen are read whole, decrypted, decompressed and hashed. Under a shared lock.
//
// A file that is missing or wrong is put right where the store can (store::Store::heal), and looked
// at again: what is whole then is no error, but told.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/errors.h"
#include "base/progress.h"
#include "repo/repository.h"
#include "upkeep/data_subset.h"

namespace davit::upkeep {

struct CheckOptions {
  bool read_data = false;  // every pack is read whole
  ChoosePacks choose{};    // else those that it chooses; empty: none
  // Packs that are read whole in any case, where they are there: in which damage was found before.
  std::vector<base::Id> also_read{};
  base::Progress* progress = nullptr;
  std::stop_token stop{};
  // Called before something is put right, by any thread; what it throws ends the check. May be
  // empty.
  std::function<void()> before_heal{};
  // Told of each pack that was read and is whole. One call at a time. May be empty.
  std::function<void(const base::Id& pack)> on_whole_pack{};
  // Told of all packs that are in the index and in the store, once. May be empty.
  std::function<void(std::span<const PackSize>)> on_packs{};
};

struct CheckReport {
  std::vector<std::string>
      errors;  // each: what is wrong, and in which snapshot and path where known
  std::vector<std::string> repaired;  // what was wrong and was put right
  std::vector<std::string> hints;     // no danger: orphan packs, duplicates
  // All snapshots that cannot be restored as they were saved, and all packs that are missing or not
  // as they were written.
  std::vector<base::Id> damaged_snapshots, damaged_packs;
  // Why a chosen pack could not be read now, where that is so: of this one nothing is known.
  std::optional<base::IoError> away;
  uint64_t snapshots = 0, trees = 0, blobs = 0, packs = 0, packs_read = 0, bytes_read = 0;
  bool ok() const { return errors.empty(); }
};

CheckReport check(repo::Repository& repository, const CheckOptions& options);

}  // namespace davit::upkeep
