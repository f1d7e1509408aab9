// Reads files and cuts them into pieces. Each thread of the reading stage has one. Files of one
// piece are saved on the same thread, some at once: handing them on would cost more than it.
//
// A file that changed between the fstat before and the one after is read again; after kTries it is
// saved as it was read last, and named in the result. Never more is read than the size that the
// fstat before told, so that a file that grows faster than it is read ends; node.size is what was
// read.
#pragma once

#include <unistd.h>

#include <cerrno>
#include <memory>
#include <mutex>
#include <semaphore>
#include <stop_token>
#include <vector>

#include "archive/file_job.h"
#include "archive/links.h"
#include "archive/slabs.h"
#include "base/bounded_queue.h"
#include "base/bytes.h"
#include "base/errors.h"
#include "repo/repository.h"

namespace davit::archive {

// So many files of more than one piece are read at once. One keeps five threads busy that seal.
class LargeFiles {
 public:
  LargeFiles(Slabs& slabs, unsigned at_once) : left_(at_once) {
    for (unsigned i = 0; i < at_once; ++i) free_.push_back(std::make_unique<Window>(slabs));
  }

  // Waits for one.
  class Turn {
   public:
    explicit Turn(LargeFiles& files) : files_(files) {
      files_.left_.acquire();
      std::lock_guard lock(files_.mutex_);
      window_ = std::move(files_.free_.back());
      files_.free_.pop_back();
    }
    ~Turn() {
      {
        std::lock_guard lock(files_.mutex_);
        files_.free_.push_back(std::move(window_));
      }
      files_.left_.release();
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

    Window& window() const { return *window_; }

   private:
    LargeFiles& files_;
    std::unique_ptr<Window> window_;
  };

 private:
  std::counting_semaphore<> left_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Window>> free_;
};

// What the stages share; all borrowed, and outliving the threads.
struct Stages {
  repo::Repository& repository;
  repo::UploadSession& session;
  Assembly& assembly;
  LinkTable& links;
  PendingFiles& pending;
  LargeFiles& large_files;
  base::BoundedQueue<std::vector<FileJob>>& files;
  base::BoundedQueue<Piece>& pieces;
  base::Descent::Handle root;
  // Before the run's syncfs. What changed later, or up to 2 s earlier (clocks of file systems tick
  // that coarsely), may change again with no sign of it.
  repo::NodeTime begun_at;
  std::stop_token stop;
  std::once_flag synced{};

  // Before the first file is read: writes out what is dirty. Pages that are written through a
  // mapping show in the times of a file only when they were clean before.
  void sync_once() {
    std::call_once(synced, [&] {
      if (::syncfs(root->get()) != 0) base::throw_errno("cannot sync the volume", errno);
    });
  }
  void check_stop() const {
    if (stop.stop_requested()) throw base::Cancelled();
  }
  // Whether equal times will prove that the file is as it was read now.
  bool is_settled(const repo::Node& node) const {
    const int64_t limit = begun_at.seconds - 2;
    // The change time cannot be set, so a modification time in the future is no sign of anything.
    return node.ctime.seconds < limit && (node.mtime.seconds < limit || node.mtime > begun_at);
  }
};

// Gives up one share of `file`; with the last one the file is finished.
void release(Stages& stages, PendingFile& file);

class FileReader {
 public:
  static constexpr int kTries = 3;

  explicit FileReader(Stages& stages);

  void read(FileJob job);
  // Files of one piece that were read and are not saved yet. To be called before the thread waits
  // for others.
  void save_small();

 private:
  // In small_ until it is saved.
  struct SmallFile {
    FileJob job;
    repo::Node node;
    size_t offset;
    bool trusted;
  };

  enum class Outcome { done, changed };
  void read_once(FileJob job, std::optional<FileJob>& instead);
  base::Fd open(const FileJob& job);
  Outcome try_content(const base::Fd& file, const FileJob& job, bool last_try);
  Outcome try_small(int fd, const FileJob& job, const Status& before, repo::Node node,
                    std::vector<std::string>& problems, bool last_try);
  void report(const FileJob& job, bool changed, std::vector<std::string>& problems);
  // Both send pieces and return the number of bytes that they covered.
  uint64_t send_pieces(int fd, const Status& status, PendingFile& file);
  void send(PendingFile& file, SlabPart part);
  // Sends what lies in a hole at `offset` without reading it; returns the bytes covered, maybe 0.
  uint64_t send_hole(int fd, uint64_t offset, uint64_t size, PendingFile& file);
  void leave_out(const FileJob& job, std::optional<FileJob>& instead);

  Stages& stages_;
  std::vector<SmallFile> small_files_;
  base::Bytes small_;  // what is in them
  std::vector<base::ByteView> bytes_;
  std::vector<base::Id> ids_;
};

}  // namespace davit::archive
