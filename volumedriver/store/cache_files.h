// Copies of a repository's files in a directory of this machine: a file each, so many bytes
// together, and the one that was not used for longest goes first. What they hold is never trusted:
// nothing is synced, and anybody may have changed them.
//
// No failure of the directory is an error. What cannot be read is not there; where nothing can be
// written (the disk is full, it is read-only) the log says so, and for a minute it is not tried.
// Any thread may call anything. One process a directory.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/id.h"
#include "store/store.h"

namespace davit::store {

class CacheFiles {
 public:
  // Finds what a former run left. `max_bytes` is asked whenever something is added.
  CacheFiles(std::string directory, std::function<uint64_t()> max_bytes);

  // Nothing where there is none, or where it is larger than that.
  std::optional<base::Bytes> find(const Name& name, uint64_t max_bytes);
  // False where there is none, or where it ends before.
  bool read(const Name& name, uint64_t offset, std::span<uint8_t> out);
  void drop(const Name& name);

  // Whether the latest list of its kind, made while it was here, showed it; and nobody doubts it.
  bool is_listed(const Name& name) const;
  // From now on the store is asked for what is here of a kind, until it has given it. What the store
  // has lost stays here.
  void doubt(Kind kind);
  // Whether so much could be added now.
  bool has_room_for(uint64_t size_bytes) const;

  // A copy under way. Without keep() nothing of it stays. One thread at a time.
  class Copy {
   public:
    explicit Copy(CacheFiles& files);
    ~Copy();
    Copy(const Copy&) = delete;
    Copy& operator=(const Copy&) = delete;
    void append(base::ByteView bytes);
    void keep(const Name& name);

   private:
    CacheFiles& files_;
    std::string path_;  // "": nothing can be written
    base::Fd file_;
    uint64_t size_bytes_ = 0;
  };
  void add(const Name& name, std::span<const base::ByteView> pieces);

  // A list of a kind, from its beginning to its end. What was here when it began and was not shown
  // goes at the end.
  class Census {
   public:
    Census(CacheFiles& files, Kind kind);
    void see(const base::Id& id);
    void finish();

   private:
    CacheFiles& files_;
    const Kind kind_;
    std::vector<base::Id> ids_;  // sorted
    std::vector<bool> seen_;
  };

 private:
  struct Key {
    Kind kind;
    base::Id id;
    bool operator==(const Key&) const = default;
  };
  struct HashKey {
    size_t operator()(const Key& key) const {
      return std::hash<base::Id>()(key.id) + static_cast<size_t>(key.kind);
    }
  };
  struct Entry {
    Key key;
    uint64_t size_bytes = 0;  // on the disk
    bool is_listed = false, is_doubted = false;
    std::chrono::steady_clock::time_point touched{};
  };
  using Entries = std::list<Entry>;  // the one used last in front

  std::string path_of(const Key& key) const;
  void look_for(Kind kind, std::vector<std::pair<int64_t, Entry>>& found) const;
  // The file, and counts as a use of it. Nothing where there is none.
  base::Fd open(const Name& name);
  void insert(const Name& name, uint64_t size_bytes);
  void erase(Entries::iterator entry);
  void make_room(uint64_t max_bytes);
  void cannot_write(const char* what);

  const std::string directory_;
  const std::function<uint64_t()> max_bytes_;
  std::atomic<uint64_t> copies_{0};
  std::atomic<int64_t> not_before_ns_{0};  // of the steady clock: until then nothing is written

  mutable std::mutex mutex_;  // protects the rest
  Entries entries_;
  std::unordered_map<Key, Entries::iterator, HashKey> by_key_;
  uint64_t size_bytes_ = 0;
  bool is_told_ = false;  // that nothing can be written
};

}  // namespace davit::store
