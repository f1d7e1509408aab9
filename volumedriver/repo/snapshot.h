// Snapshot files: when, what, whose, and the root tree. Encoded byte for byte as restic writes them
// (field order, what is left out, escapes), so that a snapshot keeps its shape through `restic tag`
// and `rewrite`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/id.h"

namespace davit::repo {

// An instant and the zone in which it was told; retention counts days in that zone.
struct ZonedTime {
  base::Time time{};
  int offset_minutes = 0;  // east of Greenwich

  bool operator==(const ZonedTime&) const = default;
};

// RFC 3339 as Go prints it: no trailing zeros in the fraction, 'Z' for offset 0.
std::string format(const ZonedTime& time);
// Throws Corrupt. Instants that base::Time cannot hold (before 1678, after 2261) become the nearest
// that it can.
ZonedTime parse_zoned_time(std::string_view text);

struct SnapshotSummary {
  ZonedTime backup_start, backup_end;
  uint64_t files_new = 0, files_changed = 0, files_unmodified = 0;
  uint64_t dirs_new = 0, dirs_changed = 0, dirs_unmodified = 0;
  uint64_t data_blobs = 0, tree_blobs = 0;
  uint64_t data_added = 0, data_added_packed = 0;
  uint64_t total_files_processed = 0, total_bytes_processed = 0;

  bool operator==(const SnapshotSummary&) const = default;
};

struct Snapshot {
  base::Id id;  // the file's name; not in the JSON: set by whoever loaded or saved it

  ZonedTime time;
  std::optional<base::Id> parent;
  base::Id tree;
  std::vector<std::string> paths;
  std::string hostname, username;
  uint32_t uid = 0, gid = 0;
  std::vector<std::string> excludes, tags;
  std::optional<base::Id> original;
  std::string program_version;
  std::optional<SnapshotSummary> summary;

  bool has_tag(std::string_view tag) const;
  bool operator==(const Snapshot&) const = default;
};

base::Bytes encode_snapshot(const Snapshot& snapshot);
// `id` stays zero. Unknown fields are ignored. Throws Corrupt.
Snapshot parse_snapshot(base::ByteView json);

}  // namespace davit::repo
