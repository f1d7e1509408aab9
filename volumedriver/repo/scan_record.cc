#include "repo/scan_record.h"

#include "base/errors.h"
#include "repo/scan_format.h"

namespace davit::repo {

namespace {

// A record: kind (1), length of the rest (4), length of the name (2), name, body.
constexpr size_t kRecordHeaderSize = 5;

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
  append_number(to, stamp.handle, 8);
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
  stamp.handle = cursor.number(8);
  if (!cursor.good()) return {};
  return stamp;
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

}  // namespace davit::repo
