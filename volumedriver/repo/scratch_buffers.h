#pragma once

#include <vector>

#include "base/bytes.h"
#include "base/synchronized.h"
#include "repo/chunker.h"

namespace davit::repo {

// Buffers that are used again: a fresh one of this size costs a page fault every 4 KiB. Of what
// large blobs left behind only the first part is kept.
class ScratchBuffers {
 public:
  explicit ScratchBuffers(size_t keep) : keep_(keep) {}

  base::Bytes take() {
    base::Bytes bytes;
    free_.with([&](auto& free) {
      if (free.empty()) return bytes.reserve(kMaxChunk + kRoom);
      bytes = std::move(free.back());
      free.pop_back();
    });
    bytes.clear();
    return bytes;
  }

  void give(base::Bytes bytes) {
    if (bytes.capacity() > 2 * kMaxChunk) return;  // an unusually large blob's
    base::trim(bytes, kKept);
    free_.with([&](auto& free) {
      if (free.size() < keep_) free.push_back(std::move(bytes));
    });
  }

 private:
  static constexpr size_t kKept = 4 << 20;
  // For what sealing adds. Growing would move to fresh memory; what is not used costs nothing.
  static constexpr size_t kRoom = 64 << 10;
  const size_t keep_;
  base::Synchronized<std::vector<base::Bytes>> free_;
};

// One of them, until its end.
struct Loan {
  explicit Loan(ScratchBuffers& buffers) : buffers(buffers), bytes(buffers.take()) {}
  ~Loan() { buffers.give(std::move(bytes)); }
  Loan(const Loan&) = delete;
  Loan& operator=(const Loan&) = delete;

  ScratchBuffers& buffers;
  base::Bytes bytes;
};

}  // namespace davit::repo
