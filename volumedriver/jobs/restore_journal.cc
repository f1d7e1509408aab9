#include "jobs/restore_journal.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "base/errors.h"
#include "base/files.h"
#include "base/log.h"

namespace davit::jobs {

using nlohmann::json;

namespace {

constexpr std::string_view kSuffix = ".json";

using Asked = RestoreEntry::Asked;
constexpr std::pair<Asked, const char*> kAsked[] = {{Asked::nothing, ""},
                                                    {Asked::image, "image"},
                                                    {Asked::network, "network"},
                                                    {Asked::volume, "volume"},
                                                    {Asked::container, "container"}};

std::string word_of(Asked asked) {
  for (const auto& [value, word] : kAsked)
    if (value == asked) return word;
  return "";
}

Asked parse_asked(const std::string& text) {
  for (const auto& [value, word] : kAsked)
    if (word == text) return value;
  throw base::Corrupt("'" + text + "' is nothing that an engine is asked for");
}

RestoreEntry parse(const std::string& uuid, base::ByteView bytes) {
  const json file = json::parse(base::as_text(bytes));
  RestoreEntry entry;
  entry.uuid = uuid;
  entry.container = file.at("container");
  entry.image = file.at("image");
  entry.point = file.at("point");
  entry.loads_image = file.at("loads_image");
  entry.networks = file.at("networks").get<std::vector<std::string>>();
  for (const json& each : file.at("volumes")) entry.volumes.push_back({each.at("name"), each.at("snapshot")});
  for (const json& each : file.at("replaced")) entry.replaced.push_back({each.at("name"), each.at("safety")});
  entry.asked = parse_asked(file.at("asked"));
  entry.asked_name = file.at("asked_name");
  entry.asked_at = base::parse_rfc3339(file.at("asked_at").get<std::string>());
  entry.container_id = file.at("container_id");
  entry.undone = file.at("undone");
  return entry;
}

}  // namespace

RestoreJournal::RestoreJournal(const std::string& data_directory) : directory_(data_directory + "/state/restores") {}

void RestoreJournal::write(const RestoreEntry& entry) const {
  json volumes = json::array(), replaced = json::array();
  for (const auto& each : entry.volumes) volumes.push_back({{"name", each.name}, {"snapshot", each.snapshot}});
  for (const auto& each : entry.replaced) replaced.push_back({{"name", each.name}, {"safety", each.safety}});
  const json file = {{"version", 1},
                     {"container", entry.container},
                     {"image", entry.image},
                     {"point", entry.point},
                     {"loads_image", entry.loads_image},
                     {"networks", entry.networks},
                     {"volumes", volumes},
                     {"replaced", replaced},
                     {"asked", word_of(entry.asked)},
                     {"asked_name", entry.asked_name},
                     {"asked_at", base::format_utc(entry.asked_at)},
                     {"container_id", entry.container_id},
                     {"undone", entry.undone}};
  base::make_directories(directory_);
  const std::string text = file.dump(1) + "\n";
  base::write_file_atomic(directory_ + "/" + entry.uuid + std::string(kSuffix), base::as_bytes(text));
}

void RestoreJournal::remove(const std::string& uuid) const {
  base::remove_file(directory_ + "/" + uuid + std::string(kSuffix));
}

void RestoreJournal::tidy() const {
  for (const std::string& name : base::list_directory(directory_))
    if (name.find(".tmp-") != std::string::npos) base::remove_file(directory_ + "/" + name);
}

std::optional<RestoreEntry> RestoreJournal::find(const std::string& uuid) const {
  const auto bytes = base::find_file(directory_ + "/" + uuid + std::string(kSuffix));
  return bytes ? std::optional(parse(uuid, *bytes)) : std::nullopt;
}

std::vector<RestoreEntry> RestoreJournal::list() const {
  std::vector<RestoreEntry> entries;
  for (const std::string& name : base::list_directory(directory_)) {
    if (!name.ends_with(kSuffix)) continue;
    try {
      if (auto entry = find(name.substr(0, name.size() - kSuffix.size()))) entries.push_back(std::move(*entry));
    } catch (const std::exception& error) {
      spdlog::error("the journal of a restore, {}/{}, cannot be read: {}; what it made is left as it is", directory_,
                    name, error.what());
    }
  }
  return entries;
}

}  // namespace davit::jobs
