#include "jobs/restore_journal.h"

#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"
#include "base/log.h"

namespace davit::jobs {

using nlohmann::json;

namespace {

constexpr std::string_view kSuffix = ".json";

RestoreEntry parse(const std::string& uuid, base::ByteView bytes) {
  const json file = json::parse(base::as_text(bytes));
  RestoreEntry entry;
  entry.uuid = uuid;
  entry.container = file.at("container");
  entry.image = file.at("image");
  entry.loads_image = file.at("loads_image");
  entry.networks = file.at("networks").get<std::vector<std::string>>();
  for (const json& each : file.at("volumes")) entry.volumes.push_back({each.at("name"), each.at("snapshot")});
  for (const json& each : file.at("replaced")) entry.replaced.push_back({each.at("name"), each.at("safety")});
  return entry;
}

}  // namespace

RestoreJournal::RestoreJournal(const std::string& data_directory) : directory_(data_directory + "/state/restores") {}

void RestoreJournal::write(const RestoreEntry& entry) const {
  json volumes = json::array(), replaced = json::array();
  for (const auto& each : entry.volumes) volumes.push_back({{"name", each.name}, {"snapshot", each.snapshot}});
  for (const auto& each : entry.replaced) replaced.push_back({{"name", each.name}, {"safety", each.safety}});
  const json file = {{"version", 1},          {"container", entry.container}, {"image", entry.image},
                     {"loads_image", entry.loads_image}, {"networks", entry.networks}, {"volumes", volumes},
                     {"replaced", replaced}};
  base::make_directories(directory_);
  const std::string text = file.dump(1) + "\n";
  base::write_file_atomic(directory_ + "/" + entry.uuid + std::string(kSuffix), base::as_bytes(text));
}

void RestoreJournal::remove(const std::string& uuid) const {
  base::remove_file(directory_ + "/" + uuid + std::string(kSuffix));
}

std::vector<RestoreEntry> RestoreJournal::list() const {
  std::vector<RestoreEntry> entries;
  for (const std::string& name : base::list_directory(directory_)) {
    if (!name.ends_with(kSuffix)) continue;
    try {
      entries.push_back(parse(name.substr(0, name.size() - kSuffix.size()), base::get_file(directory_ + "/" + name)));
    } catch (const std::exception& error) {
      spdlog::error("the journal of a restore, {}/{}, cannot be read: {}; what it made is left as it is", directory_,
                    name, error.what());
    }
  }
  return entries;
}

}  // namespace davit::jobs
