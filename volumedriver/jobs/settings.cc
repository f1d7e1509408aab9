#include "jobs/settings.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <climits>

#include "base/errors.h"
#include "base/files.h"
#include "base/log.h"
#include "base/zone.h"
#include "jobs/mirror_urls.h"
#include "jobs/point_plan.h"
#include "repo/repository.h"
#include "store/open.h"
#include "upkeep/retention.h"

namespace davit::jobs {

using base::UsageError;

const std::vector<SettingSpec>& setting_specs() {
  using T = SettingType;
  static const std::vector<SettingSpec> specs = {
      {"RESTIC_REPOSITORY", "", T::text, false, false,
       "where the repository is, in restic's notation; empty: DATA/repository"},
      {"DAVIT_MIRRORS", "", T::text, false, false,
       "further repositories that hold the same files, separated by blanks or commas; append-only:URL: nothing is ever "
       "removed there"},
      {"DAVIT_QUORUM", "1", T::number, false, false,
       "stores that must have a snapshot before its backup counts as done, the repository among them"},
      {"RESTIC_PASSWORD", "", T::text, true, true,
       "the repository's password (visible in `docker plugin inspect`: prefer RESTIC_PASSWORD_FILE)"},
      {"RESTIC_PASSWORD_FILE", "", T::text, false, false,
       "a file that holds the password; empty: DATA/secrets/repository-password"},
      {"RESTIC_PASSWORD_COMMAND", "", T::text, false, false, "a command that prints the password"},
      {"RESTIC_CACERT", "", T::text, false, false,
       "PEM file of the authorities that a repository's server is trusted by, instead of the system's"},
      {"AWS_ACCESS_KEY_ID", "", T::text, false, false, "of s3: repositories: the access key"},
      {"AWS_ACCESS_KEY_ID_FILE", "", T::text, false, false, "a file that holds it"},
      {"AWS_SECRET_ACCESS_KEY", "", T::text, true, true,
       "of s3: repositories: the secret key (visible in `docker plugin inspect`: prefer AWS_SECRET_ACCESS_KEY_FILE)"},
      {"AWS_SECRET_ACCESS_KEY_FILE", "", T::text, false, false, "a file that holds it"},
      {"AWS_SESSION_TOKEN", "", T::text, true, true, "of s3: repositories: the token of keys that do not last"},
      {"AWS_SESSION_TOKEN_FILE", "", T::text, false, false, "a file that holds it; read again for each request"},
      {"AWS_DEFAULT_REGION", "", T::text, false, false,
       "of s3: repositories: the region; empty: AWS_REGION, else what the host's name or the server tells"},
      {"AWS_REGION", "", T::text, false, false, "see AWS_DEFAULT_REGION"},
      {"DAVIT_S3_BUCKET_LOOKUP", "auto", T::text, false, false,
       "where requests name the bucket: path, dns (in the host's name), or auto, which is path"},
      {"RESTIC_CACHE_DIR", "", T::text, false, false,
       "where copies of a distant repository's indexes, snapshots and trees are kept; empty: DATA/cache"},
      {"DAVIT_CACHE_SIZE", "2048", T::number, false, false, "of these copies, in MiB; 0: none are kept"},
      {"DAVIT_SFTP_KEY_FILE", "", T::text, false, false,
       "of sftp: repositories: the private key; empty: DATA/secrets/sftp-key"},
      {"DAVIT_SFTP_KNOWN_HOSTS_FILE", "", T::text, false, false,
       "of sftp: repositories: the servers' host keys; empty: DATA/secrets/known_hosts"},
      {"DAVIT_SFTP_KEY_PASSPHRASE", "", T::text, true, true,
       "of that key (visible in `docker plugin inspect`: prefer DAVIT_SFTP_KEY_PASSPHRASE_FILE)"},
      {"DAVIT_SFTP_KEY_PASSPHRASE_FILE", "", T::text, false, false, "a file that holds it"},
      {"RESTIC_REST_USERNAME", "", T::text, false, false, "of rest: repositories: the user, where the URL names none"},
      {"RESTIC_REST_PASSWORD", "", T::text, true, true,
       "of rest: repositories (visible in `docker plugin inspect`: prefer RESTIC_REST_PASSWORD_FILE)"},
      {"RESTIC_REST_PASSWORD_FILE", "", T::text, false, false, "a file that holds it; read again for each request"},
      {"RESTIC_COMPRESSION", "auto", T::compression, false, false, "auto, off or max"},
      {"RESTIC_PACK_SIZE", "16", T::number, false, false, "size of a pack in MiB, 4 to 128"},
      {"TZ", "", T::zone, false, false, "zone in which schedules and retention count; empty: the host's"},
      {"DAVIT_SCHEDULE", "@daily", T::schedule, false, false, "when volumes without a schedule of their own are saved; off: never"},
      {"DAVIT_JITTER", "0s", T::duration, false, false, "scheduled runs start up to this much later, each volume at its own offset"},
      {"DAVIT_JOBS", "2", T::number, false, false, "backups that run at once"},
      {"DAVIT_LIMIT_UPLOAD", "0", T::number, false, false,
       "KiB/s that backups and prune together write to the repository; 0: no limit"},
      {"DAVIT_LIMIT_DOWNLOAD", "0", T::number, false, false,
       "KiB/s that restores, check and prune together read from the repository; 0: no limit"},
      {"DAVIT_PRIORITY", "low", T::text, false, false,
       "of backups, check and prune: low (nice 10, idle I/O class) or normal; restores are never low"},
      {"DAVIT_KEEP_LAST", "", T::number, false, false, "retention of volumes without a rule of their own"},
      {"DAVIT_KEEP_HOURLY", "24", T::number, false, false, "see DAVIT_KEEP_LAST"},
      {"DAVIT_KEEP_DAILY", "7", T::number, false, false, "see DAVIT_KEEP_LAST"},
      {"DAVIT_KEEP_WEEKLY", "5", T::number, false, false, "see DAVIT_KEEP_LAST"},
      {"DAVIT_KEEP_MONTHLY", "12", T::number, false, false, "see DAVIT_KEEP_LAST"},
      {"DAVIT_KEEP_YEARLY", "", T::number, false, false, "see DAVIT_KEEP_LAST"},
      {"DAVIT_KEEP_WITHIN", "", T::text, false, false, "keep all of the last, for example, 2y5m7d3h"},
      {"DAVIT_KEEP_REMOVED", "90d", T::duration, false, false,
       "how long the snapshots of a removed volume stay; 0: for ever"},
      {"DAVIT_FINAL_BACKUP", "on", T::flag, false, false, "save a volume once more when it is removed"},
      {"DAVIT_LOAD_IMAGES", "on", T::flag, false, false,
       "load the images of its point into the engine when a volume is made from a snapshot"},
      {"DAVIT_COMMIT", "labelled", T::text, false, false,
       "which containers are saved with their volumes: all, labelled (davit.commit=true) or none"},
      {"DAVIT_TRACKING", "off", T::text, false, false,
       "auto: look only at what the kernel tells has changed, where it can be relied on; needs privileges; off: look at "
       "everything"},
      {"DAVIT_PRUNE_SCHEDULE", "@weekly", T::schedule, false, false, "when space of forgotten snapshots is freed; off: never"},
      {"DAVIT_SCRUB_PERIOD", "30d", T::duration, false, false,
       "a part of the repository is read and checked each day, so that all is within this time; off: never"},
      {"DAVIT_PING_URL", "", T::url, false, false,
       "told of each run in the manner of healthchecks.io: URL/start, URL, URL/fail"},
      {"DAVIT_HOSTNAME", "", T::text, false, false, "the host's name in snapshots; empty: the host's own"},
      {"DAVIT_LOG_LEVEL", "info", T::level, false, false, "trace, debug, info, warn, error"},
      {"DAVIT_BUDGET_DOCKER", "25s", T::duration, false, false, "how long a call of Docker may wait for a restore"},
      {"DAVIT_BUDGET_PODMAN", "4s", T::duration, false, false, "how long a call of Podman may wait for a restore"},
      {"DOCKER_HOST", "", T::text, false, false, "the engine's API; empty: its socket below /host/run or /run"},
      {"DAVIT_DATA", "", T::text, false, true, "the data directory"},
      {"DAVIT_STATE", "", T::text, false, true, "where a second copy of the installation's ID is kept; off: nowhere"},
      {"DAVIT_PLUGIN_SOCKET", "", T::text, false, true, "the socket for the engine"},
  };
  return specs;
}

namespace {

const SettingSpec& find_spec(const std::string& key) {
  for (const auto& spec : setting_specs())
    if (key == spec.key) return spec;
  std::string known;
  for (const auto& spec : setting_specs())
    if (!spec.at_start_only) known += std::string(known.empty() ? "" : ", ") + spec.key;
  throw UsageError("there is no setting '" + key + "'; the settings are: " + known);
}

int64_t parse_number(const std::string& text, const std::string& key) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    throw UsageError(key + ": '" + text + "' is no whole number");
  return value;
}

bool parse_flag(const std::string& text, const std::string& key) {
  for (const char* yes : {"on", "true", "yes", "1"})
    if (text == yes) return true;
  for (const char* no : {"off", "false", "no", "0"})
    if (text == no) return false;
  throw UsageError(key + ": '" + text + "' is neither on nor off");
}

std::string trim(std::string text) {
  const auto first = text.find_first_not_of(" \t\r");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

}  // namespace

std::chrono::seconds parse_duration(const std::string& text) {
  int64_t total = 0;
  size_t at = 0;
  const auto refuse = [&]() { throw UsageError("'" + text + "' is no duration such as 90d, 1h30m or 45s"); };
  if (text.empty()) refuse();
  while (at < text.size()) {
    int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data() + at, text.data() + text.size(), value);
    if (error != std::errc() || value < 0 || value > 1'000'000'000) refuse();
    at = static_cast<size_t>(end - text.data());
    const char unit = at < text.size() ? text[at++] : 's';
    switch (unit) {
      case 's': total += value; break;
      case 'm': total += value * 60; break;
      case 'h': total += value * 3600; break;
      case 'd': total += value * 86400; break;
      case 'w': total += value * 7 * 86400; break;
      default: refuse();
    }
  }
  return std::chrono::seconds(total);
}

std::string format_duration(std::chrono::seconds duration) {
  int64_t rest = duration.count();
  if (rest == 0) return "0s";
  std::string text;
  for (const auto& [unit, size] : {std::pair{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}}) {
    if (rest >= size) text += std::to_string(rest / size) + unit;
    rest %= size;
  }
  return text;
}

Settings::Settings(std::string path, std::map<std::string, std::string> environment,
                   std::function<void(const std::string&)> validate_schedule)
    : path_(std::move(path)), environment_(std::move(environment)), validate_schedule_(std::move(validate_schedule)) {
  for (const auto& spec : setting_specs())
    if (const auto found = environment_.find(spec.key); found != environment_.end() && !found->second.empty())
      validate(spec, found->second);
  reload();
}

void Settings::validate(const SettingSpec& spec, const std::string& value) const {
  const std::string key = spec.key;
  if (value.find_first_of("\n\r") != std::string::npos || value.find('\0') != std::string::npos)
    throw UsageError(key + ": a value is one line");
  if (value.empty()) return;
  switch (spec.type) {
    case SettingType::number: {
      const int64_t number = parse_number(value, key);
      if (key == "RESTIC_PACK_SIZE" && (number < 4 || number > 128)) throw UsageError(key + ": from 4 to 128 MiB");
      if (key == "DAVIT_CACHE_SIZE" && (number < 0 || number > 100'000'000))
        throw UsageError(key + ": MiB, from 0 (no cache) to 100000000");
      if (key == "DAVIT_QUORUM" && (number < 1 || number > 64)) throw UsageError(key + ": from 1 to 64");
      if (key == "DAVIT_JOBS" && (number < 1 || number > 64)) throw UsageError(key + ": from 1 to 64");
      if (key.starts_with("DAVIT_LIMIT_") && (number < 0 || number > 1'000'000'000))
        throw UsageError(key + ": KiB/s, from 0 (no limit) to 1000000000");
      if (key.starts_with("DAVIT_KEEP_") && number < -1) throw UsageError(key + ": -1 (all), 0 or more");
      break;
    }
    case SettingType::duration: {
      if (key == "DAVIT_SCRUB_PERIOD" && value == "off") break;
      const auto duration = parse_duration(value);
      if (key.starts_with("DAVIT_BUDGET_") && (duration.count() < 1 || duration.count() > 110))
        throw UsageError(key + ": from 1s to 110s");
      if (key == "DAVIT_SCRUB_PERIOD" && duration.count() != 0 && duration < std::chrono::days(1))
        throw UsageError(key + ": a day at least, or off");
      break;
    }
    case SettingType::flag: parse_flag(value, key); break;
    case SettingType::schedule:
      if (validate_schedule_) validate_schedule_(value);
      break;
    case SettingType::zone: base::Zone::find(value); break;
    case SettingType::compression: repo::parse_compression(value); break;
    case SettingType::url:
      if (!value.starts_with("http://") && !value.starts_with("https://"))
        throw UsageError(key + ": a URL begins with http:// or https://");
      break;
    case SettingType::level:
      for (const char* word : {"trace", "debug", "info", "warn", "error"})
        if (value == word) return;
      throw UsageError(key + ": '" + value + "' is none of trace, debug, info, warn, error");
    case SettingType::text:
      // Makes an object only; nothing is looked for there yet.
      if (key == "RESTIC_REPOSITORY") store::open_store(value);
      if (key == "RESTIC_CACHE_DIR" && value.front() != '/') throw UsageError(key + ": an absolute path");
      if (key == "DAVIT_MIRRORS") parse_mirrors(value);
      if (key == "DAVIT_S3_BUCKET_LOOKUP") store::s3::parse_style(value);
      if (key == "DAVIT_PRIORITY" && value != "low" && value != "normal")
        throw UsageError(key + ": '" + value + "' is neither low nor normal");
      if (key == "DAVIT_COMMIT") parse_commit_mode(value);
      if (key == "DAVIT_TRACKING" && value != "auto" && value != "off")
        throw UsageError(key + ": '" + value + "' is neither auto nor off");
      if (key == "DAVIT_KEEP_WITHIN") upkeep::CalendarDuration::parse(value, key);
      break;
    case SettingType::size: break;
  }
}

Settings::Values Settings::parse(const std::string& text) const {
  Values values;
  size_t number = 0;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = trim(text.substr(at, end - at));
    at = end + 1;
    ++number;
    if (line.empty() || line[0] == '#') continue;
    const std::string where = path_ + ", line " + std::to_string(number) + ": ";
    const size_t equals = line.find('=');
    if (equals == std::string::npos) throw UsageError(where + "expected KEY=VALUE");
    const std::string key = trim(line.substr(0, equals));
    std::string value = trim(line.substr(equals + 1));
    if (value.size() >= 2 && (value.front() == '"' || value.front() == '\'') && value.back() == value.front())
      value = value.substr(1, value.size() - 2);
    try {
      const SettingSpec& spec = find_spec(key);
      if (spec.at_start_only) throw UsageError(key + " can be given in the environment only");
      validate(spec, value);
    } catch (const UsageError& error) {
      throw UsageError(where + error.what());
    }
    values[key] = value;
  }
  return values;
}

void Settings::reload() {
  const auto bytes = base::find_file(path_, 1 << 20);
  const std::string text = bytes ? std::string(base::as_text(*bytes)) : "";
  const bool changed = last_text_.with([&](std::string& last) {
    const bool differs = last != text;
    last = text;
    return differs;
  });
  if (!changed) return;
  Values values = parse(text);
  file_.with([&](Values& file) { file = std::move(values); });
}

std::string Settings::get(const std::string& key) const {
  const SettingSpec& spec = find_spec(key);
  if (const auto found = environment_.find(key); found != environment_.end() && !found->second.empty())
    return found->second;
  return file_.with([&](const Values& file) {
    const auto found = file.find(key);
    return found != file.end() && !found->second.empty() ? found->second : std::string(spec.default_value);
  });
}

std::string Settings::origin(const std::string& key) const {
  find_spec(key);
  if (const auto found = environment_.find(key); found != environment_.end() && !found->second.empty())
    return "environment";
  const bool in_file = file_.with([&](const Values& file) {
    const auto found = file.find(key);
    return found != file.end() && !found->second.empty();
  });
  return in_file ? "file" : "default";
}

bool Settings::is_default(const std::string& key) const { return origin(key) == "default"; }
bool Settings::flag(const std::string& key) const { return parse_flag(get(key), key); }
int64_t Settings::number(const std::string& key) const { return parse_number(get(key), key); }
std::chrono::seconds Settings::duration(const std::string& key) const { return parse_duration(get(key)); }

void Settings::set(const std::string& key, const std::optional<std::string>& value) {
  const SettingSpec& spec = find_spec(key);
  if (spec.secret)
    throw UsageError(key + " is a secret and is not kept in the settings: put it into a file and set " + key + "_FILE");
  if (spec.at_start_only) throw UsageError(key + " can be given in the environment only (docker plugin set)");
  if (origin(key) == "environment")
    throw UsageError(key + " is given in the environment (docker plugin set), which comes before " + path_);
  if (value) validate(spec, *value);
  reload();  // so that nothing written by hand meanwhile is lost
  // Comments and order of the file are kept: only the line of this key changes.
  const auto bytes = base::find_file(path_, 1 << 20);
  const std::string old_text = bytes ? std::string(base::as_text(*bytes)) : "";
  std::string text;
  bool written = false;
  for (size_t at = 0; at < old_text.size();) {
    const size_t end = std::min(old_text.find('\n', at), old_text.size());
    const std::string line = old_text.substr(at, end - at);
    at = end + 1;
    const std::string bare = trim(line);
    const bool is_key = !bare.empty() && bare[0] != '#' && trim(bare.substr(0, bare.find('='))) == key;
    if (!is_key) {
      text += line + "\n";
    } else if (value && !written) {
      text += key + "=" + *value + "\n";
      written = true;
    }
  }
  if (value && !written) text += key + "=" + *value + "\n";
  base::write_file_atomic(path_, base::as_bytes(text));
  reload();
}

std::string host_name(const Settings& settings) {
  std::string host = settings.get("DAVIT_HOSTNAME");
  if (!host.empty()) return host;
  char name[HOST_NAME_MAX + 1] = {};
  ::gethostname(name, sizeof name - 1);
  return name[0] ? name : "localhost";
}

}  // namespace davit::jobs
