// Loads blobs ahead of whoever takes them, on several threads, and gives them in order.
//
// take() and recycle() are for one thread. Memory: no more plain bytes than `limit_bytes` are
// loaded or being loaded at once, or one blob that is larger; and as many that were recycled.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <stop_token>
#include <vector>

#include "base/bytes.h"
#include "base/crew.h"
#include "base/id.h"
#include "repo/repository.h"

namespace davit::restore {

struct WantedPiece {
  base::Id id;
  uint32_t size_bytes = 0;  // plain, as the index says
};

class BlobAhead {
 public:
  // Begins at once. All borrowed, and outliving it.
  BlobAhead(const repo::Repository& repository, const std::vector<WantedPiece>& wanted,
            uint64_t limit_bytes, std::stop_token stop);
  ~BlobAhead();  // ends the threads

  // The next blob, verified, of the size that was said. Throws what loading it or a later one
  // threw, Corrupt for another size, Cancelled; then, and after the last one, it is of no more use.
  base::Bytes take();
  // A buffer that take() gave and that is not needed any more.
  void recycle(base::Bytes buffer);

 private:
  void run();
  void load(const WantedPiece& piece, base::Bytes& into) const;
  void stop();

  const repo::Repository& repository_;
  const std::vector<WantedPiece>& wanted_;
  const uint64_t limit_bytes_;
  const std::stop_token stop_;

  std::mutex mutex_;
  std::condition_variable loaded_, freed_;
  std::map<size_t, base::Bytes> ready_;  // by number, those to be taken next
  std::vector<base::Bytes> spare_;       // making large buffers anew costs page faults
  size_t next_to_load_ = 0, next_to_take_ = 0;
  uint64_t used_bytes_ = 0;
  bool stopped_ = false;
  base::Crew crew_;
  std::stop_callback<std::function<void()>> on_stop_;
};

}  // namespace davit::restore
