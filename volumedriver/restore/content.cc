#include "restore/content.h"

#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/errors.h"
#include "crypto/seal.h"
#include "crypto/sha256.h"
#include "crypto/sha256_lanes.h"
#include "repo/chunker.h"
#include "repo/codec.h"

namespace davit::restore {

namespace {

// Zeros become holes where they fill aligned blocks of this size: small enough for what is really
// sparse, and large enough not to tear a file of pages to pieces.
constexpr uint64_t kHoleBlock = 64 << 10;

bool is_zero(base::ByteView bytes) {
  return bytes.empty() ||
         (bytes[0] == 0 && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

// What a chunk in the middle of a hole is; it need not be read to be known.
const base::Id& zero_chunk_id() {
  static const base::Id id = crypto::sha256(base::Bytes(repo::kMinChunk, 0));
  return id;
}

uint64_t plain_size(const repo::BlobLocation& location) {
  if (location.plain_length) return location.plain_length;
  return location.length < crypto::kSealOverhead ? 0 : location.length - crypto::kSealOverhead;
}

}  // namespace

bool Permits::try_take() {
  std::lock_guard lock(mutex_);
  if (free_ == 0) return false;
  --free_;
  return true;
}

void Permits::take() {
  std::unique_lock lock(mutex_);
  returned_.wait(lock, [&] { return stopped_ || free_ > 0; });
  if (stopped_) throw base::Cancelled();
  --free_;
}

void Permits::give_back() {
  {
    std::lock_guard lock(mutex_);
    ++free_;
  }
  returned_.notify_one();
}

void Permits::stop() {
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  returned_.notify_all();
}

Content::Content(const repo::Repository& repository, Sink& sink, unsigned threads, Stamps* stamps,
                 base::Progress* progress, std::stop_token stop)
    : repository_(repository),
      sink_(sink),
      limits_{.max_range_bytes =
                  std::clamp(kRangesBytes / threads, kMinRangeBytes, kMaxRangeBytes)},
      stamps_(stamps),
      progress_(progress),
      stop_(std::move(stop)) {}

void Content::check_stop() const {
  if (stop_.stop_requested()) throw base::Cancelled();
}

void Content::take(Permits& permits) {
  if (permits.try_take()) return;
  // Those that hold the permits may be in this very window.
  flush();
  permits.take();
}

// The current directory, counted: files far apart keep their directories open until they are made.
base::Descent::Handle Content::counted_handle() {
  // What is held cannot be another directory's by now; a PendingDirectory could.
  if (last_handle_.get() == sink_.here().get()) return last_handle_;
  last_handle_.reset();
  take(open_directories_);
  const base::Descent::Handle handle = sink_.here();
  last_handle_ = base::Descent::Handle(
      handle.get(), [handle, this](const base::Fd*) { open_directories_.give_back(); });
  return last_handle_;
}

void Content::add(repo::Node node, base::Fd made, uint64_t number) {
  check_stop();
  if (node.content_missing)
    throw base::Corrupt(sink_.path_of(node.name) + " has no list of its content in the snapshot");
  const bool stays_open = made || node.content.size() > 1;
  base::Descent::Handle directory;
  if (!made) directory = counted_handle();
  if (stays_open) take(open_files_);
  PendingFile* file;
  {
    std::lock_guard lock(mutex_);
    file = &files_.emplace_front();
    file->self = files_.begin();
  }
  file->path = sink_.path_of(node.name);
  file->number = number;
  file->holds_permit = stays_open;
  file->fd = std::move(made);
  if (directory) {
    file->directory = std::move(directory);
    file->parent = sink_.directory();
    file->parent->shares.fetch_add(1, std::memory_order_relaxed);
  }
  const std::vector<base::Id> content = std::move(node.content);
  file->node = std::move(node);

  // Sizes first: the file is made as long as it will be.
  std::vector<repo::BlobLocation> locations;
  locations.reserve(content.size());
  for (const base::Id& id : content) {
    const auto location = repository_.index().find(repo::BlobType::data, id);
    if (!location)
      throw base::Corrupt(file->path + " cannot be restored: the repository lacks its blob " +
                          id.hex());
    file->size_bytes += plain_size(*location);
    locations.push_back(*location);
  }
  if (file->size_bytes != file->node.size)
    sink_.report(file->path, "the snapshot gives another size than its content has");
  // One more than there are pieces, so that it is not finished while it is planned.
  file->pieces_left = content.size() + 1;
  uint64_t offset = 0;
  for (size_t i = 0; i < content.size(); ++i) {
    want(*file, content[i], offset, locations[i]);
    offset += plain_size(locations[i]);
  }
  if (file->pieces_left.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    // Nothing to read: it is empty, or a hole.
    empty_.push_back(file);
    if (empty_.size() >= 64) flush();
  }
}

void Content::want(PendingFile& file, const base::Id& id, uint64_t offset,
                   const repo::BlobLocation& location) {
  if (id == zero_chunk_id()) {
    if (progress_) progress_->bytes_done.fetch_add(repo::kMinChunk, std::memory_order_relaxed);
    file.pieces_left.fetch_sub(1, std::memory_order_acq_rel);  // never the last: the walk has one
    return;
  }
  window_.push_back({id, location, {{&file, offset}}});
  window_bytes_ += plain_size(location);
  if (window_bytes_ >= kWindowBytes || window_.size() >= kWindowBlobs) flush();
}

void Content::flush() {
  if (!empty_.empty()) {
    Work work;
    work.empty_files.swap(empty_);
    if (!queue_.push(std::move(work))) throw base::Cancelled();
  }
  std::vector<WantedBlob> wanted;
  wanted.swap(window_);
  window_bytes_ = 0;
  for (PackRange& range : plan_ranges(std::move(wanted), limits_)) {
    check_stop();
    Work work;
    work.range = std::move(range);
    if (!queue_.push(std::move(work))) throw base::Cancelled();
  }
}

void Content::close() {
  flush();
  last_handle_.reset();
  queue_.close();
}

void Content::stop() {
  queue_.stop();
  open_files_.stop();
  open_directories_.stop();
}

void Content::run() {
  Buffers buffers;
  while (auto work = queue_.pop()) {
    check_stop();
    for (PendingFile* file : work->empty_files) {
      {
        std::lock_guard lock(file->mutex);
        open(*file);
      }
      finish(*file);
    }
    if (!work->range.blobs.empty()) read(work->range, buffers);
  }
}

void Content::read(PackRange& range, Buffers& buffers) {
  buffers.sealed.resize(range.size_bytes);
  try {
    repository_.store().get_range({store::Kind::data, range.pack}, range.offset, buffers.sealed);
  } catch (const base::IoError& error) {
    if (error.transient()) throw;  // it has been tried long enough
    buffers.sealed.clear();
  } catch (const base::Error&) {
    buffers.sealed.clear();  // blob by blob then, from other copies where there are any
  }
  for (std::span<const WantedBlob> rest = range.blobs; !rest.empty();) {
    check_stop();
    const size_t count = open_batch(range, rest, buffers);
    buffers.ids.resize(count);
    crypto::sha256_each(buffers.blobs, buffers.ids);
    for (size_t i = 0; i < count; ++i) {
      const WantedBlob& blob = rest[i];
      if (buffers.ids[i] == blob.id) {
        put(blob, buffers.blobs[i]);
        continue;
      }
      base::Bytes other;
      try {
        other = repository_.load_blob(repo::BlobType::data, blob.id);
      } catch (const base::Corrupt& error) {
        throw base::Corrupt(blob.targets[0].file->path + " cannot be restored: " + error.what());
      }
      put(blob, other);
    }
    rest = rest.subspan(count);
  }
}

// Decrypts and decompresses as many of `blobs` as are one batch, and returns how many. What cannot
// be opened is empty, and so has another hash than its ID.
size_t Content::open_batch(const PackRange& range, std::span<const WantedBlob> blobs,
                           Buffers& buffers) {
  size_t count = 0;
  uint64_t unpacked_bytes = 0;
  for (; count < std::min(blobs.size(), kBatchBlobs); ++count) {
    const uint64_t more = blobs[count].location.plain_length;
    if (count > 0 && unpacked_bytes + more > kBatchBytes) break;
    unpacked_bytes += more;
  }
  buffers.blobs.assign(count, {});
  if (buffers.sealed.empty()) return count;
  buffers.plain.resize(unpacked_bytes);
  std::span<uint8_t> room = buffers.plain;
  for (size_t i = 0; i < count; ++i) {
    const repo::BlobLocation& location = blobs[i].location;
    try {
      const std::span<uint8_t> content = crypto::open_in_place(
          repository_.key(),
          std::span(buffers.sealed).subspan(location.offset - range.offset, location.length));
      if (location.plain_length == 0) {
        buffers.blobs[i] = content;
        continue;
      }
      const std::span<uint8_t> plain = room.first(location.plain_length);
      room = room.subspan(plain.size());
      repo::decompress(content, plain);
      buffers.blobs[i] = plain;
    } catch (const base::Corrupt&) {
    }
  }
  return count;
}

void Content::put(const WantedBlob& blob, base::ByteView bytes) {
  if (bytes.size() != plain_size(blob.location))
    throw base::Corrupt("the index gives a wrong size for the blob " + blob.id.hex());
  for (const Target& target : blob.targets) {
    write(target, bytes);
    if (target.file->pieces_left.fetch_sub(1, std::memory_order_acq_rel) == 1) finish(*target.file);
  }
}

int Content::open(PendingFile& file) {
  if (!file.fd)
    file.fd = Sink::create(file.directory->get(), file.node.name, file.node.mode, file.path);
  return file.fd.get();
}

void Content::write(const Target& target, base::ByteView bytes) {
  PendingFile& file = *target.file;
  std::lock_guard lock(file.mutex);
  const int fd = open(file);
  // Runs of blocks that are not zero, written in one go each.
  size_t at = 0, run = 0;  // [run, at) is to be written
  while (at < bytes.size()) {
    const uint64_t block_end = ((target.offset + at) / kHoleBlock + 1) * kHoleBlock - target.offset;
    const size_t end = static_cast<size_t>(std::min<uint64_t>(block_end, bytes.size()));
    // A part of a block counts as data, since its rest may be; but for the file's last.
    const bool whole = end - at == kHoleBlock || (target.offset + end == file.size_bytes &&
                                                  (target.offset + at) % kHoleBlock == 0);
    if (whole && is_zero(bytes.subspan(at, end - at))) {
      if (run < at) base::pwrite_all(fd, bytes.subspan(run, at - run), target.offset + run);
      run = end;
    }
    at = end;
  }
  if (run < at) base::pwrite_all(fd, bytes.subspan(run, at - run), target.offset + run);
  if (progress_) progress_->bytes_done.fetch_add(bytes.size(), std::memory_order_relaxed);
}

void Content::finish(PendingFile& file) {
  struct stat status;
  const int fd = file.fd.get();
  if (::fstat(fd, &status) != 0) base::throw_errno("cannot stat " + file.path, errno);
  // A hole at its end, or nothing at all was written.
  if (static_cast<uint64_t>(status.st_size) != file.size_bytes &&
      ::ftruncate(fd, static_cast<off_t>(file.size_bytes)) != 0)
    base::throw_errno("cannot set the size of " + file.path, errno);
  sink_.finish_file(fd, status, file.node, file.path);
  if (stamps_) {
    // Names that are made later change it, and attributes may not be as they were saved: some
    // systems label each new file.
    if (file.parent && file.node.xattrs.empty() && ::flistxattr(fd, nullptr, 0) == 0)
      stamps_->take(file.number, fd);
    else
      stamps_->pass_over(file.number);
  }
  file.fd.reset();
  if (file.parent) sink_.release(file.parent, file.directory->get());
  if (file.holds_permit) open_files_.give_back();
  if (progress_) progress_->files_done.fetch_add(1, std::memory_order_relaxed);
  std::lock_guard lock(mutex_);
  files_.erase(file.self);
}

}  // namespace davit::restore
