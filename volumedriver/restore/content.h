// Brings file contents from packs into files, on several threads: each takes a range of a pack,
// reads it, and decrypts, decompresses, verifies and writes its blobs, a batch at a time: hashing
// several at once is faster than one after another. A file gets its metadata right after its last
// byte.
//
// Memory of all threads: kRangesBytes of ranges (plan.h), or kMinRangeBytes each where they are
// many. Of each: the bytes that a batch is unpacked to. A blob may be larger than either. Of the
// walk: kWindowBlobs blobs, and kWaitingWork times as many ranges at most.
#pragma once

#include <atomic>
#include <condition_variable>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/bounded_queue.h"
#include "repo/repository.h"
#include "restore/plan.h"
#include "restore/sink.h"
#include "restore/stamps.h"

namespace davit::restore {

// How many of something may be in use at once.
class Permits {
 public:
  explicit Permits(size_t count) : free_(count) {}
  bool try_take();
  void take();  // waits; throws Cancelled once stopped
  void give_back();
  void stop();

 private:
  std::mutex mutex_;
  std::condition_variable returned_;
  size_t free_;
  bool stopped_ = false;
};

// A file that is being filled.
struct PendingFile {
  repo::Node node;
  std::string path;
  base::Descent::Handle directory;  // where it is made
  PendingDirectory* parent =
      nullptr;  // a share of it; null: the file is there already (a hard link)
  uint64_t size_bytes = 0;
  uint64_t number = 0;
  std::atomic<size_t> pieces_left{0};
  bool holds_permit = false;  // to stay open between pieces
  // Of fd, and to write: the kernel lets one thread at a time write to a file, and lets the others
  // burn their processor meanwhile.
  std::mutex mutex;
  base::Fd fd;
  std::list<PendingFile>::iterator self;
};

// What one thread does at a time: a range to read, or files that have no content.
struct Work {
  PackRange range;
  std::vector<PendingFile*> empty_files;
};

class Content {
 public:
  // `threads`: that will run(). `stamps`: where each file is noted once it is complete, or null.
  Content(const repo::Repository& repository, Sink& sink, unsigned threads, Stamps* stamps,
          base::Progress* progress, std::stop_token stop);

  // --- for the walk ---
  // The current directory's file `node`. `made`: open already, because it has several names.
  // `number`: of its stamp.
  void add(repo::Node node, base::Fd made, uint64_t number);
  // Nothing more will come.
  void close();

  // --- for the other threads: works until close() and all is done ---
  void run();

  // Wakes and ends everybody after a failure.
  void stop();

 private:
  // Bounds on what is planned at once, and so on memory.
  static constexpr uint64_t kWindowBytes = 64 << 20;
  static constexpr size_t kWindowBlobs = 8192;
  static constexpr size_t kOpenFiles = 96;
  static constexpr size_t kOpenDirectories = 128;
  static constexpr size_t kWaitingWork = 32;
  // The longer a range, the fewer requests, and the more blobs are hashed together.
  static constexpr uint64_t kRangesBytes = 64 << 20;
  static constexpr uint64_t kMinRangeBytes = 4 << 20;
  static constexpr uint64_t kMaxRangeBytes = 8 << 20;
  // A batch: so many unpacked bytes (or one blob), so many blobs.
  static constexpr uint64_t kBatchBytes = 4 << 20;
  static constexpr size_t kBatchBlobs = 256;

  base::Descent::Handle counted_handle();
  void want(PendingFile& file, const base::Id& id, uint64_t offset,
            const repo::BlobLocation& location);
  void flush();
  void take(Permits& permits);
  void check_stop() const;

  // One thread's, used again for each range.
  struct Buffers {
    base::Bytes sealed, plain;
    std::vector<base::ByteView> blobs;
    std::vector<base::Id> ids;
  };
  void read(PackRange& range, Buffers& buffers);
  size_t open_batch(const PackRange& range, std::span<const WantedBlob> blobs, Buffers& buffers);
  void put(const WantedBlob& blob, base::ByteView bytes);
  void write(const Target& target, base::ByteView bytes);
  // With its mutex held.
  int open(PendingFile& file);
  void finish(PendingFile& file);

  const repo::Repository& repository_;
  Sink& sink_;
  const RangeLimits limits_;
  Stamps* const stamps_;
  base::Progress* progress_;
  std::stop_token stop_;

  // Of the walk.
  std::vector<WantedBlob> window_;
  std::vector<PendingFile*> empty_;
  uint64_t window_bytes_ = 0;
  base::Descent::Handle last_handle_;

  Permits open_files_{kOpenFiles};
  Permits open_directories_{kOpenDirectories};
  base::BoundedQueue<Work> queue_{kWaitingWork};
  std::mutex mutex_;  // of files_
  std::list<PendingFile> files_;
};

}  // namespace davit::restore
