// Puts new blobs into packs and packs into the store, and says in index files where they are.
//
//   UploadSession session(repository, options);
//   session.save_blob(BlobType::data, bytes) …      from as many threads as you like
//   session.finish();                               from here on every saved blob is in the store and indexed
//   repository.save_snapshot(…)                     last, by the caller
//
// save_blob does the work (SHA-256, zstd, AES) on the caller's thread; full packs are uploaded by
// store.connections() threads of the session. Index files are written as it goes (50,000 blobs or 10 minutes),
// so that a run that dies leaves its packs useful; without finish() nothing that is visible depends on it.
// Memory: (2 open packs per type + connections + queue) * pack size, whatever is saved.
#pragma once

#include <cstdint>
#include <memory>
#include <stop_token>

#include "repo/repository.h"

namespace davit::repo {

struct UploadOptions {
  uint32_t pack_size_bytes = 16 << 20;
  // Decrypt, decompress and hash every blob again before it leaves (trees and indexes always are).
  bool verify_data = false;
  std::stop_token stop;
};

struct UploadCounts {
  uint64_t data_blobs = 0, tree_blobs = 0;  // new ones
  uint64_t data_added_bytes = 0;            // plain, new ones
  uint64_t data_added_packed_bytes = 0;     // as stored
};

class UploadSession {
 public:
  // The index must be fresh (refresh_index). `repository` must outlive it.
  explicit UploadSession(Repository& repository, UploadOptions options = {});
  ~UploadSession();  // without finish(): stops the threads; packs that arrived stay as orphans for prune

  struct Saved {
    base::Id id;
    bool is_new = false;
  };
  // Stores the blob unless the repository or this session has it. Throws what an upload threw, on any thread,
  // and Cancelled when `stop` was requested.
  Saved save_blob(BlobType type, base::ByteView plain);
  // For callers that hashed already (prune, copy).
  Saved save_blob(BlobType type, const base::Id& id, base::ByteView plain, bool even_if_known = false);
  // Uploads what is open, waits, writes the last index files and adds them to the repository's index.
  void finish();
  UploadCounts counts() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace davit::repo
