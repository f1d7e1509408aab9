#include "archive/file_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/errors.h"
#include "capture/write_lease.h"
#include "crypto/sha256.h"
#include "crypto/sha256_lanes.h"
#include "repo/chunker.h"

namespace davit::archive {

namespace {

constexpr size_t kReadStep = 256 << 10;
// Bytes of files of one piece that are hashed together; one more file may come to them.
constexpr size_t kSmallAtOnce = 512 << 10;

// The machine's limits, not the file's fault: the run must fail, not leave files out.
bool is_shortage(int number) {
  return number == EMFILE || number == ENFILE || number == ENOMEM;
}

bool is_same(const Status& before, const Status& after) {
  return before.stx_size == after.stx_size && mtime_of(before) == mtime_of(after) &&
         ctime_of(before) == ctime_of(after);
}

// The directory of `path` beneath `root`, of any depth.
base::Descent::Handle open_parent(const base::Descent::Handle& root, const std::string& path) {
  base::Descent::Handle at = root;
  size_t from = 0;
  for (size_t slash; (slash = path.find('/', from)) != std::string::npos; from = slash + 1) {
    base::Fd next(base::open_directory_at(at->get(), path.substr(from, slash - from).c_str()));
    if (!next) return nullptr;
    at = std::make_shared<const base::Fd>(std::move(next));
  }
  return at;
}

const base::Bytes& zero_piece() {
  static const base::Bytes zeros(repo::kMinChunk, 0);
  return zeros;
}

const base::Id& zero_id() {
  static const base::Id id = crypto::sha256(zero_piece());
  return id;
}

// Whether it is worth while to look for holes: pieces of zeros are to be found without reading.
// Space that was reserved and never written counts, though it is allocated.
bool has_hole(int fd, uint64_t size) {
  if (size <= repo::kMinChunk) return false;
  const off_t hole = ::lseek(fd, 0, SEEK_HOLE);
  return hole >= 0 && static_cast<uint64_t>(hole) < size;
}

}  // namespace

namespace {

void finish(Stages& stages, const FileJob& job, repo::Node node, bool trusted) {
  if (job.is_link) stages.links.finish(job, node, trusted);
  stages.assembly.fill(job.place, std::move(node), trusted, job.had_prior);
}

}  // namespace

void release(Stages& stages, PendingFile& file) {
  if (file.shares.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  if (!file.discarded) {
    file.node.content = std::move(file.content);
    finish(stages, file.job, std::move(file.node), file.trusted);
  }
  stages.pending.remove(file);
}

FileReader::FileReader(Stages& stages) : stages_(stages) {
  small_.reserve(kSmallAtOnce + repo::kMinChunk);
}

void FileReader::read(FileJob job) {
  stages_.sync_once();
  for (std::optional<FileJob> next = std::move(job); next;) {
    std::optional<FileJob> instead;
    read_once(std::move(*next), instead);
    next = std::move(instead);
  }
  if (small_.size() >= kSmallAtOnce) save_small();
}

void FileReader::save_small() {
  stages_.check_stop();
  bytes_.clear();
  for (const SmallFile& file : small_files_)
    if (file.node.size > 0)
      bytes_.push_back(base::ByteView(small_).subspan(file.offset, file.node.size));
  ids_.resize(bytes_.size());
  crypto::sha256_each(bytes_, ids_);
  stages_.session.save_blobs(repo::BlobType::data, ids_, bytes_);
  for (auto id = ids_.begin(); SmallFile & file : small_files_) {
    if (file.node.size > 0) {
      file.node.content.push_back(*id++);
      stages_.assembly.add_progress(file.node.size);
    }
    finish(stages_, file.job, std::move(file.node), file.trusted);
  }
  small_files_.clear();
  small_.clear();
}

void FileReader::leave_out(const FileJob& job, std::optional<FileJob>& instead) {
  if (job.is_link && !instead) instead = stages_.links.finish(job, std::nullopt, false);
  stages_.assembly.leave_out(job.place, job.name);
}

void FileReader::read_once(FileJob job, std::optional<FileJob>& instead) {
  try {
    const base::Fd file = open(job);
    if (!file) return leave_out(job, instead);
    // Nobody may tell when that writer is done: it is looked at in the next run, too.
    if (job.place.handle != 0 && capture::may_be_written(file.get())) job.place.handle = 0;
    if (job.is_link) {
      const Status status = get_status(file.get());
      if (status.stx_ino != job.inode || device_of(status) != job.device) {
        // Another file has the name by now, so another name must tell what the old one held.
        instead = stages_.links.finish(job, std::nullopt, false);
        job.is_link = false;
      }
    }
    for (int tries = 1;; ++tries)
      if (try_content(file, job, tries == kTries) == Outcome::done) return;
  } catch (const base::IoError& error) {
    if (is_shortage(error.number()) || error.number() == 0) throw;
    stages_.assembly.report_unreadable(job.path, error.what());
    leave_out(job, instead);
  }
}

// Nothing where the file vanished.
base::Fd FileReader::open(const FileJob& job) {
  const auto directory = job.directory ? job.directory : open_parent(stages_.root, job.path);
  if (!directory) return {};
  constexpr int kFlags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  for (bool touch : {false, true}) {
    int fd;
    do fd = ::openat(directory->get(), job.name.c_str(), kFlags | (touch ? 0 : O_NOATIME));
    while (fd < 0 && errno == EINTR);
    if (fd >= 0) return base::Fd(fd);
    const int number = errno;
    if (number == ENOENT) return {};
    if (number == EPERM && !touch) continue;
    base::throw_errno("cannot open it", number);
  }
  return {};
}

FileReader::Outcome FileReader::try_content(const base::Fd& file, const FileJob& job,
                                            bool last_try) {
  const Status before = get_status(file.get());
  if (!S_ISREG(before.stx_mode))
    throw base::IoError("it became something else than a file", EINVAL);
  repo::Node node = make_node(job.name, before, job.device_id);
  std::vector<std::string> problems;
  node.xattrs = read_xattrs(file.get(), problems);
  if (before.stx_size <= repo::kMinChunk)
    return try_small(file.get(), job, before, std::move(node), problems, last_try);

  PendingFile& pending = stages_.pending.add();
  pending.job = job;
  try {
    node.size = send_pieces(file.get(), before, pending);
    const bool changed = !is_same(before, get_status(file.get()));
    if (changed && !last_try) {
      pending.discarded = true;
      release(stages_, pending);
      return Outcome::changed;
    }
    report(job, changed, problems);
    pending.trusted = !changed && problems.empty() && stages_.is_settled(node);
  } catch (...) {
    pending.discarded = true;
    release(stages_, pending);
    throw;
  }
  pending.node = std::move(node);
  release(stages_, pending);
  return Outcome::done;
}

FileReader::Outcome FileReader::try_small(int fd, const FileJob& job, const Status& before,
                                          repo::Node node, std::vector<std::string>& problems,
                                          bool last_try) {
  stages_.check_stop();
  const size_t offset = small_.size();
  small_.resize(offset + before.stx_size);
  bool changed;
  try {
    node.size = base::pread_up_to(fd, std::span(small_).subspan(offset), 0);
    changed = !is_same(before, get_status(fd));
  } catch (...) {
    small_.resize(offset);
    throw;
  }
  if (changed && !last_try) {
    small_.resize(offset);
    return Outcome::changed;
  }
  small_.resize(offset + node.size);
  report(job, changed, problems);
  const bool trusted = !changed && problems.empty() && stages_.is_settled(node);
  small_files_.push_back({job, std::move(node), offset, trusted});
  return Outcome::done;
}

void FileReader::report(const FileJob& job, bool changed, std::vector<std::string>& problems) {
  if (changed)
    stages_.assembly.report_changed(
        job.path, "it changed each of the " + std::to_string(kTries) + " times that it was read");
  for (std::string& problem : problems)
    stages_.assembly.report_unreadable(job.path, std::move(problem));
}

void FileReader::send(PendingFile& file, SlabPart part) {
  Piece piece;
  piece.file = &file;
  {
    std::lock_guard lock(file.mutex);
    piece.index = file.content.size();
    file.content.emplace_back();
  }
  piece.part = std::move(part);
  file.shares.fetch_add(1, std::memory_order_relaxed);
  // Dropped once the run has failed; nobody needs the share any more.
  if (!stages_.pieces.push(std::move(piece))) throw base::Cancelled();
}

uint64_t FileReader::send_hole(int fd, uint64_t offset, uint64_t size, PendingFile& file) {
  const off_t data = ::lseek(fd, static_cast<off_t>(offset), SEEK_DATA);
  uint64_t end = size;
  if (data >= 0)
    end = std::min<uint64_t>(size, static_cast<uint64_t>(data));
  else if (errno != ENXIO)
    return 0;
  uint64_t covered = 0;
  // Zeros are cut at the smallest length: their fingerprint is zero.
  while (offset + covered + repo::kMinChunk <= end) {
    stages_.check_stop();
    const base::Id id = stages_.session.save_blob(repo::BlobType::data, zero_id(), zero_piece()).id;
    std::lock_guard lock(file.mutex);
    file.content.push_back(id);
    covered += repo::kMinChunk;
    stages_.assembly.add_progress(repo::kMinChunk);
  }
  return covered;
}

uint64_t FileReader::send_pieces(int fd, const Status& status, PendingFile& file) {
  const LargeFiles::Turn turn(stages_.large_files);
  Window& window = turn.window();
  window.clear();  // of a file that could not be read to its end
  uint64_t size = status.stx_size;
  const bool sparse = has_hole(fd, size);
  const repo::Chunker& chunker = stages_.repository.chunker();
  uint64_t sent = 0, read = 0;  // offsets in the file; the window holds [sent, read)
  size_t searched = 0;
  while (sent < size) {
    stages_.check_stop();
    if (sparse && searched == 0) {
      // What was read ahead may lie in a hole; it is read again where it does not.
      if (const uint64_t covered = send_hole(fd, sent, size, file)) {
        sent = read = sent + covered;
        window.clear();
        continue;
      }
    }
    if (read < size) {
      // Step by step, so that what is searched is in the processor's cache.
      const auto room = window.room(std::min<uint64_t>(kReadStep, size - read));
      const size_t got = base::pread_up_to(fd, room, read);
      window.grow(got);
      read += got;
      if (got < room.size()) size = read;  // it became shorter
      if (window.filled().empty()) break;
    }
    const size_t cut = chunker.next_cut(window.filled(), read == size, searched);
    searched = window.filled().size();
    if (cut == 0) continue;
    searched = 0;
    sent += cut;
    send(file, window.cut(cut));
  }
  return sent;
}

}  // namespace davit::archive
