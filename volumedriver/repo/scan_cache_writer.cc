#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/errors.h"
#include "base/fault.h"
#include "base/log.h"
#include "crypto/seal.h"
#include "repo/scan_cache.h"
#include "repo/scan_format.h"

namespace davit::repo {

namespace {

constexpr size_t kBlockAim = 256 << 10;
// Smaller blocks are put together with what is beside them, so that many runs leave no crumbs.
constexpr size_t kBlockWorthCopying = kBlockAim / 2;

void copy_range(int from, uint64_t from_offset, int to, uint64_t to_offset, uint64_t size) {
  off64_t in = static_cast<off64_t>(from_offset), out = static_cast<off64_t>(to_offset);
  while (size > 0) {
    const ssize_t copied = ::copy_file_range(from, &in, to, &out, size, 0);
    if (copied < 0 && errno == EINTR) continue;
    if (copied <= 0) break;
    size -= static_cast<uint64_t>(copied);
  }
  if (size == 0) return;
  // A kernel or file system that cannot: by hand, what is left.
  base::Bytes bytes(size);
  if (base::pread_up_to(from, bytes, static_cast<uint64_t>(in)) != size)
    throw base::Corrupt("the scan cache was cut short");
  base::pwrite_all(to, bytes, static_cast<uint64_t>(out));
}

std::string directory_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

}  // namespace

ScanCacheWriter::ScanCacheWriter(const std::string& path, const base::Id& repository,
                                 const base::Id& context, bool with_outline)
    : path_(path),
      file_(base::open_file(path, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600)),
      repository_(repository),
      context_(context),
      size_bytes_(kScanHeaderSize),
      outliner_(with_outline ? std::make_unique<ScanOutliner>(directory_of(path)) : nullptr) {}

void ScanCacheWriter::write(base::ByteView records) {
  if (outliner_) outliner_->add(records);
  base::append(block_, records);
  if (block_.size() >= kBlockAim) flush();
}

void ScanCacheWriter::flush() {
  if (block_.empty()) return;
  DAVIT_CHECK(block_.size() <= kMaxBlock);
  std::array<uint8_t, kBlockHeaderSize> header;
  base::store_le32(header.data(), static_cast<uint32_t>(block_.size()));
  const base::Id checksum = crypto::sha256(block_);
  std::copy_n(checksum.bytes.begin(), kScanChecksumSize, header.begin() + 4);
  if (outliner_) outliner_->begin_block(size_bytes_, block_.size());
  base::pwrite_all(file_.get(), header, size_bytes_);
  base::pwrite_all(file_.get(), block_, size_bytes_ + header.size());
  size_bytes_ += header.size() + block_.size();
  block_.clear();
}

void ScanCacheWriter::copy(const KeptScan& from, size_t directory) {
  if (is_damaged_) return;
  DAVIT_CHECK(outliner_ != nullptr);
  const ScanOutline::Directory& top = from.outline.directories[directory];
  try {
    const auto& blocks = from.outline.blocks;
    auto block = std::partition_point(blocks.begin(), blocks.end(), [&](const auto& one) {
      return one.begin + one.length <= top.begin;
    });
    for (; block != blocks.end() && block->begin < top.end; ++block) {
      if (top.begin <= block->begin && block->begin + block->length <= top.end &&
          block->length >= kBlockWorthCopying) {
        copy_block(from, *block);
        continue;
      }
      const base::Bytes records = from.load(*block);
      const uint64_t begin = std::max(top.begin, block->begin) - block->begin;
      const uint64_t end = std::min(top.end - block->begin, block->length);
      base::append(block_, base::ByteView(records).subspan(begin, end - begin));
      if (block_.size() >= kBlockAim) flush();
    }
    outliner_->add(from.outline, directory);
  } catch (const base::Corrupt& error) {
    spdlog::warn("no scan cache is kept for the next run: {}", error.what());
    is_damaged_ = true;
  }
}

// Without a look at it: it is looked at where it is read.
void ScanCacheWriter::copy_block(const KeptScan& from, const ScanOutline::Block& block) {
  flush();
  outliner_->begin_block(size_bytes_, block.length);
  const uint64_t size = kBlockHeaderSize + block.length;
  copy_range(from.file.get(), block.offset, file_.get(), size_bytes_, size);
  size_bytes_ += size;
}

void ScanCacheWriter::finish(const base::Id& root_tree) {
  if (is_damaged_) return;
  flush();
  const uint64_t blocks_end = size_bytes_;
  if (outliner_) size_bytes_ = outliner_->finish(file_.get(), size_bytes_);
  base::Bytes header(base::to_bytes(base::as_bytes(kScanMagic)));
  header.resize(kScanMagicSize, 0);
  base::append(header, repository_.bytes);
  base::append(header, context_.bytes);
  base::append(header, root_tree.bytes);
  std::array<uint8_t, kScanRunSize> run;
  crypto::random_bytes(run);
  base::append(header, run);
  append_number(header, blocks_end, 8);
  append_number(header, size_bytes_, 8);
  const base::Id checksum = crypto::sha256(header);
  base::append(header, base::ByteView(checksum.bytes).first(kScanChecksumSize));
  base::pwrite_all(file_.get(), header, 0);
  base::fault_point("scan_cache:written");
  if (::fsync(file_.get()) != 0) base::throw_errno("cannot sync " + path_, errno);
}

}  // namespace davit::repo
