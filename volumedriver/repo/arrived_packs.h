// Packs that have arrived in the store and that no index file names yet, noted on this machine's
// disk: so that a session which fails, or whose process is killed, leaves them useful. Each list is
// a file index.arrived-UUID in the index cache's directory: a record a pack, appended when the pack
// is in the store, sealed with the repository's key. A record that was torn, changed or is of
// another repository does not open, and counts as not written; so do all behind it. The file is
// locked while its session lives, and goes when an index file has it all.
//
// Memory and disk: a list holds what one index file will (UploadOptions::index_blobs and one pack
// more); a file above 64 MiB is none of ours.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "base/fd.h"
#include "base/id.h"
#include "crypto/seal.h"
#include "repo/blob.h"

namespace davit::repo {

class Repository;

// One thread at a time.
class ArrivedPacks {
 public:
  // A new list in `directory`. Where it cannot be kept (the disk is full), the log says so, and it
  // is not: then prune removes what a failed session leaves.
  ArrivedPacks(const std::string& directory, const crypto::Key& key);
  // What is noted stays.
  ~ArrivedPacks() = default;
  ArrivedPacks(const ArrivedPacks&) = delete;
  ArrivedPacks& operator=(const ArrivedPacks&) = delete;

  void add(const base::Id& pack, std::span<const PackBlob> blobs);
  // An index file in the store names them all.
  void forget();

 private:
  void give_up(const char* why);

  const std::string path_;
  const crypto::Key key_;
  base::Fd file_;  // none: nothing is noted any more
};

// Writes index files for the packs in lists of sessions that are gone, as far as the packs are
// still there, with the size that their blobs make, and no index file names them; adds those to the
// repository's index, which must be fresh, and removes the lists. Returns how many packs there
// were. Wants a shared lock, or nobody could say that they stay; where there is a list, `make_sure`
// (may be empty) is called for that first. Throws what it and the store throw; the lists stay then.
size_t adopt_arrived_packs(Repository& repository, const std::function<void()>& make_sure);

}  // namespace davit::repo
