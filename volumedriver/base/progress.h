// What a running backup or restore has done so far. Written by its threads, read by any.
#pragma once

#include <atomic>
#include <cstdint>

namespace davit::base {

struct Progress {
  std::atomic<uint64_t> files_done{0}, bytes_done{0};
  std::atomic<uint64_t> files_total{0}, bytes_total{0};  // 0: not known; for a backup, the last run's figures
  std::atomic<uint64_t> errors{0};
};

}  // namespace davit::base
