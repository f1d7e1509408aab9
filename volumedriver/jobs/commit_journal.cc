#include "jobs/commit_journal.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "base/errors.h"
#include "base/files.h"
#include "base/log.h"

namespace davit::jobs {

using nlohmann::json;

namespace {

constexpr const char* kEnding = ".json";

json to_json(const CommitEntry& entry) {
  return {{"version", 1},
          {"container_id", entry.container_id},
          {"container", entry.container},
          {"started_at", entry.started_at},
          {"was_running", entry.was_running},
          {"was_paused", entry.was_paused},
          {"reference", entry.reference},
          {"point", entry.point},
          {"begun", base::format_utc(entry.begun)},
          {"image_id", entry.image_id}};
}

CommitEntry parse(const std::string& uuid, base::ByteView bytes) {
  const json file = json::parse(base::as_text(bytes));
  CommitEntry entry;
  entry.uuid = uuid;
  entry.container_id = file.at("container_id").get<std::string>();
  entry.container = file.at("container").get<std::string>();
  entry.started_at = file.at("started_at").get<std::string>();
  entry.was_running = file.at("was_running").get<bool>();
  entry.was_paused = file.at("was_paused").get<bool>();
  entry.reference = file.at("reference").get<std::string>();
  entry.point = file.at("point").get<std::string>();
  entry.begun = base::parse_rfc3339(file.at("begun").get<std::string>());
  entry.image_id = file.at("image_id").get<std::string>();
  return entry;
}

}  // namespace

CommitJournal::CommitJournal(std::string directory) : directory_(std::move(directory)) {}

CommitEntry CommitJournal::begin(CommitEntry entry) {
  entry.uuid = base::make_uuid();
  base::make_directories(directory_);
  save(entry);
  return entry;
}

void CommitJournal::note_image(CommitEntry& entry, const std::string& image_id) {
  entry.image_id = image_id;
  save(entry);
}

void CommitJournal::close(const CommitEntry& entry) { base::remove_file(path(entry)); }

void CommitJournal::save(const CommitEntry& entry) const {
  const std::string text = to_json(entry).dump(1, ' ', false, json::error_handler_t::replace) + "\n";
  base::write_file_atomic(path(entry), base::as_bytes(text));
}

std::vector<CommitEntry> CommitJournal::load() const {
  std::vector<CommitEntry> entries;
  for (const std::string& name : base::list_directory(directory_)) {
    if (name.find(".tmp-") != std::string::npos) {  // half written by a process that was killed: nothing followed it
      base::remove_file(directory_ + "/" + name);
      continue;
    }
    if (!name.ends_with(kEnding)) continue;
    try {
      const auto bytes = base::find_file(directory_ + "/" + name, 1 << 20);
      if (bytes) entries.push_back(parse(name.substr(0, name.size() - std::string_view(kEnding).size()), *bytes));
    } catch (const std::exception& error) {
      spdlog::error("the journal of a commit {}/{} cannot be read: {}; look for paused containers and images named "
                    "davit/…, then delete it", directory_, name, error.what());
    }
  }
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.begun < b.begun; });
  return entries;
}

}  // namespace davit::jobs
