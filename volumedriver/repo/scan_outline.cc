#include "repo/scan_outline.h"

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

template <typename T>
void append_all(base::Bytes& to, const std::vector<T>& values) {
  append_number(to, values.size(), 8);
  base::append(to, {reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(T)});
}

template <typename T>
std::vector<T> take_all(Cursor& cursor) {
  const uint64_t count = cursor.number(8);
  if (count > cursor.left() / sizeof(T)) {
    cursor.take(cursor.left() + 1);
    return {};
  }
  std::vector<T> values(count);
  const base::ByteView bytes = cursor.take(count * sizeof(T));
  if (!bytes.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

}  // namespace

base::Bytes ScanOutline::encode() const {
  base::Bytes bytes;
  append_all(bytes, blocks);
  append_all(bytes, directories);
  append_all(bytes, handles);
  const base::Id checksum = crypto::sha256(bytes);
  base::append(bytes, base::ByteView(checksum.bytes).first(kScanChecksumSize));
  return bytes;
}

std::optional<ScanOutline> ScanOutline::decode(base::ByteView bytes) {
  if (bytes.size() < kScanChecksumSize) return std::nullopt;
  const base::ByteView content = bytes.first(bytes.size() - kScanChecksumSize);
  if (!checksum_matches(content, bytes.last(kScanChecksumSize))) return std::nullopt;
  Cursor cursor(content);
  ScanOutline outline;
  outline.blocks = take_all<Block>(cursor);
  outline.directories = take_all<Directory>(cursor);
  outline.handles = take_all<uint64_t>(cursor);
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
    directory.handles_begin = outline_.handles.size();
    directory.is_doubtful = !stamp.trusted || stamp.handle == 0;
    if (open_.empty() && !outline_.directories.empty()) is_tree_ = false;
    open_.push_back({outline_.directories.size(), {}});
    outline_.directories.push_back(directory);
    return;
  }
  if (open_.empty()) {
    is_tree_ = false;
    return;
  }
  Level& level = open_.back();
  ScanOutline::Directory& directory = outline_.directories[level.directory];
  if (record.kind == ScanView::Kind::open) {
    directory.is_doubtful = 1;
  } else if (record.kind == ScanView::Kind::leave) {
    directory.tree = record.tree();
    if (directory.tree == base::Id{}) directory.is_doubtful = 1;
    directory.own_begin = outline_.handles.size();
    outline_.handles.insert(outline_.handles.end(), level.own.begin(), level.own.end());
    directory.own_end = outline_.handles.size();
    directory.end = position_ + record.bytes.size();
    directory.next = static_cast<uint32_t>(outline_.directories.size());
    open_.pop_back();
    if (open_.empty()) return;
    ScanOutline::Directory& parent = outline_.directories[open_.back().directory];
    parent.files += directory.files;
    parent.bytes += directory.bytes;
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
  const uint64_t by_handle = outline_.handles.size() - top.handles_begin;
  const uint32_t by_index = static_cast<uint32_t>(outline_.directories.size() - index);
  for (size_t at = index; at < top.next; ++at) {
    ScanOutline::Directory directory = from.directories[at];
    directory.begin += by_position;
    directory.end += by_position;
    directory.handles_begin += by_handle;
    directory.own_begin += by_handle;
    directory.own_end += by_handle;
    directory.next += by_index;
    outline_.directories.push_back(directory);
  }
  const auto first = from.handles.begin();
  outline_.handles.insert(outline_.handles.end(), first + static_cast<long>(top.handles_begin),
                          first + static_cast<long>(top.own_end));
  position_ += top.end - top.begin;
  if (open_.empty()) return;
  ScanOutline::Directory& parent = outline_.directories[open_.back().directory];
  parent.files += top.files;
  parent.bytes += top.bytes;
}

void ScanOutliner::begin_block(uint64_t offset, uint64_t length) {
  outline_.blocks.push_back({block_position_, offset, length});
  block_position_ += length;
}

std::optional<ScanOutline> ScanOutliner::finish() {
  if (!is_tree_ || !open_.empty() || outline_.directories.empty() || block_position_ != position_)
    return std::nullopt;
  return std::move(outline_);
}

}  // namespace davit::repo
