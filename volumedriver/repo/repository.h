// A restic repository, format version 2 (the format: docs/format.md): opened once, used by many
// jobs at once. Writing goes through an UploadSession (upload.h); removing files is upkeep's. Locks
// are taken by the caller (lock.h): nothing here checks them. Any thread may call any const member,
// and load_index/refresh_index, at the same time.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/id.h"
#include "base/synchronized.h"
#include "crypto/seal.h"
#include "repo/chunker.h"
#include "repo/index.h"
#include "repo/small_files.h"
#include "repo/snapshot.h"
#include "store/store.h"

namespace davit::repo {

enum class Compression : uint8_t { automatic, off, max };
// restic's words: auto, off, max. Throws UsageError.
Compression parse_compression(std::string_view word);

class Repository {
 public:
  // Makes a new one: writes the key, then the config. Refuses (Conflict) where a config, a key or
  // anything else exists already; only what a killed init left (keys alone, and the password opens
  // one) is completed.
  static std::unique_ptr<Repository> init(std::shared_ptr<store::Store> store,
                                          std::string_view password);
  // Throws NoRepository (no config there), WrongPassword, Corrupt, Unsupported (version 1 or
  // unknown).
  static std::unique_ptr<Repository> open(std::shared_ptr<store::Store> store,
                                          std::string_view password);

  // The same repository in another store, which has the same files or is to have them: a mirror.
  std::unique_ptr<Repository> in(std::shared_ptr<store::Store> other) const;

  const base::Id& id() const { return config_.id; }
  const ConfigFile& config() const { return config_; }
  const crypto::Key& key() const { return key_; }
  // The key file that opened it; it cannot be removed while in use.
  const base::Id& key_id() const { return key_id_; }
  const Chunker& chunker() const { return chunker_; }
  store::Store& store() const { return *store_; }
  Compression compression() const { return compression_; }
  // For what is saved from now on. Any thread.
  void set_compression(Compression compression) { compression_ = compression; }

  // Keeps the index in a file of this directory (repo/index_cache.h), which must be the process's
  // own. Once, before the first refresh_index().
  void use_index_cache(const std::string& directory, const Index::Limits& limits = {});
  // "" where there is none: for what else does not fit in memory.
  const std::string& index_cache_directory() const { return index_cache_directory_; }
  // Reads the index files that were not read yet and forgets those that are gone. Cheap when
  // nothing changed.
  void refresh_index();
  const Index& index() const { return *index_; }
  Index& index() { return *index_; }

  // The blob's plain bytes, verified against its ID. Where several packs hold it, each is tried.
  // Throws NotFound (no index names it) or Corrupt/IoError naming the pack.
  base::Bytes load_blob(BlobType type, const base::Id& id) const;
  // As above, one given copy; where it is damaged, and the store can put that right, once more.
  // `out` is resized; its capacity is kept, so a caller may recycle it.
  void load_blob_from(const BlobLocation& location, BlobType type, const base::Id& id,
                      base::Bytes& out) const;

  // For a file that is missing or not what its name says: whether the store put it right, so that
  // it is worth reading again (store::Store::heal). Failures of the store are told by false.
  bool heal(const store::Name& name) const;
  // As heal(), but throws a transient IoError where not every place could be asked that may have it
  // whole: for who would remove it else.
  bool heal_surely(const store::Name& name) const;
  // Is told of each file that heal() put right, by the thread that asked for it, while the watch
  // lives. What it calls must be short.
  class HealWatch {
   public:
    HealWatch(const Repository& repository, std::function<void(const store::Name&)> on_healed);
    ~HealWatch();
    HealWatch(const HealWatch&) = delete;
    HealWatch& operator=(const HealWatch&) = delete;

   private:
    friend class Repository;
    const Repository& repository_;
    const std::function<void(const store::Name&)> on_healed_;
  };

  // index, snapshot and lock files: sealed, compressed JSON. The bytes are verified against the
  // name.
  base::Bytes load_unpacked(store::Kind kind, const base::Id& id) const;
  base::Id save_unpacked(store::Kind kind, base::ByteView json) const;
  // The first half of save_unpacked: a file and its name, for who must know that before it is put.
  struct SealedFile {
    base::Id id;
    base::Bytes bytes;
  };
  SealedFile seal_unpacked(store::Kind kind, base::ByteView json) const;

  struct SnapshotFile {
    base::Id id;
    Snapshot snapshot;
  };
  Snapshot load_snapshot(const base::Id& id) const;
  base::Id save_snapshot(const Snapshot& snapshot) const;
  // All that can be read, oldest first, served from memory where the file was read before (files
  // never change). A damaged one is passed to `on_error` (file ID, reason) and left out; without
  // `on_error`, throws.
  std::vector<SnapshotFile> load_snapshots(
      const std::function<void(const base::Id&, const std::string&)>& on_error = {}) const;

  // For members of this room and upkeep: use init and open.
  Repository(std::shared_ptr<store::Store> store, ConfigFile config, crypto::Key key,
             base::Id key_id);
  ~Repository();

 private:
  struct SnapshotCache;
  void read_copy(const BlobLocation& location, BlobType type, const base::Id& id,
                 base::Bytes& out) const;
  base::Bytes read_unpacked(store::Kind kind, const base::Id& id) const;
  void load_index_file(const base::Id& file, IndexFileContent& content) const;
  void read_index(bool from_scratch);

  std::shared_ptr<store::Store> store_;
  ConfigFile config_;
  crypto::Key key_;
  base::Id key_id_;
  Chunker chunker_;
  std::atomic<Compression> compression_{Compression::automatic};
  std::unique_ptr<Index> index_;
  std::string index_cache_directory_;
  std::mutex refreshing_;  // one refresh at a time
  std::unique_ptr<SnapshotCache> snapshot_cache_;
  mutable base::Synchronized<std::vector<const HealWatch*>> heal_watches_;
};

}  // namespace davit::repo
