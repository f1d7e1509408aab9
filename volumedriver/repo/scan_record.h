// The records of a scan cache (repo/scan_cache.h), one by one. Pure functions.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/id.h"
#include "repo/tree.h"

namespace davit::repo {

// By what an unchanged entry is known.
struct ScanStamp {
  // False: it changed so shortly before it was read that equal times prove nothing.
  bool trusted = false;
  uint64_t inode = 0;
  uint64_t size_bytes = 0;  // of files
  NodeTime mtime, ctime;
  // By which a change of it is told (capture/file_handle.h); 0: not known.
  uint64_t handle = 0;
  bool operator==(const ScanStamp&) const = default;
};

struct ScanRecord : ScanStamp {
  ScanRecord() { trusted = true; }
  std::string name;
  std::vector<Xattr> xattrs;
  std::vector<base::Id> content;
  std::string linktarget;  // symbolic links only
};

// A record where it lies.
struct ScanView {
  enum class Kind : uint8_t { enter, leave, file, other, open, end };

  // The record at the front; Kind::end where there is none that is whole.
  static ScanView parse(base::ByteView bytes);

  ScanStamp stamp() const;    // of enter, file and other; not trusted where it is damaged
  base::Id tree() const;      // of leave
  ScanRecord record() const;  // of file and other: an other's has its target, not its content
  // Whether `holds` is true of every blob of the file.
  template <typename Holds>
  bool all_content(Holds&& holds) const {
    const auto ids = content();
    if (!ids) return false;
    base::Id id;
    for (size_t at = 0; at < ids->size(); at += id.bytes.size()) {
      std::memcpy(id.bytes.data(), ids->data() + at, id.bytes.size());
      if (!holds(id)) return false;
    }
    return true;
  }

  Kind kind = Kind::end;
  std::string_view name;
  base::ByteView body;   // what follows the name
  base::ByteView bytes;  // all of it

 private:
  std::optional<base::ByteView> content() const;
};

// Records as bytes, made by any thread and handed to the writer in the right order.
void append_enter(base::Bytes& to, std::string_view name, const ScanStamp& stamp = {});
void append_other(base::Bytes& to, const ScanRecord& record);
void append_open(base::Bytes& to, std::string_view name);
void append_leave(base::Bytes& to, const base::Id& tree);
void append_record(base::Bytes& to, const ScanRecord& record);

}  // namespace davit::repo
