// A store that keeps copies of another's files on this machine: of indexes, snapshots, and packs
// that hold trees (Name::trees), which are read again and again, while packs of data seldom are.
//
// What it promises beyond the contract of store.h, which it keeps but for the last two points:
//  - Before begin() it only passes everything on. list, find_size, put, remove and what is neither
//    an index, a snapshot nor a pack of trees always are.
//  - An index or a snapshot that get() gives was shown by this object's latest list of its kind, or
//    is read now. Thus one that somebody else has removed since may still be read, until that list.
//  - A range of a pack of trees may come from here as long as the latest list of packs did not lack
//    it. The first range that is wanted of one brings all of it, up to `largest_pack`, if the
//    caller has the time (base/patience.h).
//  - Nothing is kept that is not what its name says, but a copy may go bad here later. Readers
//    verify what they get; heal() drops a bad copy, and where the store beneath has lost a file of
//    which there is a whole copy here, it puts that back.
//  - The directory cannot make a call fail (cache_files.h).
// Any thread. At most kFetches packs are in memory at once.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "store/cache_files.h"
#include "store/store.h"

namespace davit::store {

class CacheStore : public Store {
 public:
  using Store::put;
  static constexpr uint64_t kLargestPack = 32 << 20;
  static constexpr unsigned kFetches = 2;

  explicit CacheStore(std::shared_ptr<Store> inner, uint64_t largest_pack = kLargestPack)
      : inner_(std::move(inner)), largest_pack_(largest_pack) {}

  // From now on copies are kept in `directory`, which is this repository's alone; see CacheFiles.
  // Once, before another thread knows of the store.
  void begin(const std::string& directory, std::function<uint64_t()> max_bytes);

  void prepare() override { inner_->prepare(); }
  void put(const Name& name, std::span<const base::ByteView> pieces) override;
  std::unique_ptr<Draft> begin_draft(Kind kind, size_t expected_bytes) override;
  base::Bytes get(const Name& name, uint64_t max_bytes) override;
  void get_range(const Name& name, uint64_t offset, std::span<uint8_t> out) override;
  std::optional<uint64_t> find_size(const Name& name) override { return inner_->find_size(name); }
  void list(Kind kind, const std::function<void(const FileInfo&)>& each) override;
  void remove(const Name& name) override;
  bool heal(const Name& name, const std::function<bool(base::ByteView)>& is_whole) override;
  void forget_copies(Kind kind) override;
  bool is_read_only() override { return inner_->is_read_only(); }
  unsigned connections() const override { return inner_->connections(); }
  std::string describe() const override { return inner_->describe(); }

  struct Counts {
    uint64_t hits = 0;     // calls that were answered from here
    uint64_t fetches = 0;  // files that were read from the store and kept
    uint64_t dropped = 0;  // copies that had gone bad
  };
  Counts counts() const { return {hits_, fetches_, dropped_}; }

 private:
  class CopiedDraft;
  class Fetch;

  bool keeps(const Name& name) const;
  bool is_wanted_whole(const Name& name);
  void keep(const Name& name, std::span<const base::ByteView> pieces);
  // Reads all of it and keeps it. Nothing where it is too large for that.
  std::optional<base::Bytes> fetch_pack(const Name& name);
  bool is_whole_beneath(const Name& name, const std::function<bool(base::ByteView)>& is_whole);

  const std::shared_ptr<Store> inner_;
  const uint64_t largest_pack_;
  std::unique_ptr<CacheFiles> files_;  // null before begin()
  std::atomic<uint64_t> hits_{0}, fetches_{0}, dropped_{0};

  std::mutex mutex_;  // protects the rest
  std::condition_variable_any fetched_;
  std::unordered_set<base::Id> under_way_;
  // How often each pack was read whole since the last list of packs. Where that does not help, as
  // the cache is smaller than what is read, ranges are read.
  std::unordered_map<base::Id, unsigned> read_whole_;
};

}  // namespace davit::store
