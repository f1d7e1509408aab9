#include "repo/scan_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/errors.h"
#include "base/fault.h"
#include "crypto/sha256.h"

namespace davit::repo {

namespace {

constexpr std::string_view kMagic = "davit scan cache, format 2\n";
constexpr size_t kMagicSize = 32;
constexpr size_t kChecksumSize = 16;
constexpr size_t kHeaderSize = kMagicSize + 32 + 32 + 32 + 8 + kChecksumSize;
constexpr size_t kBlockHeaderSize = 4 + kChecksumSize;
constexpr size_t kBlockAim = 256 << 10;
// A record of a file of 1 TiB holds some 24 MiB of blob IDs.
constexpr uint32_t kMaxBlock = 1u << 30;

// A record: kind (1), length of the rest (4), length of the name (2), name, body.
constexpr size_t kRecordHeaderSize = 5;

void append_number(base::Bytes& to, uint64_t value, size_t width) {
  for (size_t i = 0; i < width; ++i) to.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

size_t begin_record(base::Bytes& to, ScanView::Kind kind, std::string_view name) {
  DAVIT_CHECK(name.size() < 1 << 16);
  to.push_back(static_cast<uint8_t>(kind));
  const size_t start = to.size();
  append_number(to, 0, 4);
  append_number(to, name.size(), 2);
  base::append(to, base::as_bytes(name));
  return start;
}

void end_record(base::Bytes& to, size_t start) {
  base::store_le32(to.data() + start, static_cast<uint32_t>(to.size() - start - 4));
}

// Reads numbers and texts off the front; anything beyond the end makes it bad.
class Cursor {
 public:
  explicit Cursor(base::ByteView bytes) : rest_(bytes) {}

  base::ByteView take(size_t size) {
    if (size > rest_.size()) {
      good_ = false;
      rest_ = {};
      return {};
    }
    const base::ByteView front = rest_.first(size);
    rest_ = rest_.subspan(size);
    return front;
  }
  uint64_t number(size_t width) {
    uint64_t value = 0;
    const base::ByteView bytes = take(width);
    if (!bytes.empty()) std::memcpy(&value, bytes.data(), bytes.size());  // little endian
    return value;
  }
  NodeTime time() {
    const int64_t seconds = static_cast<int64_t>(number(8));
    return {seconds, static_cast<uint32_t>(number(4))};
  }
  bool good() const { return good_; }
  size_t left() const { return rest_.size(); }

 private:
  base::ByteView rest_;
  bool good_ = true;
};

base::Id load_id(base::ByteView bytes) {
  base::Id id;
  if (bytes.size() == id.bytes.size()) std::copy(bytes.begin(), bytes.end(), id.bytes.begin());
  return id;
}

void append_time(base::Bytes& to, const NodeTime& time) {
  append_number(to, static_cast<uint64_t>(time.seconds), 8);
  append_number(to, time.nanoseconds, 4);
}

void append_stamp(base::Bytes& to, const ScanStamp& stamp) {
  append_number(to, stamp.trusted, 1);
  append_number(to, stamp.inode, 8);
  append_number(to, stamp.size_bytes, 8);
  append_time(to, stamp.mtime);
  append_time(to, stamp.ctime);
}

void append_xattrs(base::Bytes& to, const std::vector<Xattr>& xattrs) {
  append_number(to, xattrs.size(), 2);
  for (const Xattr& xattr : xattrs) {
    append_number(to, xattr.name.size(), 2);
    base::append(to, base::as_bytes(xattr.name));
    append_number(to, xattr.value.size(), 4);
    base::append(to, xattr.value);
  }
}

ScanStamp take_stamp(Cursor& cursor) {
  ScanStamp stamp;
  stamp.trusted = cursor.number(1) == 1;
  stamp.inode = cursor.number(8);
  stamp.size_bytes = cursor.number(8);
  stamp.mtime = cursor.time();
  stamp.ctime = cursor.time();
  if (!cursor.good()) return {};
  return stamp;
}

bool checksum_matches(base::ByteView bytes, base::ByteView checksum) {
  const base::Id id = crypto::sha256(bytes);
  return std::equal(checksum.begin(), checksum.end(), id.bytes.begin());
}

}  // namespace

void append_enter(base::Bytes& to, std::string_view name, const ScanStamp& stamp) {
  const size_t start = begin_record(to, ScanView::Kind::enter, name);
  append_stamp(to, stamp);
  end_record(to, start);
}

void append_other(base::Bytes& to, const ScanRecord& record) {
  const size_t start = begin_record(to, ScanView::Kind::other, record.name);
  append_stamp(to, record);
  append_xattrs(to, record.xattrs);
  append_number(to, record.linktarget.size(), 4);
  base::append(to, base::as_bytes(record.linktarget));
  end_record(to, start);
}

void append_open(base::Bytes& to, std::string_view name) {
  end_record(to, begin_record(to, ScanView::Kind::open, name));
}

void append_leave(base::Bytes& to, const base::Id& tree) {
  const size_t start = begin_record(to, ScanView::Kind::leave, "");
  base::append(to, tree.bytes);
  end_record(to, start);
}

void append_record(base::Bytes& to, const ScanRecord& record) {
  const size_t start = begin_record(to, ScanView::Kind::file, record.name);
  append_stamp(to, record);
  append_xattrs(to, record.xattrs);
  append_number(to, record.content.size(), 4);
  for (const base::Id& id : record.content) base::append(to, id.bytes);
  end_record(to, start);
}

ScanCacheWriter::ScanCacheWriter(const std::string& path, const base::Id& repository,
                                 const base::Id& context)
    : path_(path),
      file_(base::open_file(path, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600)),
      repository_(repository),
      context_(context),
      size_bytes_(kHeaderSize) {}

void ScanCacheWriter::write(base::ByteView records) {
  base::append(block_, records);
  if (block_.size() >= kBlockAim) flush();
}

void ScanCacheWriter::flush() {
  if (block_.empty()) return;
  DAVIT_CHECK(block_.size() <= kMaxBlock);
  std::array<uint8_t, kBlockHeaderSize> header;
  base::store_le32(header.data(), static_cast<uint32_t>(block_.size()));
  const base::Id checksum = crypto::sha256(block_);
  std::copy_n(checksum.bytes.begin(), kChecksumSize, header.begin() + 4);
  base::pwrite_all(file_.get(), header, size_bytes_);
  base::pwrite_all(file_.get(), block_, size_bytes_ + header.size());
  size_bytes_ += header.size() + block_.size();
  block_.clear();
}

void ScanCacheWriter::finish(const base::Id& root_tree) {
  flush();
  base::Bytes header(base::to_bytes(base::as_bytes(kMagic)));
  header.resize(kMagicSize, 0);
  base::append(header, repository_.bytes);
  base::append(header, context_.bytes);
  base::append(header, root_tree.bytes);
  append_number(header, size_bytes_, 8);
  const base::Id checksum = crypto::sha256(header);
  base::append(header, base::ByteView(checksum.bytes).first(kChecksumSize));
  base::pwrite_all(file_.get(), header, 0);
  base::fault_point("scan_cache:written");
  if (::fsync(file_.get()) != 0) base::throw_errno("cannot sync " + path_, errno);
}

std::unique_ptr<ScanCacheReader> ScanCacheReader::open(const std::string& path,
                                                       const base::Id& repository) {
  base::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  struct stat status;
  if (!file || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return nullptr;
  std::array<uint8_t, kHeaderSize> header;
  try {
    if (base::pread_up_to(file.get(), header, 0) != header.size()) return nullptr;
  } catch (const base::IoError&) {
    return nullptr;  // as if it were not there
  }
  const base::ByteView bytes(header);
  Cursor cursor(bytes);
  const base::ByteView magic = cursor.take(kMagicSize);
  const base::Id made_for = load_id(cursor.take(32));
  const base::Id context = load_id(cursor.take(32));
  const base::Id root_tree = load_id(cursor.take(32));
  const uint64_t size_bytes = cursor.number(8);
  if (base::as_text(magic.first(kMagic.size())) != kMagic || made_for != repository ||
      size_bytes != static_cast<uint64_t>(status.st_size) ||
      !checksum_matches(bytes.first(kHeaderSize - kChecksumSize), bytes.last(kChecksumSize)))
    return nullptr;
  ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  return std::unique_ptr<ScanCacheReader>(
      new ScanCacheReader(std::move(file), size_bytes, context, root_tree));
}

ScanCacheReader::ScanCacheReader(base::Fd file, uint64_t size_bytes, const base::Id& context,
                                 const base::Id& root_tree)
    : file_(std::move(file)),
      size_bytes_(size_bytes),
      offset_(kHeaderSize),
      context_(context),
      root_tree_(root_tree) {}

// False at the end and at damage.
bool ScanCacheReader::load_block() {
  block_.clear();
  at_ = 0;
  if (!intact_ || offset_ == size_bytes_) return false;
  intact_ = false;  // until it proves good
  try {
    std::array<uint8_t, kBlockHeaderSize> header;
    if (size_bytes_ - offset_ < header.size() ||
        base::pread_up_to(file_.get(), header, offset_) != header.size())
      return false;
    const uint32_t length = base::load_le32(header.data());
    if (length == 0 || length > kMaxBlock || length > size_bytes_ - offset_ - header.size())
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

ScanView ScanView::parse(base::ByteView bytes) {
  ScanView view;
  Cursor cursor(bytes);
  const uint64_t kind = cursor.number(1);
  const size_t length = cursor.number(4);
  Cursor record(cursor.take(length));
  const base::ByteView name = record.take(record.number(2));
  if (!cursor.good() || !record.good() || kind >= static_cast<uint64_t>(Kind::end)) return view;
  view.kind = static_cast<Kind>(kind);
  view.name = base::as_text(name);
  view.body = record.take(record.left());
  view.bytes = bytes.first(kRecordHeaderSize + length);
  return view;
}

ScanStamp ScanView::stamp() const {
  Cursor cursor(body);
  return take_stamp(cursor);
}

base::Id ScanView::tree() const {
  return load_id(body);
}

ScanRecord ScanView::record() const {
  ScanRecord record;
  record.name = name;
  Cursor cursor(body);
  static_cast<ScanStamp&>(record) = take_stamp(cursor);
  const size_t xattrs = cursor.number(2);
  for (size_t i = 0; i < xattrs && cursor.good(); ++i) {
    Xattr xattr;
    xattr.name = base::as_text(cursor.take(cursor.number(2)));
    xattr.value = base::to_bytes(cursor.take(cursor.number(4)));
    record.xattrs.push_back(std::move(xattr));
  }
  const size_t count = cursor.number(4);
  if (kind == Kind::other) {
    record.linktarget = base::as_text(cursor.take(count));
  } else {
    if (count > cursor.left() / 32) return {};
    record.content.reserve(count);
    for (size_t i = 0; i < count; ++i) record.content.push_back(load_id(cursor.take(32)));
  }
  if (!cursor.good()) return {};
  return record;
}

// The blob IDs of the file, one after another.
std::optional<base::ByteView> ScanView::content() const {
  Cursor cursor(body);
  take_stamp(cursor);
  const size_t xattrs = cursor.number(2);
  for (size_t i = 0; i < xattrs && cursor.good(); ++i) {
    cursor.take(cursor.number(2));
    cursor.take(cursor.number(4));
  }
  const size_t blobs = cursor.number(4);
  if (blobs > cursor.left() / 32) return std::nullopt;
  const base::ByteView ids = cursor.take(blobs * 32);
  if (!cursor.good()) return std::nullopt;
  return ids;
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
