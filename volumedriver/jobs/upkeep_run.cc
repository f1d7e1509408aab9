#include "jobs/upkeep_run.h"

#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"
#include "base/log.h"

namespace davit::jobs {

UpkeepRun load_upkeep_run(const std::string& path) {
  UpkeepRun run;
  const auto bytes = base::find_file(path);
  if (!bytes) return run;
  const auto json = nlohmann::json::parse(base::as_text(*bytes), nullptr, false);
  if (!json.is_object()) return run;
  const auto time = [&](const char* key) -> std::optional<base::Time> {
    if (!json.contains(key) || !json[key].is_string()) return std::nullopt;
    try {
      return base::parse_rfc3339(json[key].get<std::string>());
    } catch (const base::UsageError&) {
      spdlog::warn("{}: '{}' is no time", path, key);
      return std::nullopt;
    }
  };
  run.since = time("since");
  run.attempted = time("attempted");
  run.succeeded = time("succeeded");
  if (json.contains("error") && json["error"].is_string()) run.error = json["error"].get<std::string>();
  return run;
}

void save_upkeep_run(const std::string& path, const UpkeepRun& run) {
  nlohmann::json json = {{"error", run.error}};
  if (run.since) json["since"] = base::format_utc(*run.since);
  if (run.attempted) json["attempted"] = base::format_utc(*run.attempted);
  if (run.succeeded) json["succeeded"] = base::format_utc(*run.succeeded);
  // An error may hold a path of any bytes.
  const std::string text = json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  base::make_directories(path.substr(0, path.rfind('/')));
  base::write_file_atomic(path, base::as_bytes(text));
}

}  // namespace davit::jobs
