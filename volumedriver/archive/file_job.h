// What moves between the stages of an archive run.
#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <mutex>
#include <string>
#include <vector>

#include "archive/assembly.h"
#include "archive/node.h"
#include "archive/slabs.h"
#include "base/bytes.h"
#include "base/descent.h"

namespace davit::archive {

// walk -> read: a regular file whose content is to be saved.
struct FileJob {
  Assembly::Place place;
  base::Descent::Handle directory;  // null: to be opened again, by `path`
  std::string name;
  std::string path;        // relative to the tree's root
  uint64_t device_id = 0;  // for the node, if it is a hard link
  bool had_prior = false;
  // The first name of a file with several: the others wait for it (links.h).
  bool is_link = false;
  uint64_t device = 0, inode = 0;  // as the walk saw them
};

// A file while its pieces are under way. The reader and each piece hold a share; who gives up the
// last one finishes the file.
struct PendingFile {
  FileJob job;
  repo::Node node;  // set by the reader before it gives up its share
  bool trusted = false;
  bool discarded = false;  // it changed while it was read; another try follows
  std::mutex mutex;        // of content
  std::vector<base::Id> content;
  std::atomic<size_t> shares{1};
  std::list<PendingFile>::iterator self;

  void set(size_t index, const base::Id& id) {
    std::lock_guard lock(mutex);
    if (content.size() <= index) content.resize(index + 1);
    content[index] = id;
  }
};

// Owns what is pending.
class PendingFiles {
 public:
  PendingFile& add() {
    std::lock_guard lock(mutex_);
    files_.emplace_front();
    files_.front().self = files_.begin();
    return files_.front();
  }
  void remove(PendingFile& file) {
    std::lock_guard lock(mutex_);
    files_.erase(file.self);
  }

 private:
  std::mutex mutex_;
  std::list<PendingFile> files_;
};

// read -> hash, compress, seal.
struct Piece {
  PendingFile* file = nullptr;
  size_t index = 0;
  SlabPart part;
};

}  // namespace davit::archive
