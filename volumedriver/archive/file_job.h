// What moves between the stages of an archive run.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <list>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "archive/assembly.h"
#include "archive/node.h"
#include "base/bytes.h"
#include "base/descent.h"

namespace davit::archive {

// walk -> read: a regular file whose content is to be saved.
struct FileJob {
  Assembly::Place place;
  base::Descent::Handle directory;  // null: to be opened again, by `path`
  std::string name;
  std::string path;        // relative to the tree's root
  uint64_t device_id = 0;  // for the node, if it is a hard link
  bool had_prior = false;
  // The first name of a file with several: the others wait for it (links.h).
  bool is_link = false;
  uint64_t device = 0, inode = 0;  // as the walk saw them
};

// A file while its pieces are under way. The reader and each piece hold a share; who gives up the
// last one finishes the file.
struct PendingFile {
  FileJob job;
  repo::Node node;  // set by the reader before it gives up its share
  bool trusted = false;
  bool discarded = false;  // it changed while it was read; another try follows
  std::mutex mutex;        // of content
  std::vector<base::Id> content;
  std::atomic<size_t> shares{1};
  std::list<PendingFile>::iterator self;

  void set(size_t index, const base::Id& id) {
    std::lock_guard lock(mutex);
    if (content.size() <= index) content.resize(index + 1);
    content[index] = id;
  }
};

// Owns what is pending.
class PendingFiles {
 public:
  PendingFile& add() {
    std::lock_guard lock(mutex_);
    files_.emplace_front();
    files_.front().self = files_.begin();
    return files_.front();
  }
  void remove(PendingFile& file) {
    std::lock_guard lock(mutex_);
    files_.erase(file.self);
  }

 private:
  std::mutex mutex_;
  std::list<PendingFile> files_;
};

// Buffers for pieces, so many at once as `limit_bytes` allows: this is the bound on the run's
// memory, but for 4 MiB in each of kSpareBuffers. Must outlive what it lent.
class BufferPool {
 public:
  static constexpr size_t kSpareBuffers = 8;

  explicit BufferPool(size_t limit_bytes) : limit_bytes_(limit_bytes) {}

  // A buffer on loan; it returns by itself.
  class Lease {
   public:
    Lease() = default;
    Lease(Lease&& other) noexcept
        : bytes(std::move(other.bytes)),
          pool_(std::exchange(other.pool_, nullptr)),
          cost_(other.cost_) {}
    Lease& operator=(Lease&& other) noexcept {
      std::swap(bytes, other.bytes);
      std::swap(pool_, other.pool_);
      std::swap(cost_, other.cost_);
      return *this;
    }
    ~Lease() {
      if (pool_) pool_->give_back(std::move(bytes), cost_);
    }
    explicit operator bool() const { return pool_ != nullptr; }
    // No more than the first `size` bytes are wanted: the rest counts no longer.
    void shrink(size_t size);

    base::Bytes bytes;

   private:
    friend class BufferPool;
    BufferPool* pool_ = nullptr;
    size_t cost_ = 0;
  };

  // A buffer of `size` bytes. Waits until others have returned. Throws Cancelled once stopped.
  Lease take(size_t size);
  void stop();

 private:
  void give_back(base::Bytes buffer, size_t cost);
  void give_cost(size_t cost);

  const size_t limit_bytes_;
  std::mutex mutex_;
  std::condition_variable freed_;
  size_t used_bytes_ = 0;
  bool stopped_ = false;
  std::vector<base::Bytes> spare_;  // large ones: making them anew costs page faults
};

// read -> hash, compress, seal.
struct Piece {
  PendingFile* file = nullptr;
  size_t index = 0;
  BufferPool::Lease lease;
};

}  // namespace davit::archive
