// Files with several names, so that each is read once a run. Any thread.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "archive/file_job.h"

namespace davit::archive {

class LinkTable {
 public:
  explicit LinkTable(Assembly& assembly) : assembly_(assembly) {}

  // True: `job` is the first name that was met; the caller reads it, and calls finish() for it.
  // False: `job` was taken, and gets the same content, now or when the first one is finished.
  bool begin(FileJob& job, uint64_t links);
  // `read` nothing: that name gave nothing. Returns another name to be read in its place, if one
  // waits.
  std::optional<FileJob> finish(const FileJob& job, const std::optional<repo::Node>& read,
                                bool trusted);

 private:
  struct File {
    std::optional<repo::Node> read;
    bool trusted = false;
    uint64_t handle = 0;
    uint64_t names_left = 0;
    std::vector<FileJob> waiting;
  };
  void deliver(const FileJob& job, repo::Node read, bool trusted, uint64_t handle);

  Assembly& assembly_;
  std::mutex mutex_;
  std::map<std::pair<uint64_t, uint64_t>, File> files_;  // by device and inode
};

}  // namespace davit::archive
