#include "driver/options.h"

#include <algorithm>
#include <optional>

#include "archive/exclude.h"
#include "base/errors.h"
#include "base/log.h"
#include "upkeep/retention.h"

namespace davit::driver {

namespace {

std::optional<bool> parse_switch(const std::string& value) {
  for (const char* word : {"true", "yes", "on", "1"})
    if (value == word) return true;
  for (const char* word : {"false", "no", "off", "0"})
    if (value == word) return false;
  return std::nullopt;
}

bool is_on(const volumes::OptionMap& options, const char* key, bool by_default) {
  const auto found = options.find(key);
  return found == options.end() ? by_default : parse_switch(found->second).value_or(by_default);
}

void validate_option(const std::string& key, const std::string& value, const std::string& volume,
                     const CheckSchedule& check_schedule) {
  const auto& known = known_options();
  if (std::find(known.begin(), known.end(), key) == known.end()) {
    std::string list;
    for (const std::string& name : known) list += (list.empty() ? "" : ", ") + name;
    throw base::UsageError("there is no option '" + key + "'; known are " + list);
  }
  if (value.find('\0') != std::string::npos)
    throw base::UsageError("option " + key + " holds a zero byte");
  if (value.empty())
    return;  // as if it were not given, as compose files with unset variables have it
  try {
    if (key == "schedule") check_schedule(value, volume);
    if (key.starts_with("keep-")) upkeep::Policy::parse({{key, value}});
    if (key == "exclude") archive::Excludes::parse(value);
  } catch (const base::UsageError& error) {
    throw base::UsageError("option " + key + "=" + value + ": " + error.what());
  }
  if ((key == "final-backup" || key == "images") && !parse_switch(value))
    throw base::UsageError("option " + key + "=" + value + ": it must be true or false");
  if (key == "ping-url" && !value.starts_with("http://") && !value.starts_with("https://"))
    throw base::UsageError("option ping-url must be a URL that begins with http:// or https://");
}

}  // namespace

const std::vector<std::string>& known_options() {
  static const auto all = [] {
    std::vector<std::string> names = {"from", "schedule"};
    for (const std::string& rule : upkeep::Policy::known_keys()) names.push_back(rule);
    for (const char* name : {"exclude", "final-backup", "images", "ping-url"}) names.emplace_back(name);
    return names;
  }();
  return all;
}

void validate_options(const volumes::OptionMap& options, const std::string& volume,
                      const CheckSchedule& check_schedule) {
  for (const auto& [key, value] : options) validate_option(key, value, volume, check_schedule);
}

bool wants_final_backup(const volumes::OptionMap& options, bool by_default) {
  return is_on(options, "final-backup", by_default);
}

bool wants_images(const volumes::OptionMap& options, bool by_default) {
  return is_on(options, "images", by_default);
}

volumes::OptionMap merge_options(const volumes::OptionMap& saved, const volumes::OptionMap& given,
                                 const std::string& volume, const CheckSchedule& check_schedule) {
  volumes::OptionMap merged;
  for (const auto& [key, value] : saved) {
    if (key == "from" || key == "images" || given.contains(key)) continue;
    try {
      validate_option(key, value, volume, check_schedule);
      merged[key] = value;
    } catch (const base::UsageError& error) {
      spdlog::warn("volume {}: what was saved with the snapshot is left out: {}", volume,
                   error.what());
    }
  }
  for (const auto& [key, value] : given)
    if (!value.empty()) merged[key] = value;
  return merged;
}

}  // namespace davit::driver
