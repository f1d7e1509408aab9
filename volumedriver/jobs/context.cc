#include "jobs/context.h"

#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"

namespace davit::jobs {

std::string Context::host() const { return host_name(settings); }

base::Zone Context::zone() const {
  const std::string name = settings.get("TZ");
  return name.empty() ? base::Zone::local() : base::Zone::find(name);
}

repo::ZonedTime Context::zoned(base::Time time) const {
  const auto offset = std::chrono::duration_cast<std::chrono::minutes>(zone().offset_at(time));
  return {time, static_cast<int>(offset.count())};
}

upkeep::Policy Context::policy(const volumes::OptionMap& options) const {
  for (const auto& [key, value] : options)
    if (key.starts_with("keep-") && !value.empty()) return upkeep::Policy::parse(options);
  volumes::OptionMap defaults;
  for (const char* name : {"last", "hourly", "daily", "weekly", "monthly", "yearly", "within"}) {
    std::string key = "DAVIT_KEEP_";
    for (const char* c = name; *c; ++c) key += static_cast<char>(*c - 'a' + 'A');
    if (const std::string value = settings.get(key); !value.empty()) defaults[std::string("keep-") + name] = value;
  }
  return upkeep::Policy::parse(defaults);
}

std::string Context::schedule(const volumes::OptionMap& options) const {
  const auto own = options.find("schedule");
  return own != options.end() ? own->second : settings.get("DAVIT_SCHEDULE");
}

std::string Context::scan_cache_path(const repo::Repository& repository, const std::string& volume_uuid) const {
  const std::string directory = cache_directory(data_directory, repository);
  base::make_directories(directory);
  return directory + "/" + volume_uuid + ".scan";
}

base::Bytes encode_volume_file(const volumes::Volume& volume) {
  nlohmann::json options = nlohmann::json::object();
  for (const auto& [key, value] : volume.options)
    if (key != "from" && key != "images") options[key] = value;
  // Nothing that changes from run to run: an unchanged volume must give the same tree.
  const nlohmann::json file = {{"version", 1}, {"name", volume.name}, {"options", options}};
  const std::string text = file.dump(1) + "\n";
  return base::to_bytes(base::as_bytes(text));
}

volumes::OptionMap parse_volume_file(base::ByteView json) {
  const auto file = nlohmann::json::parse(base::as_text(json), nullptr, false);
  if (!file.is_object() || !file.contains("options") || !file["options"].is_object())
    throw base::Corrupt("the volume's saved options cannot be read");
  volumes::OptionMap options;
  for (const auto& [key, value] : file["options"].items())
    if (value.is_string() && key != "from" && key != "images") options[key] = value.get<std::string>();
  return options;
}

}  // namespace davit::jobs
