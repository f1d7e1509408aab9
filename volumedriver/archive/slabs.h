// Memory for pieces on their way. A slab has the largest piece's size; a reader fills it with piece
// after piece, and once none of them is left it is filled again: so no piece costs a page fault,
// and little is copied. The number of slabs is the bound on a run's memory.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "repo/chunker.h"

namespace davit::archive {

// Any thread. Must outlive what it lent.
class Slabs {
 public:
  static constexpr size_t kSize = repo::kMaxChunk;
  // For each reader: less, and pieces that are sealed together would keep it waiting.
  static constexpr size_t kPerReader = 4;

  explicit Slabs(size_t readers) : limit_(readers * kPerReader) {}

  // On loan, until the last copy ends.
  using Handle = std::shared_ptr<base::Bytes>;

  // kSize bytes of any content. Waits until one has returned. Throws Cancelled once stopped.
  Handle take();
  void stop();

 private:
  void give_back(std::unique_ptr<base::Bytes> slab);

  const size_t limit_;
  std::mutex mutex_;
  std::condition_variable freed_;
  bool stopped_ = false;
  size_t made_ = 0;
  std::vector<std::unique_ptr<base::Bytes>> free_;
};

// Bytes that keep their slab on loan.
struct SlabPart {
  Slabs::Handle slab;
  base::ByteView bytes;
};

// What one reader has read and not cut yet. One thread at a time.
class Window {
 public:
  explicit Window(Slabs& slabs) : slabs_(slabs) {}

  base::ByteView filled() const { return {begin_, end_}; }
  // For up to `most` bytes behind what is there; never empty, unless `most` is 0 or kMaxChunk bytes
  // are there. What is there may move for it. As Slabs::take().
  std::span<uint8_t> room(size_t most);
  // So many bytes of the room are there now.
  void grow(size_t count) { end_ += count; }
  // The first `count` bytes leave.
  SlabPart cut(size_t count);
  void clear() { begin_ = end_; }

 private:
  Slabs& slabs_;
  Slabs::Handle slab_;
  uint8_t *begin_ = nullptr, *end_ = nullptr;  // in it
};

}  // namespace davit::archive
