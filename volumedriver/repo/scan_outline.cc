#include "repo/scan_outline.h"

#include <algorithm>
#include <array>
#include <type_traits>

#include "base/errors.h"
#include "repo/scan_format.h"

namespace davit::repo {

namespace {

// They lie in the file as in memory.
static_assert(std::is_trivially_copyable_v<ScanOutline::Directory> &&
              sizeof(ScanOutline::Directory) == 104);
static_assert(std::is_trivially_copyable_v<ScanOutline::Block> && sizeof(ScanOutline::Block) == 24);

constexpr size_t kSpillStep = 256 << 10;

template <typename T>
base::ByteView as_view(std::span<const T> values) {
  return {reinterpret_cast<const uint8_t*>(values.data()), values.size_bytes()};
}

template <typename T>
base::ByteView as_view(const T& value) {
  return as_view(std::span<const T>(&value, 1));
}

template <typename T>
std::span<const T> take_all(Cursor& cursor, uint64_t count) {
  static_assert(sizeof(T) % ScanOutline::kAlignment == 0);
  if (count > cursor.left() / sizeof(T)) {
    cursor.take(cursor.left() + 1);
    return {};
  }
  const base::ByteView bytes = cursor.take(count * sizeof(T));
  return {reinterpret_cast<const T*>(bytes.data()), count};
}

}  // namespace

// Numbers of blocks, directories and handles; then these; then the checksum.
std::optional<ScanOutline> ScanOutline::read(base::ByteView bytes) {
  if (bytes.size() < kScanChecksumSize) return std::nullopt;
  const base::ByteView content = bytes.first(bytes.size() - kScanChecksumSize);
  if (!checksum_matches(content, bytes.last(kScanChecksumSize))) return std::nullopt;
  Cursor cursor(content);
  const uint64_t blocks = cursor.number(8), directories = cursor.number(8),
                 handles = cursor.number(8);
  ScanOutline outline;
  outline.blocks = take_all<Block>(cursor, blocks);
  outline.directories = take_all<Directory>(cursor, directories);
  outline.handles = take_all<uint64_t>(cursor, handles);
  if (!cursor.good() || cursor.left() != 0 || outline.directories.empty()) return std::nullopt;
  return outline;
}

base::Bytes KeptScan::load(const ScanOutline::Block& block) const {
  std::array<uint8_t, kBlockHeaderSize> header;
  base::Bytes records(block.length);
  if (base::pread_up_to(file.get(), header, block.offset) != header.size() ||
      base::pread_up_to(file.get(), records, block.offset + header.size()) != records.size() ||
      base::load_le32(header.data()) != records.size() ||
      !checksum_matches(records, base::ByteView(header).subspan(4)))
    throw base::Corrupt("the scan cache is damaged");
  return records;
}

ScanView KeptScan::peek(uint64_t position) const {
  const auto& blocks = outline.blocks;
  const auto behind = std::partition_point(blocks.begin(), blocks.end(), [&](const auto& block) {
    return block.begin <= position;
  });
  if (behind == blocks.begin()) return {};
  const ScanOutline::Block& block = *(behind - 1);
  const base::ByteView all = bytes.bytes();
  if (position - block.begin >= block.length || block.offset > all.size() ||
      all.size() - block.offset < kBlockHeaderSize ||
      all.size() - block.offset - kBlockHeaderSize < block.length)
    return {};
  return ScanView::parse(all.subspan(block.offset + kBlockHeaderSize, block.length)
                             .subspan(position - block.begin));
}

void ScanOutliner::Spill::append(base::ByteView bytes) {
  while (!bytes.empty()) {
    const base::ByteView some = bytes.first(std::min(bytes.size(), kSpillStep));
    base::append(pending_, some);
    bytes = bytes.subspan(some.size());
    if (pending_.size() >= kSpillStep) flush();
  }
}

void ScanOutliner::Spill::replace(uint64_t offset, base::ByteView bytes) {
  if (offset < written_) {
    const size_t some = std::min<uint64_t>(bytes.size(), written_ - offset);
    base::pwrite_all(file_.get(), bytes.first(some), offset);
    bytes = bytes.subspan(some);
    offset += some;
  }
  std::copy(bytes.begin(), bytes.end(), pending_.begin() + static_cast<long>(offset - written_));
}

void ScanOutliner::Spill::flush() {
  base::pwrite_all(file_.get(), pending_, written_);
  written_ += pending_.size();
  pending_.clear();
}

void ScanOutliner::Spill::copy_to(int file, uint64_t offset) {
  flush();
  const base::MappedFile all(file_.get(), written_);
  base::pwrite_all(file, all.bytes(), offset);
}

void ScanOutliner::add(base::ByteView records) {
  while (!records.empty()) {
    const ScanView record = ScanView::parse(records);
    DAVIT_CHECK(record.kind != ScanView::Kind::end);
    add(record);
    position_ += record.bytes.size();
    records = records.subspan(record.bytes.size());
  }
}

void ScanOutliner::add(const ScanView& record) {
  if (record.kind == ScanView::Kind::enter) {
    const ScanStamp stamp = record.stamp();
    ScanOutline::Directory directory;
    directory.handle = stamp.handle;
    directory.begin = position_;
    directory.handles_begin = handle_count();
    directory.is_doubtful = !stamp.trusted || stamp.handle == 0;
    if (open_.empty() && directory_count() != 0) is_tree_ = false;
    open_.push_back({directory_count(), directory, {}});
    directories_.append(as_view(directory));  // its place
    return;
  }
  if (open_.empty()) {
    is_tree_ = false;
    return;
  }
  Level& level = open_.back();
  ScanOutline::Directory& directory = level.directory;
  if (record.kind == ScanView::Kind::open) {
    directory.is_doubtful = 1;
  } else if (record.kind == ScanView::Kind::leave) {
    directory.tree = record.tree();
    if (directory.tree == base::Id{}) directory.is_doubtful = 1;
    directory.own_begin = handle_count();
    handles_.append(as_view(std::span<const uint64_t>(level.own)));
    directory.own_end = handle_count();
    directory.end = position_ + record.bytes.size();
    directory.next = directory_count();
    directories_.replace(level.index * sizeof directory, as_view(directory));
    const uint64_t files = directory.files, bytes = directory.bytes;
    open_.pop_back();
    if (open_.empty()) return;
    open_.back().directory.files += files;
    open_.back().directory.bytes += bytes;
  } else {
    const ScanStamp stamp = record.stamp();
    if (!stamp.trusted || stamp.handle == 0)
      directory.is_doubtful = 1;
    else
      level.own.push_back(stamp.handle);
    if (record.kind != ScanView::Kind::file) return;
    ++directory.files;
    directory.bytes += stamp.size_bytes;
  }
}

void ScanOutliner::add(const ScanOutline& from, size_t index) {
  const ScanOutline::Directory& top = from.directories[index];
  // Differences may be negative: they wrap, and wrap back.
  const uint64_t by_position = position_ - top.begin;
  const uint64_t by_handle = handle_count() - top.handles_begin;
  const uint32_t by_index = directory_count() - static_cast<uint32_t>(index);
  if (open_.empty() && directory_count() != 0) is_tree_ = false;
  for (size_t at = index; at < top.next; ++at) {
    ScanOutline::Directory directory = from.directories[at];
    directory.begin += by_position;
    directory.end += by_position;
    directory.handles_begin += by_handle;
    directory.own_begin += by_handle;
    directory.own_end += by_handle;
    directory.next += by_index;
    directories_.append(as_view(directory));
  }
  handles_.append(
      as_view(from.handles.subspan(top.handles_begin, top.own_end - top.handles_begin)));
  position_ += top.end - top.begin;
  if (open_.empty()) return;
  open_.back().directory.files += top.files;
  open_.back().directory.bytes += top.bytes;
}

void ScanOutliner::begin_block(uint64_t offset, uint64_t length) {
  blocks_.push_back({block_position_, offset, length});
  block_position_ += length;
}

uint64_t ScanOutliner::finish(int file, uint64_t size_bytes) {
  if (!is_tree_ || !open_.empty() || directory_count() == 0 || block_position_ != position_)
    return size_bytes;
  constexpr uint64_t kAlignment = ScanOutline::kAlignment;
  const uint64_t begin = (size_bytes + kAlignment - 1) / kAlignment * kAlignment;
  base::Bytes front;
  append_number(front, blocks_.size(), 8);
  append_number(front, directory_count(), 8);
  append_number(front, handle_count(), 8);
  base::append(front, as_view(std::span<const ScanOutline::Block>(blocks_)));
  uint64_t end = begin;
  base::pwrite_all(file, front, end);
  end += front.size();
  directories_.copy_to(file, end);
  end += directories_.size_bytes();
  handles_.copy_to(file, end);
  end += handles_.size_bytes();
  const base::MappedFile all(file, end);
  const base::Id checksum = crypto::sha256(all.bytes().subspan(begin));
  base::pwrite_all(file, base::ByteView(checksum.bytes).first(kScanChecksumSize), end);
  return end + kScanChecksumSize;
}

}  // namespace davit::repo
