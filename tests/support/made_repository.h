// A repository that a test fills by hand: snapshots of files named by their paths, without any file
// system.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "repo/repository.h"
#include "repo/upload.h"

namespace davit::test {

// Path, with '/' between components and none at the front, to content.
using Files = std::map<std::string, std::string>;

// Bytes that neither compress nor repeat, the same for the same seed.
std::string noise(uint64_t seed, size_t size_bytes);

// Options for packs of that size.
repo::UploadOptions packs_of(uint32_t size_bytes);

// Saves the files (each cut into pieces of `piece_bytes`) and a snapshot of them. What the
// repository has is not stored again.
base::Id save_files(repo::Repository& repository, const Files& files,
                    repo::UploadOptions options = {}, size_t piece_bytes = 10'000);
// As save_files, but without the snapshot: what a backup that died leaves behind. Returns the root
// tree.
base::Id save_trees(repo::UploadSession& session, const Files& files, size_t piece_bytes = 10'000);

// Reads all files of a snapshot, every blob verified. Throws where something is missing.
Files read_files(repo::Repository& repository, const base::Id& snapshot);

// Names of all files of a kind in the store, sorted.
std::vector<base::Id> ids_of(store::Store& store, store::Kind kind);
uint64_t bytes_of(store::Store& store, store::Kind kind);

}  // namespace davit::test
