// Index records in memory, in the order in which they came, and a hash table of their numbers. IDs
// are uniform, so their first bytes are the hash. Records lie in blocks that never move and never
// change, so a copy of the blocks' pointers is a picture of the whole that needs no lock. Its owner
// locks.
#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "base/errors.h"
#include "repo/index_record.h"

namespace davit::repo {

class RecordTable {
 public:
  static constexpr size_t kBlock = 1 << 12;
  using Block = std::array<IndexRecord, kBlock>;
  struct Picture {
    std::vector<std::shared_ptr<const Block>> blocks;
    size_t size = 0;
    const IndexRecord& at(size_t number) const {
      return (*blocks[number / kBlock])[number % kBlock];
    }
  };
  Picture picture() const { return {{blocks_.begin(), blocks_.end()}, size_}; }

  size_t size() const { return size_; }
  const IndexRecord& at(size_t number) const {
    return (*blocks_[number / kBlock])[number % kBlock];
  }

  void reserve(size_t more) {
    size_t slots = std::max<size_t>(slots_.size(), 1024);
    while ((size_ + more) * 4 > slots * 3) slots *= 2;
    if (slots != slots_.size()) rehash(slots);
  }

  // After reserve().
  void add(const IndexRecord& record) {
    DAVIT_CHECK(size_ < kFree);
    if (size_ % kBlock == 0) blocks_.push_back(std::make_shared<Block>());
    (*blocks_[size_ / kBlock])[size_ % kBlock] = record;
    place(static_cast<uint32_t>(size_));
    ++size_;
  }

  // Calls `each` for the records of this ID until it returns true.
  template <typename Each>
  void find(const base::Id& id, Each&& each) const {
    if (slots_.empty()) return;
    const size_t mask = slots_.size() - 1;
    for (size_t slot = hash(id) & mask; slots_[slot] != kFree; slot = (slot + 1) & mask) {
      const IndexRecord& record = at(slots_[slot]);
      if (record.id == id && each(record)) return;
    }
  }

 private:
  static constexpr uint32_t kFree = UINT32_MAX;

  static size_t hash(const base::Id& id) { return std::hash<base::Id>()(id); }

  void place(uint32_t number) {
    const size_t mask = slots_.size() - 1;
    size_t slot = hash(at(number).id) & mask;
    while (slots_[slot] != kFree) slot = (slot + 1) & mask;
    slots_[slot] = number;
  }

  void rehash(size_t slots) {
    // Not assign(): the old table is freed first.
    slots_ = {};
    slots_.resize(slots, kFree);
    for (size_t number = 0; number < size_; ++number) place(static_cast<uint32_t>(number));
  }

  std::vector<std::shared_ptr<Block>> blocks_;
  std::vector<uint32_t> slots_;
  size_t size_ = 0;
};

}  // namespace davit::repo
