// The part of check that reads packs whole.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/errors.h"
#include "base/progress.h"
#include "repo/repository.h"
#include "upkeep/blob_table.h"

namespace davit::upkeep {

struct PackCheck {
  base::Progress* progress = nullptr;
  std::stop_token stop;
  // One call at a time. `pack` is its number in the table.
  std::function<void(uint32_t pack, const std::string& reason)> on_error;
  // Asked about a pack in which something is wrong: true where it was put right, so that it is read
  // again. One call at a time. Empty: nothing can be.
  std::function<bool(uint32_t pack)> heal{};
  // Told of each pack that is whole. One call at a time. May be empty.
  std::function<void(uint32_t pack)> on_whole{};
  // Told of a pack that the store cannot give now; the others are read. One call at a time. A
  // second one with none read in between is the store's failure, and is thrown.
  std::function<void(uint32_t pack, const base::IoError& error)> on_away;
};

// Reads every pack that is listed in `sizes` (by number in the table): its hash must be its name,
// its header must say what the index says, every blob must decrypt, decompress and have the hash
// that is its ID. Copies that do not are marked as damaged. Memory for each thread: a pack, 4 MiB
// of plain bytes or the largest blob, and a compressed blob; packs over 128 MiB are read one at a
// time. Returns how many bytes were read.
uint64_t read_packs(const repo::Repository& repository, const BlobTable& table,
                    const std::vector<std::optional<uint64_t>>& sizes, const PackCheck& options);

}  // namespace davit::upkeep
