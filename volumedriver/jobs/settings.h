// The installation's settings: DATA/davit.conf (KEY=VALUE lines), overridden by the environment, over defaults.
// Read again whenever the file changes; `davit config set` writes it atomically. Secrets are never kept here:
// their keys name files (…_FILE) or come from the environment.
// Any thread may call anything.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/synchronized.h"

namespace davit::jobs {

enum class SettingType : uint8_t { text, number, duration, size, flag, schedule, zone, url, compression, level };

struct SettingSpec {
  const char* key;
  const char* default_value;
  SettingType type;
  bool secret;
  bool at_start_only;  // only from the environment: it must be known before the file is found
  const char* description;
};
const std::vector<SettingSpec>& setting_specs();

// "90d", "1h30m", "45s", "2w"; a bare number is seconds. Throws UsageError.
std::chrono::seconds parse_duration(const std::string& text);
std::string format_duration(std::chrono::seconds duration);

class Settings {
 public:
  // `environment`: as given to main. `validate_schedule` throws UsageError for a bad one. Throws UsageError, naming
  // the line, where the file holds what no setting can be; a missing file is an empty one.
  Settings(std::string path, std::map<std::string, std::string> environment,
           std::function<void(const std::string&)> validate_schedule);

  // The effective value; an empty one counts as not given. Throws UsageError on an unknown key.
  std::string get(const std::string& key) const;
  bool is_default(const std::string& key) const;
  std::string origin(const std::string& key) const;  // default, file, environment
  bool flag(const std::string& key) const;
  int64_t number(const std::string& key) const;
  std::chrono::seconds duration(const std::string& key) const;

  // Nothing: back to the default. Durable. Throws UsageError: unknown key, bad value, or set by the environment.
  void set(const std::string& key, const std::optional<std::string>& value);
  // Reads the file again if it changed. A bad file leaves the old values in force and throws UsageError.
  void reload();

 private:
  using Values = std::map<std::string, std::string>;
  Values parse(const std::string& text) const;
  void validate(const SettingSpec& spec, const std::string& value) const;

  const std::string path_;
  const std::map<std::string, std::string> environment_;
  const std::function<void(const std::string&)> validate_schedule_;
  base::Synchronized<Values> file_;
  base::Synchronized<std::string> last_text_;
};

// The host's name in snapshots and locks: DAVIT_HOSTNAME, else the machine's own.
std::string host_name(const Settings& settings);

}  // namespace davit::jobs
