#include "repo/scan_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/errors.h"
#include "repo/scan_format.h"

namespace davit::repo {

std::unique_ptr<ScanCacheReader> ScanCacheReader::open(const std::string& path,
                                                       const base::Id& repository) {
  base::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  struct stat status;
  if (!file || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return nullptr;
  std::array<uint8_t, kScanHeaderSize> header;
  try {
    if (base::pread_up_to(file.get(), header, 0) != header.size()) return nullptr;
  } catch (const base::IoError&) {
    return nullptr;  // as if it were not there
  }
  const base::ByteView bytes(header);
  Cursor cursor(bytes);
  std::unique_ptr<ScanCacheReader> reader(new ScanCacheReader(std::move(file)));
  const base::ByteView magic = cursor.take(kScanMagicSize);
  const base::Id made_for = load_id(cursor.take(32));
  reader->context_ = load_id(cursor.take(32));
  reader->root_tree_ = load_id(cursor.take(32));
  const base::ByteView run = cursor.take(kScanRunSize);
  std::copy(run.begin(), run.end(), reader->run_.bytes.begin());
  reader->blocks_end_ = cursor.number(8);
  reader->size_bytes_ = cursor.number(8);
  reader->offset_ = kScanHeaderSize;
  if (base::as_text(magic.first(kScanMagic.size())) != kScanMagic || made_for != repository ||
      reader->size_bytes_ != static_cast<uint64_t>(status.st_size) ||
      reader->blocks_end_ < kScanHeaderSize || reader->blocks_end_ > reader->size_bytes_ ||
      !checksum_matches(bytes.first(kScanHeaderSize - kScanChecksumSize),
                        bytes.last(kScanChecksumSize)))
    return nullptr;
  ::posix_fadvise(reader->file_.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  return reader;
}

std::shared_ptr<const KeptScan> ScanCacheReader::open_kept() const {
  if (blocks_end_ == size_bytes_) return nullptr;
  try {
    constexpr uint64_t kAlignment = ScanOutline::kAlignment;
    const uint64_t begin = (blocks_end_ + kAlignment - 1) / kAlignment * kAlignment;
    base::MappedFile bytes(file_.get(), size_bytes_);
    if (begin > size_bytes_) return nullptr;
    const auto outline = ScanOutline::read(bytes.bytes().subspan(begin));
    if (!outline) return nullptr;
    return std::make_shared<const KeptScan>(
        KeptScan{base::duplicate(file_.get()), std::move(bytes), *outline});
  } catch (const base::IoError&) {
    return nullptr;
  }
}

// False at the end and at damage.
bool ScanCacheReader::load_block() {
  block_position_ += block_.size();
  block_.clear();
  at_ = 0;
  if (!intact_ || offset_ == blocks_end_) return false;
  intact_ = false;  // until it proves good
  try {
    std::array<uint8_t, kBlockHeaderSize> header;
    if (blocks_end_ - offset_ < header.size() ||
        base::pread_up_to(file_.get(), header, offset_) != header.size())
      return false;
    const uint32_t length = base::load_le32(header.data());
    if (length == 0 || length > kMaxBlock || length > blocks_end_ - offset_ - header.size())
      return false;
    block_.resize(length);
    if (base::pread_up_to(file_.get(), block_, offset_ + header.size()) != length) return false;
    if (!checksum_matches(block_, base::ByteView(header).subspan(4))) return false;
    offset_ += header.size() + length;
  } catch (const base::IoError&) {
    return false;
  }
  intact_ = true;
  return true;
}

void ScanCacheReader::seek_behind(const ScanOutline& outline, size_t directory) {
  const uint64_t position = outline.directories[directory].end;
  peeked_ = false;
  view_ = {};
  if (!intact_) return;
  if (position < block_position_ || position > block_position_ + block_.size()) {
    // The first block that ends behind it.
    const auto block =
        std::partition_point(outline.blocks.begin(), outline.blocks.end(),
                             [&](const auto& one) { return one.begin + one.length <= position; });
    block_.clear();
    offset_ = block == outline.blocks.end() ? blocks_end_ : block->offset;
    block_position_ = block == outline.blocks.end() ? position : block->begin;
    if (!load_block()) return;
  }
  at_ = position - block_position_;
}

ScanView::Kind ScanCacheReader::peek() {
  if (peeked_) return view_.kind;
  peeked_ = true;
  view_ = {};
  if (at_ == block_.size() && !load_block()) {
    block_.clear();
    return view_.kind;
  }
  view_ = ScanView::parse(base::ByteView(block_).subspan(at_));
  if (view_.kind == Kind::end) {
    intact_ = false;
    block_.clear();
    at_ = 0;
  }
  return view_.kind;
}

void ScanCacheReader::skip() {
  DAVIT_CHECK(peeked_);
  if (view_.kind == Kind::end) return;
  at_ += view_.bytes.size();
  peeked_ = false;
}

void ScanCacheReader::skip_entry() {
  size_t depth = 0;
  for (;;) {
    const Kind kind = peek();
    if (kind == Kind::end) return;
    if (kind == Kind::enter) ++depth;
    if (kind == Kind::leave) --depth;
    skip();
    if (depth == 0) return;
  }
}

bool ScanCacheReader::enter(std::string_view name) {
  if (!find_directory(name)) return false;
  skip();
  return true;
}

bool ScanCacheReader::find_directory(std::string_view name) {
  for (;;) {
    const Kind kind = peek();
    if (kind == Kind::end || kind == Kind::leave || view_.name > name) return false;
    if (kind == Kind::enter && view_.name == name) return true;
    skip_entry();
  }
}

base::Id ScanCacheReader::leave() {
  for (;;) {
    const Kind kind = peek();
    if (kind == Kind::end) return {};
    if (kind == Kind::leave) {
      const base::Id tree = view_.tree();
      skip();
      return tree;
    }
    skip_entry();
  }
}

std::optional<ScanRecord> ScanCacheReader::find(std::string_view name) {
  for (;;) {
    const Kind kind = peek();
    if (kind == Kind::end || kind == Kind::leave || view_.name > name) return std::nullopt;
    if (kind == Kind::file && view_.name == name) {
      ScanRecord record = view_.record();
      skip();
      if (record.name != name) return std::nullopt;
      return record;
    }
    skip_entry();
  }
}

}  // namespace davit::repo
