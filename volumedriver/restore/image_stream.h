// An image out of a snapshot as the tar stream that an engine loads: the other half of
// archive/image_stream.h.
//
// The members come in the order of their names, a directory before what is in it. Their headers are
// made anew: owner 0:0, modes 0644 and 0755, no times; ustar, with a pax header where a name or a
// size needs one.
//
// Threads: several load pieces ahead, in order; read() is for one thread at a time. Memory: 64 MiB
// of pieces (or the largest one), the names, and 32 bytes a piece.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <stop_token>
#include <string>

#include "base/id.h"
#include "base/progress.h"
#include "repo/repository.h"

namespace davit::restore {

struct ImageStreamOptions {
  base::Progress* progress = nullptr;  // borrowed: totals, and what was read so far
  std::stop_token stop;
};

class ImageStream {
 public:
  // Reads the trees beneath `path` ("/containers/NAME/image") in the tree `root`; no content yet.
  // `repository` must outlive it, its index be fresh, and its lock be held. Throws NotFound (the
  // snapshot has no image there) and Corrupt (content that the repository lacks, nodes that no
  // image has, more than anybody saves).
  ImageStream(const repo::Repository& repository, const base::Id& root, const std::string& path,
              const ImageStreamOptions& options);
  ~ImageStream();
  ImageStream(const ImageStream&) = delete;
  ImageStream& operator=(const ImageStream&) = delete;

  // The stream's exact length, so that it can be told before it is sent.
  uint64_t size_bytes() const;
  // Fills some of `out` and says how much; 0 is the end. Throws Corrupt, IoError, Cancelled.
  size_t read(std::span<uint8_t> out);
  // read() begins at the beginning again; after a failure, too.
  void rewind();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace davit::restore
