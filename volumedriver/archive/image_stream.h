// Saves an engine's image stream (what `docker save` writes) as a directory of ordinary files, in
// one pass and without a temporary file.
//
// Understood are docker-archive (Docker up to 24, Podman) and OCI layout (Docker from 25,
// containerd's store), in tar's ustar, pax and GNU forms. Members are kept byte for byte; layers
// are never unpacked, so that what is loaded later is exactly what was saved. Of a member's
// metadata only name, type and link target are kept: engines fill in times of the moment, and an
// image that did not change shall add nothing the second time.
//
// Threads: the caller's reads, parses and cuts; hash, compress, seal (processors). Memory is
// bounded: 4 slabs of 8 MiB, the names of at most `max_members` members, and
// 32 bytes a piece.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "archive/archiver.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/progress.h"
#include "repo/repository.h"
#include "repo/upload.h"

namespace davit::archive {

// What a container's snapshot holds beside the image. The tree will be
//   /containers/NAME          mtime of `time`
//   /containers/NAME/…        `files`: mode 0600 (environments hold secrets), mtime of `time`
//   /containers/NAME/image/…  the members: 0600 and 0700, no times
struct ContainerFiles {
  std::string name;              // without a slash
  std::vector<ExtraFile> files;  // paths below NAME, without a slash: "container.json"
  base::Time time{};             // the moment that the point began
};

struct ImageStreamOptions {
  base::Progress* progress = nullptr;  // borrowed: files_done, bytes_done
  std::stop_token stop;
  uint64_t max_members = 100'000;
};

struct ImageStreamResult {
  base::Id tree;                                   // root tree's ID, for Snapshot::tree
  uint64_t files = 0, directories = 0, links = 0;  // members of the stream
  uint64_t bytes = 0;                              // of their content
};

// `next` gives the next bytes of the stream, and none at its end; it is called on this thread, and
// what it throws is thrown on. It is called until it gives none, so that a stream which breaks off
// is found out.
//
// Throws Corrupt, saying which member, for a stream that is cut or damaged; names that are empty,
// absolute, too long, or hold "..", "." or NUL; a file twice, or beneath what is no directory; hard
// links to what was not before; types other than files, directories and links; too many members;
// neither manifest.json nor index.json; and for an image that could not be loaded again because
// these name files that are not there (of an image for several platforms one has to be whole).
// Symbolic links are kept as they are, wherever they point, and not followed outside the image.
// Cancelled on stop; what the session throws. The session is not finished; after a failure it is
// not to be used any more, and no snapshot is to be made.
ImageStreamResult archive_container(repo::Repository& repository, repo::UploadSession& session,
                                    const ContainerFiles& container,
                                    const std::function<base::Bytes()>& next,
                                    const ImageStreamOptions& options);

}  // namespace davit::archive
