#include "jobs/container_book.h"

#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"
#include "base/log.h"

namespace davit::jobs {

using nlohmann::json;

namespace {

void put_time(json& object, const char* key, const std::optional<base::Time>& time) {
  if (time) object[key] = base::format_utc(*time);
}

std::optional<base::Time> find_time(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) return std::nullopt;
  return base::parse_rfc3339(found->get<std::string>());
}

json to_json(const KnownContainer& container) {
  const auto& last = container.last;
  json object = {{"since", base::format_utc(container.since)},
                 {"snapshot", last.snapshot},
                 {"consistency", last.consistency},
                 {"files", last.files},
                 {"bytes", last.bytes},
                 {"error", last.error}};
  put_time(object, "gone", container.gone);
  put_time(object, "attempted", last.attempted);
  put_time(object, "succeeded", last.succeeded);
  return object;
}

KnownContainer parse(const std::string& name, const json& object) {
  KnownContainer container;
  container.name = name;
  container.since = base::parse_rfc3339(object.at("since").get<std::string>());
  container.gone = find_time(object, "gone");
  container.last.attempted = find_time(object, "attempted");
  container.last.succeeded = find_time(object, "succeeded");
  container.last.snapshot = object.at("snapshot").get<std::string>();
  container.last.consistency = object.at("consistency").get<std::string>();
  container.last.files = object.at("files").get<uint64_t>();
  container.last.bytes = object.at("bytes").get<uint64_t>();
  container.last.error = object.at("error").get<std::string>();
  return container;
}

// What somebody would notice, of one that is committed.
bool looks_same(const engine::Container& a, const engine::Container& b) {
  const auto mounts = [](const engine::Container& container) {
    std::set<std::pair<std::string, std::string>> names;
    for (const auto& mount : container.volumes) names.emplace(mount.name, mount.driver);
    return names;
  };
  return a.id == b.id && a.labels == b.labels && a.image == b.image && mounts(a) == mounts(b);
}

}  // namespace

ContainerBook::ContainerBook(std::string path, const base::Clock& clock) : path_(std::move(path)), clock_(clock) {
  const auto bytes = base::find_file(path_);
  if (!bytes) return;
  try {
    const json file = json::parse(base::as_text(*bytes));
    for (const auto& [name, object] : file.items()) {
      all_[name] = parse(name, object);
      all_[name].exists = !all_[name].gone;  // until the engine's first list
    }
  } catch (const std::exception& error) {
    all_.clear();
    spdlog::error("{} cannot be read ({}): when containers were saved last is not known any more", path_, error.what());
  }
}

bool ContainerBook::update(const std::vector<engine::Container>& containers, CommitMode mode) {
  std::lock_guard lock(mutex_);
  bool differs = false, durable = false;
  std::map<std::string, const engine::Container*> listed;
  for (const auto& container : containers) listed[container.name] = &container;
  for (const auto& [name, container] : listed) {
    const bool committed = is_committed(*container, mode);
    if (!committed && !all_.contains(name)) continue;
    durable |= !all_.contains(name);
    KnownContainer& known = get(name);
    if (known.gone) {
      known.gone.reset();
      known.since = clock_.now();
      durable = true;
    }
    known.exists = true;
    differs |= committed != known.now.has_value() || (committed && !looks_same(*known.now, *container));
    if (committed)
      known.now = *container;
    else
      known.now.reset();
  }
  for (auto at = all_.begin(); at != all_.end();) {
    auto& [name, known] = *at;
    const bool stays = listed.contains(name) || known.gone;
    if (!stays) {
      differs |= known.now.has_value();
      durable = true;
    }
    if (!stays && !known.last.attempted) {  // such as the names that a composing tool uses for a moment
      at = all_.erase(at);
      continue;
    }
    if (!stays) {
      known.now.reset();
      known.exists = false;
      known.gone = clock_.now();
    }
    ++at;
  }
  if (durable) save();
  return differs || durable;
}

void ContainerBook::note(const std::string& name, const std::function<void(volumes::LastBackup&)>& change) {
  std::lock_guard lock(mutex_);
  change(get(name).last);
  save();
}

std::vector<KnownContainer> ContainerBook::list() const {
  std::lock_guard lock(mutex_);
  std::vector<KnownContainer> containers;
  for (const auto& [name, container] : all_) containers.push_back(container);
  return containers;
}

std::optional<KnownContainer> ContainerBook::find(const std::string& name) const {
  std::lock_guard lock(mutex_);
  const auto found = all_.find(name);
  if (found == all_.end()) return std::nullopt;
  return found->second;
}

void ContainerBook::forget(const std::string& name) {
  std::lock_guard lock(mutex_);
  if (all_.erase(name) > 0) save();
}

KnownContainer& ContainerBook::get(const std::string& name) {
  const auto [place, is_new] = all_.try_emplace(name);
  if (is_new) {
    place->second.name = name;
    place->second.exists = true;
    place->second.since = clock_.now();
  }
  return place->second;
}

void ContainerBook::save() {
  json file = json::object();
  for (const auto& [name, container] : all_) file[name] = to_json(container);
  base::make_directories(path_.substr(0, path_.rfind('/')));
  // An error may hold a path of any bytes.
  base::write_file_atomic(path_, base::as_bytes(file.dump(1, ' ', false, json::error_handler_t::replace) + "\n"));
}

}  // namespace davit::jobs
