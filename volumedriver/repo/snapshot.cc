#include "repo/snapshot.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "base/errors.h"
#include "repo/json_reader.h"
#include "repo/json_writer.h"
#include "repo/rfc3339.h"

namespace davit::repo {
namespace {

constexpr int64_t kNano = 1'000'000'000;

std::vector<std::string> read_strings(JsonReader& json) {
  std::vector<std::string> strings;
  for (json.begin_array(); json.next_element();) strings.emplace_back(json.string());
  return strings;
}

struct Counter {
  std::string_view name;
  uint64_t SnapshotSummary::*value;
};

// In the order of the file.
constexpr Counter kCounters[] = {
    {"files_new", &SnapshotSummary::files_new},
    {"files_changed", &SnapshotSummary::files_changed},
    {"files_unmodified", &SnapshotSummary::files_unmodified},
    {"dirs_new", &SnapshotSummary::dirs_new},
    {"dirs_changed", &SnapshotSummary::dirs_changed},
    {"dirs_unmodified", &SnapshotSummary::dirs_unmodified},
    {"data_blobs", &SnapshotSummary::data_blobs},
    {"tree_blobs", &SnapshotSummary::tree_blobs},
    {"data_added", &SnapshotSummary::data_added},
    {"data_added_packed", &SnapshotSummary::data_added_packed},
    {"total_files_processed", &SnapshotSummary::total_files_processed},
    {"total_bytes_processed", &SnapshotSummary::total_bytes_processed},
};

ZonedTime read_time(JsonReader& json) {
  return parse_zoned_time(json.string());
}

SnapshotSummary read_summary(JsonReader& json) {
  SnapshotSummary summary;
  for (json.begin_object(); json.next_key();) {
    if (json.take_null()) continue;
    const std::string_view key = json.key();
    const auto counter =
        std::find_if(std::begin(kCounters), std::end(kCounters),
                     [&](const Counter& candidate) { return candidate.name == key; });
    if (counter != std::end(kCounters))
      summary.*counter->value = json.uint64();
    else if (key == "backup_start")
      summary.backup_start = read_time(json);
    else if (key == "backup_end")
      summary.backup_end = read_time(json);
    else
      json.skip();
  }
  return summary;
}

class SnapshotWriter {
 public:
  explicit SnapshotWriter(base::Bytes& to) : json_(to) {}

  void write(const Snapshot& snapshot) {
    json_.raw("{\"time\":");
    json_.string(format(snapshot.time));
    id(",\"parent\":", snapshot.parent);
    json_.raw(",\"tree\":");
    json_.id(snapshot.tree);
    json_.raw(",\"paths\":");
    strings(snapshot.paths);
    text(",\"hostname\":", snapshot.hostname);
    text(",\"username\":", snapshot.username);
    number(",\"uid\":", snapshot.uid);
    number(",\"gid\":", snapshot.gid);
    list(",\"excludes\":", snapshot.excludes);
    list(",\"tags\":", snapshot.tags);
    id(",\"original\":", snapshot.original);
    text(",\"program_version\":", snapshot.program_version);
    if (snapshot.summary) summary(*snapshot.summary);
    json_.raw("}");
  }

 private:
  void id(std::string_view field, const std::optional<base::Id>& id) {
    if (!id) return;
    json_.raw(field);
    json_.id(*id);
  }
  void text(std::string_view field, const std::string& value) {
    if (value.empty()) return;
    json_.raw(field);
    json_.string(value);
  }
  void number(std::string_view field, uint64_t value) {
    if (value == 0) return;
    json_.raw(field);
    json_.number(value);
  }
  void list(std::string_view field, const std::vector<std::string>& values) {
    if (values.empty()) return;
    json_.raw(field);
    strings(values);
  }
  void strings(const std::vector<std::string>& values) {
    json_.raw("[");
    for (size_t i = 0; i < values.size(); ++i) {
      if (i != 0) json_.raw(",");
      json_.string(values[i]);
    }
    json_.raw("]");
  }
  void summary(const SnapshotSummary& summary) {
    json_.raw(",\"summary\":{\"backup_start\":");
    json_.string(format(summary.backup_start));
    json_.raw(",\"backup_end\":");
    json_.string(format(summary.backup_end));
    for (const Counter& counter : kCounters) {
      json_.raw(",\"");
      json_.raw(counter.name);
      json_.raw("\":");
      json_.number(summary.*counter.value);
    }
    json_.raw("}");
  }

  JsonWriter json_;
};

}  // namespace

std::string format(const ZonedTime& time) {
  const int64_t count = time.time.time_since_epoch().count();
  int64_t seconds = count / kNano;
  int64_t nanoseconds = count % kNano;
  if (nanoseconds < 0) {
    nanoseconds += kNano;
    --seconds;
  }
  char text[kMaxTimeText];
  const size_t size =
      format_time({seconds, static_cast<uint32_t>(nanoseconds), time.offset_minutes}, text);
  return std::string(text, size);
}

ZonedTime parse_zoned_time(std::string_view text) {
  const auto civil = parse_time(text);
  if (!civil) throw base::Corrupt("\"" + std::string(text.substr(0, 64)) + "\" is not a time");
  constexpr int64_t kLast = std::numeric_limits<int64_t>::max() / kNano - 1;
  ZonedTime time;
  time.offset_minutes = civil->offset_minutes;
  if (civil->seconds > kLast)
    time.time = base::Time::max();
  else if (civil->seconds < -kLast)
    time.time = base::Time::min();
  else
    time.time = base::Time(std::chrono::nanoseconds(civil->seconds * kNano + civil->nanoseconds));
  return time;
}

bool Snapshot::has_tag(std::string_view tag) const {
  return std::find(tags.begin(), tags.end(), tag) != tags.end();
}

base::Bytes encode_snapshot(const Snapshot& snapshot) {
  base::Bytes bytes;
  SnapshotWriter(bytes).write(snapshot);
  return bytes;
}

Snapshot parse_snapshot(base::ByteView bytes) {
  JsonReader json(bytes, "snapshot");
  Snapshot snapshot;
  bool has_time = false;
  bool has_tree = false;
  for (json.begin_object(); json.next_key();) {
    if (json.take_null()) continue;
    const std::string_view key = json.key();
    if (key == "time") {
      snapshot.time = read_time(json);
      has_time = true;
    } else if (key == "tree") {
      snapshot.tree = json.id();
      has_tree = true;
    } else if (key == "parent")
      snapshot.parent = json.id();
    else if (key == "paths")
      snapshot.paths = read_strings(json);
    else if (key == "hostname")
      snapshot.hostname = json.string();
    else if (key == "username")
      snapshot.username = json.string();
    else if (key == "uid")
      snapshot.uid = json.uint32();
    else if (key == "gid")
      snapshot.gid = json.uint32();
    else if (key == "excludes")
      snapshot.excludes = read_strings(json);
    else if (key == "tags")
      snapshot.tags = read_strings(json);
    else if (key == "original")
      snapshot.original = json.id();
    else if (key == "program_version")
      snapshot.program_version = json.string();
    else if (key == "summary")
      snapshot.summary = read_summary(json);
    else
      json.skip();
  }
  json.finish();
  if (!has_time || !has_tree) json.fail("its time or its tree is missing");
  return snapshot;
}

}  // namespace davit::repo
