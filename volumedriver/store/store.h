// Where the files of a repository are kept. Everything above the stores speaks of kinds and IDs;
// only a store knows paths, keys or URLs (layout: the restic repository format, "default layout").
//
// The contract that every store keeps, and that tests/store/store_contract.h proves for each:
//  - put: when it returns, the file is durable and visible under its name with exactly these bytes;
//  when it
//    throws or the process dies, it is either absent or complete. Putting the same name again with
//    the same bytes is allowed.
//  - read after write, also through another Store object; list shows every complete file and no
//  other.
//  - remove: durable when it returns; a file that is not there is no error.
//  - errors: absence is NotFound; everything else IoError with transient() true where trying again
//  may help.
// Any thread may call anything, at the same time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/bytes.h"
#include "base/id.h"

namespace davit::store {

enum class Kind : uint8_t { config, key, data, index, snapshot, lock };
const char* kind_name(Kind kind);  // "config", "key", …

// A file's name. `config` has no ID: leave it zero.
struct Name {
  Kind kind = Kind::config;
  base::Id id;
  // Of data: the pack holds trees. No part of the name, but a hint that it is worth a place in a
  // cache.
  bool trees = false;
  // Of what is put, likewise: the caller has just made the ID of these bytes, so that nobody has to
  // hash them again.
  bool is_hash = false;
  // Of data, likewise: whoever reads verifies what it gets, so that any copy will do and the nearest
  // is the best. Without it a store reads the copy that counts.
  bool any_copy = false;
  bool operator==(const Name& other) const { return kind == other.kind && id == other.id; }
};
std::string to_string(const Name& name);  // "index/1a2b3c4d…", for messages

struct FileInfo {
  base::Id id;
  uint64_t size_bytes = 0;
};

// A file that is written before its name is known: a pack's is the hash of its bytes. One thread at
// a time. Until commit() nothing of it is visible, and without commit() nothing of it stays.
class Draft {
 public:
  virtual ~Draft() = default;
  virtual void append(base::ByteView bytes) = 0;
  // Of what was appended: [offset, offset + out.size()).
  virtual void read(uint64_t offset, std::span<uint8_t> out) = 0;
  // As put() of all that was appended. The last call, but where it threw a transient IoError it may
  // be repeated.
  virtual void commit(const Name& name) = 0;
};

class Store;

// What get() and get_range() throw: NotFound, and Corrupt for a range of so many bytes.
[[noreturn]] void not_found(const Name& name);
[[noreturn]] void too_short(const Name& name, uint64_t offset, size_t bytes);
// Whether the file's size alone answers get_range(): nothing is wanted, or what no file has and no
// request can name (63 bits). Throws as get_range() does.
bool is_settled(Store& store, const Name& name, uint64_t offset, size_t bytes);

class Store {
 public:
  virtual ~Store() = default;

  // Makes what must be there before the first put (directories, a bucket prefix). May be repeated.
  virtual void prepare() = 0;
  // `pieces` are written one after another; they are borrowed until it returns.
  virtual void put(const Name& name, std::span<const base::ByteView> pieces) = 0;
  // A draft of some `expected_bytes`. Where a store takes whole files only it is held in memory, as
  // here, or in a file of this machine (spool_draft.h). The store must outlive it.
  virtual std::unique_ptr<Draft> begin_draft(Kind kind, size_t expected_bytes);
  // The whole file; throws NotFound, or Corrupt when it is larger than `max_bytes`.
  virtual base::Bytes get(const Name& name, uint64_t max_bytes) = 0;
  // Exactly [offset, offset + out.size()); throws NotFound, or Corrupt when the file ends before.
  virtual void get_range(const Name& name, uint64_t offset, std::span<uint8_t> out) = 0;
  // Nothing where there is no such file.
  virtual std::optional<uint64_t> find_size(const Name& name) = 0;
  // Calls `each` for every file of the kind, in no order, from the calling thread. Not for config.
  virtual void list(Kind kind, const std::function<void(const FileInfo&)>& each) = 0;
  virtual void remove(const Name& name) = 0;

  // What `name` gave is not what was put there, or it is missing although something names it. Where
  // this store can do better (a cache drops its copy, a mirror has another one) it does so and
  // returns true: read it again. `is_whole` tells of bytes whether they are the file's; it may be
  // called by the caller's thread only. Throws what get() and put() throw.
  virtual bool heal(const Name& name, const std::function<bool(base::ByteView)>& is_whole);

  // Who is to prove what the store has, and not what this machine remembers of it, calls this first:
  // copies of files of that kind that are kept beside the store are dropped.
  virtual void forget_copies(Kind) {}

  // Whether nothing can be written now, nor removed: a file system that is mounted read-only. False
  // where that shows only when it is tried.
  virtual bool is_read_only() { return false; }

  // How many calls at once make sense.
  virtual unsigned connections() const = 0;
  // What a user would call it, without secrets: "/var/lib/davit/repository", "s3:host/bucket".
  virtual std::string describe() const = 0;

  void put(const Name& name, base::ByteView bytes) { put(name, std::span(&bytes, 1)); }
};

}  // namespace davit::store
