// Puts new blobs into packs and packs into the store, and says in index files where they are.
//
//   UploadSession session(repository, options);
//   session.save_blob(BlobType::data, bytes) …      from as many threads as you like
//   session.finish();                               from here on every saved blob is in the store
//   and indexed repository.save_snapshot(…)                     last, by the caller
//
// save_blob does the work (SHA-256, zstd, AES, and the pack's hash while its bytes are in the
// processor's cache) on the caller's thread; packs beyond 1 MiB grow as drafts of the store, and
// are committed by store.connections() threads of the session. Index files are written as it goes
// (50,000 blobs or 10 minutes), so that a run that dies leaves its packs useful; what arrived since
// the last one is noted on this machine's disk (arrived_packs.h), and the next session begins with
// an index file for it. Without finish() nothing that is visible depends on it.
//
// Memory, whatever is saved: with N calling threads, C = store.connections() and B the largest
// blob,
//   packs    12 open + C queued + C uploading + N waiting, each 1 MiB; where the store holds drafts
//            in memory, each 9/8 * pack_size_bytes + B
//   scratch  N * max(B, 8 MiB), and N * 2 * B for trees and where data is verified; (processors +
//            4) * 4 MiB spare
//   names    40 bytes * blobs that no index file has yet (about 50,000 and what the packs above
//   hold)
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>

#include "repo/repository.h"

namespace davit::repo {

struct UploadOptions {
  uint32_t pack_size_bytes = 16 << 20;  // 4 KiB to 512 MiB
  // Decrypt, decompress and hash every blob again before it leaves (trees and indexes always are).
  bool verify_data = false;
  // An index file is written once it has so many blobs, or is so old when a pack arrives.
  size_t index_blobs = 50'000;
  std::chrono::seconds index_age{600};
  std::stop_token stop{};
  // When so many bytes may go to the store: base::Bandwidth::reserve. Empty: at once.
  std::function<std::chrono::steady_clock::time_point(uint64_t bytes)> reserve{};
  // Called once, on a thread of the session or by its constructor, before the first pack or index
  // file gets its name in the store; what it throws fails the session. May be empty.
  std::function<void()> before_first_pack{};
};

struct UploadCounts {
  uint64_t data_blobs = 0, tree_blobs = 0;  // new ones
  uint64_t data_added_bytes = 0;            // plain, new ones
  uint64_t data_added_packed_bytes = 0;     // as stored
};

class UploadSession {
 public:
  // The index must be fresh (refresh_index). `repository` must outlive it. First adopts the packs
  // of sessions that came to no end, and throws what the store and `before_first_pack` throw then.
  explicit UploadSession(Repository& repository, UploadOptions options = {});
  ~UploadSession();  // without finish(): stops the threads; packs that arrived stay for the next
                     // session, or prune

  struct Saved {
    base::Id id;
    bool is_new = false;
  };
  // Stores the blob unless the repository or this session has it. Throws what an upload threw, on
  // any thread, and Cancelled when `stop` was requested; after any failure the session is of no
  // more use, and every call throws that failure again. No blob is empty (UsageError).
  Saved save_blob(BlobType type, base::ByteView plain);
  // Several, which were hashed already: ids[i] is the name of plain[i]. Costs less than one after
  // another, as their packs are hashed together.
  void save_blobs(BlobType type, std::span<const base::Id> ids,
                  std::span<const base::ByteView> plain);
  // For callers that hashed already (prune, copy). `even_if_known`: also where the repository has
  // it, but once a session.
  Saved save_blob(BlobType type, const base::Id& id, base::ByteView plain,
                  bool even_if_known = false);
  // Copies a blob as another pack holds it, sealed anew: `content` is its zstd frame and
  // `plain_length_bytes` its plain size, or the plain bytes and 0. The caller has verified it. As
  // with `even_if_known`. A tree that is not compressed is compressed.
  Saved copy_blob(BlobType type, const base::Id& id, base::ByteView content,
                  uint32_t plain_length_bytes);
  // Uploads what is open, waits, writes the last index file and adds it to the repository's index.
  // Every save_blob must have returned.
  void finish();
  UploadCounts counts() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace davit::repo
