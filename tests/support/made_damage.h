// A repository in memory with several snapshots that share much, and what is known of it without
// check and repair: which blob lies where, and which files and directories need it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "repo/repository.h"
#include "repo/tree.h"
#include "support/made_repository.h"
#include "support/memory_store.h"

namespace davit::test {

class MadeDamage {
 public:
  using Blob = std::pair<repo::BlobType, base::Id>;
  using Place = std::pair<base::Id, std::string>;  // snapshot, path from its root

  // Makes it; the same for the same `snapshots` but for IVs.
  explicit MadeDamage(int snapshots = 4);

  // A repository on a copy of the files; the password costs nothing.
  std::shared_ptr<MemoryStore> copy() const { return store_->copy(); }
  std::unique_ptr<repo::Repository> open(std::shared_ptr<store::Store> store) const;
  const std::map<base::Id, Files>& snapshots() const { return snapshots_; }
  // Adds another key file; its ID.
  base::Id add_key(repo::Repository& repository) const;

  // The blobs that a pack holds where these bytes are changed; none: in its header.
  std::vector<Blob> blobs_at(const base::Id& pack, uint64_t offset) const;
  std::vector<Blob> blobs_in(const base::Id& pack) const;
  // Where a user meets it: the files that have it as content; the directories whose tree it is.
  std::set<Place> places_of(const std::set<Blob>& blobs) const;
  // A snapshot's files without these blobs.
  Files files_without(const base::Id& snapshot, const std::set<Blob>& lost) const;

  const std::shared_ptr<MemoryStore>& store() const { return store_; }
  repo::Repository& repository() const { return *repository_; }

 private:
  struct Lies {
    Blob blob;
    uint32_t offset = 0, length = 0;
  };
  using OnFile = std::function<void(const std::string& path, const repo::Node& node)>;
  using OnDirectory = std::function<bool(const std::string& path, const base::Id& tree)>;
  void walk(const base::Id& tree, const std::string& path, const OnDirectory& on_directory,
            const OnFile& on_file) const;

  std::shared_ptr<MemoryStore> store_ = std::make_shared<MemoryStore>();
  std::unique_ptr<repo::Repository> repository_;
  base::Bytes spare_key_;
  std::map<base::Id, Files> snapshots_;
  std::map<base::Id, std::vector<Lies>> packs_;
};

// What check's errors say: "snapshot 1a2b3c4d, PATH: …"; snapshots by the beginning of their IDs.
std::set<std::pair<std::string, std::string>> places_in(const std::vector<std::string>& errors);

}  // namespace davit::test
