#include "archive/image_stream.h"

#include <algorithm>
#include <cstring>
#include <mutex>

#include "archive/file_job.h"
#include "archive/frame.h"
#include "archive/image_check.h"
#include "archive/image_members.h"
#include "archive/tar_reader.h"
#include "base/bounded_queue.h"
#include "base/crew.h"
#include "base/errors.h"
#include "base/fault.h"
#include "repo/chunker.h"

namespace davit::archive {

namespace {

// Small: what was copied is searched while it is in the cache, and little of it lies beyond a cut.
constexpr size_t kReadStep = 128 << 10;
// Small members are many.
constexpr size_t kWaitingPieces = 256;

// cut -> hash, compress, seal.
struct ImagePiece {
  repo::Node* file = nullptr;
  size_t index = 0;
  SlabPart part;
};

class Saver {
 public:
  Saver(const repo::Chunker& chunker, repo::UploadSession& session,
        const std::function<base::Bytes()>& next, const ImageStreamOptions& options)
      : chunker_(chunker),
        session_(session),
        options_(options),
        reader_([this, &next] {
          check_stop();
          return next();
        }),
        members_(options.max_members),
        slabs_(1),
        window_(slabs_),
        pieces_(kWaitingPieces) {}

  // The directory "image", its content saved, its trees not yet.
  Frame& run() {
    base::Crew crew([&] {
      pieces_.stop();
      slabs_.stop();
    });
    for (unsigned i = 0; i < base::processor_count(); ++i)
      crew.start("seal", [&] { save_pieces(); });
    try {
      read_members();
    } catch (...) {
      crew.fail(std::current_exception());
    }
    pieces_.close();
    crew.join();
    // From here on every piece is saved, or is known to be.

    members_.tie_links();
    check_.verify(members_.root());
    return members_.root();
  }

  ImageStreamResult result;

 private:
  void check_stop() const {
    if (options_.stop.stop_requested()) throw base::Cancelled();
  }

  void read_members() {
    while (const auto member = reader_.next_member()) {
      Frame* const frame = members_.add(*member);
      result.files += member->type == TarMember::Type::file;
      result.directories += member->type == TarMember::Type::directory;
      result.links +=
          member->type == TarMember::Type::symlink || member->type == TarMember::Type::hard_link;
      if (!frame) continue;
      result.bytes += member->size_bytes;
      read_content(*member, frame->node);
      if (options_.progress) options_.progress->files_done.fetch_add(1, std::memory_order_relaxed);
    }
  }

  void read_content(const TarMember& member, repo::Node& file) {
    std::string name;  // without what does not count
    for (const std::string& component : split_member_name(member))
      name += (name.empty() ? "" : "/") + component;
    base::Bytes document;
    bool is_document = false;

    uint64_t left = member.size_bytes;  // not cut yet
    base::ByteView some;                // of the stream, not copied yet
    size_t searched = 0;
    bool first = true;
    while (left > 0) {
      check_stop();
      // Step by step, so that what is searched is in the processor's cache.
      for (size_t step = kReadStep; step > 0 && window_.filled().size() < left;) {
        if (some.empty()) some = reader_.read();
        if (first) is_document = ImageCheck::wants(name, member.size_bytes, some[0]);
        first = false;
        const auto room = window_.room(std::min<uint64_t>(step, left - window_.filled().size()));
        if (room.empty()) break;
        const base::ByteView part = some.first(std::min(some.size(), room.size()));
        std::memcpy(room.data(), part.data(), part.size());
        if (is_document) base::append(document, part);
        window_.grow(part.size());
        step -= part.size();
        some = some.subspan(part.size());
      }
      const size_t filled = window_.filled().size();
      const size_t cut = chunker_.next_cut(window_.filled(), filled == left, searched);
      searched = filled;
      if (cut == 0) continue;
      searched = 0;
      left -= cut;
      send(file, window_.cut(cut));
    }
    // An empty manifest is no manifest either.
    if (is_document || (first && ImageCheck::wants(name, 0, 0))) check_.add(name, document);
  }

  void send(repo::Node& file, SlabPart part) {
    ImagePiece piece;
    piece.file = &file;
    {
      std::lock_guard lock(mutex_);
      piece.index = file.content.size();
      file.content.emplace_back();
    }
    piece.part = std::move(part);
    if (!pieces_.push(std::move(piece))) throw base::Cancelled();  // another thread failed
  }

  void save_pieces() {
    while (auto piece = pieces_.pop()) {
      check_stop();
      const base::ByteView bytes = piece->part.bytes;
      const base::Id id = session_.save_blob(repo::BlobType::data, bytes).id;
      if (options_.progress)
        options_.progress->bytes_done.fetch_add(bytes.size(), std::memory_order_relaxed);
      std::lock_guard lock(mutex_);
      piece->file->content[piece->index] = id;
    }
  }

  const repo::Chunker& chunker_;
  repo::UploadSession& session_;
  const ImageStreamOptions& options_;
  TarReader reader_;
  ImageMembers members_;
  ImageCheck check_;
  Slabs slabs_;
  Window window_;
  base::BoundedQueue<ImagePiece> pieces_;
  std::mutex mutex_;  // of the files' content
};

repo::NodeTime node_time(base::Time time) {
  const auto since = time.time_since_epoch();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(since);
  return {seconds.count(),
          static_cast<uint32_t>(
              std::chrono::duration_cast<std::chrono::nanoseconds>(since - seconds).count())};
}

void set_time(repo::Node& node, const repo::NodeTime& time) {
  node.mtime = node.atime = node.ctime = time;
}

}  // namespace

ImageStreamResult archive_container(repo::Repository& repository, repo::UploadSession& session,
                                    const ContainerFiles& container,
                                    const std::function<base::Bytes()>& next,
                                    const ImageStreamOptions& options) {
  const std::string path = "/containers/" + container.name;
  const std::vector<std::string> names = split_path(path);
  if (names.size() != 2) throw base::UsageError("not a container's name: " + container.name);
  const repo::NodeTime time = node_time(container.time);

  Saver saver(repository.chunker(), session, next, options);
  Frame& members = saver.run();

  Frame root;
  Frame& directory = parent_of(root, names).directory(names.back());
  set_time(directory.node, time);
  // Before the files: an image's name may not be theirs.
  Frame& image = directory.directory("image");
  image.node.subtree = members.save(session);
  for (const ExtraFile& file : container.files) {
    if (file.path.find('/') != std::string::npos)
      throw base::UsageError("not a file beside an image: " + file.path);
    Frame& added =
        add_extra(root, {path + "/" + file.path, file.bytes}, repository.chunker(), session);
    set_time(added.node, time);
  }
  saver.result.tree = root.save(session);
  base::fault_point("archive:image");
  return saver.result;
}

}  // namespace davit::archive
