#include "jobs/damage.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"
#include "base/log.h"

namespace davit::jobs {

namespace {

using Json = nlohmann::json;

Json hex_list(const std::vector<base::Id>& ids) {
  Json list = Json::array();
  for (const base::Id& id : ids) list.push_back(id.hex());
  return list;
}

std::vector<base::Id> parse_ids(const Json& list) {
  std::vector<base::Id> ids;
  for (const Json& each : list) {
    const auto id = base::Id::parse(each.get<std::string>());
    if (!id) throw base::Corrupt("an ID is none");
    ids.push_back(*id);
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

Damage parse(const Json& json) {
  Damage damage;
  damage.repository = parse_ids(Json::array({json.at("repository")})).front();
  damage.found = base::parse_rfc3339(json.at("found").get<std::string>());
  damage.by = json.at("by").get<std::string>();
  damage.errors = json.at("errors").get<uint64_t>();
  damage.messages = json.at("messages").get<std::vector<std::string>>();
  damage.snapshots = parse_ids(json.at("snapshots"));
  damage.packs = parse_ids(json.at("packs"));
  damage.volumes = json.at("volumes").get<std::vector<std::string>>();
  damage.containers = json.at("containers").get<std::vector<std::string>>();
  return damage;
}

}  // namespace

bool Damage::affects_volume(const std::string& name) const {
  return std::find(volumes.begin(), volumes.end(), name) != volumes.end();
}

bool Damage::affects_snapshot(const base::Id& id) const {
  return std::binary_search(snapshots.begin(), snapshots.end(), id);
}

std::string Damage::summary() const {
  return "the " + by + " found " + std::to_string(errors) + (errors == 1 ? " error" : " errors") +
         " in the repository" + (messages.empty() ? "" : ", the first: " + messages.front());
}

DamageBook::DamageBook(std::string path) : path_(std::move(path)) {
  try {
    if (const auto bytes = base::find_file(path_))
      *damage_.lock() = parse(Json::parse(base::as_text(*bytes)));
  } catch (const std::exception& error) {
    spdlog::warn("what was found damaged cannot be read from {}: {}", path_, error.what());
  }
}

std::optional<Damage> DamageBook::find(const base::Id& repository) const {
  return damage_.with([&](const std::optional<Damage>& damage) -> std::optional<Damage> {
    if (!damage || damage->repository != repository) return std::nullopt;
    return damage;
  });
}

std::optional<Damage> DamageBook::last() const {
  return damage_.with([](const std::optional<Damage>& damage) { return damage; });
}

void DamageBook::note(Damage damage) {
  for (auto* ids : {&damage.snapshots, &damage.packs}) std::sort(ids->begin(), ids->end());
  const Json json = {{"repository", damage.repository.hex()},
                     {"found", base::format_utc(damage.found)},
                     {"by", damage.by},
                     {"errors", damage.errors},
                     {"messages", damage.messages},
                     {"snapshots", hex_list(damage.snapshots)},
                     {"packs", hex_list(damage.packs)},
                     {"volumes", damage.volumes},
                     {"containers", damage.containers}};
  // Messages hold paths of any bytes.
  const std::string text = json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
  auto known = damage_.lock();
  *known = std::move(damage);
  try {
    base::make_directories(path_.substr(0, path_.rfind('/')));
    base::write_file_atomic(path_, base::as_bytes(text));
  } catch (const base::IoError& error) {
    spdlog::warn("what was found damaged cannot be noted: {}", error.what());
  }
}

void DamageBook::clear(const base::Id& repository) {
  auto known = damage_.lock();
  if (!*known || (*known)->repository != repository) return;
  known->reset();
  try {
    base::remove_file(path_);
  } catch (const base::IoError& error) {
    spdlog::warn("that the repository is whole again cannot be noted: {}", error.what());
  }
}

}  // namespace davit::jobs
