#include "mount_check.h"

#include <sys/stat.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>

#include "base/clock.h"
#include "base/errors.h"
#include "base/files.h"
#include "base/log.h"

namespace davit::daemon {

using namespace std::chrono_literals;
using nlohmann::json;

namespace {

constexpr auto kFirstPause = 1s, kLongestPause = 30s;
// An engine that dies more often than this has other troubles.
constexpr auto kOncePer = 10min;
// No image has this name, so that nothing can be made of it.
constexpr const char* kNoImage = "davit.invalid/none:none";

std::optional<base::Time> modified(const std::string& path) {
  struct stat status;
  if (::stat(path.c_str(), &status) != 0) return std::nullopt;
  return base::Time(std::chrono::seconds(status.st_mtim.tv_sec));
}

}  // namespace

std::optional<std::string> find_propagated(std::string_view mountinfo, const std::string& path) {
  // A line: ID PARENT MAJOR:MINOR ROOT MOUNTPOINT …; ROOT within its own file system, which may begin anywhere.
  static const std::regex kRoot("(?:.*/)?(plugins/[0-9a-f]{64}/propagated-mount)");
  std::istringstream lines{std::string(mountinfo)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string skipped, root, place;
    words >> skipped >> skipped >> skipped >> root >> place;
    std::smatch match;
    if (path.starts_with(place + "/") && std::regex_match(root, match, kRoot))
      return match[1].str() + path.substr(place.size());
  }
  return std::nullopt;
}

Sight find_sight(engine::Engine& engine, const std::string& host_path) {
  // Docker looks for the sources of bind mounts before it looks for the image.
  const json body = {{"Image", kNoImage},
                     {"HostConfig", {{"Mounts", {{{"Type", "bind"}, {"Source", host_path}, {"Target", "/v"}}}}}}};
  try {
    engine.remove_container(engine.create_container("", body.dump()), true);
  } catch (const base::NotFound&) {
    return Sight::seen;
  } catch (const base::UsageError& error) {
    if (std::string_view(error.what()).find("bind source path does not exist") != std::string_view::npos)
      return Sight::missing;
    throw;
  }
  return Sight::unknown;
}

void start_stranded(engine::Engine& engine, const std::string& host_path) {
  for (const auto& container : engine.list_containers()) {
    if (container.is_running() || container.volumes.empty()) continue;
    const json document = json::parse(engine.inspect_container(container.id).json, nullptr, /*allow_exceptions=*/false);
    if (!document.is_object()) continue;
    const std::string error = document.value("/State/Error"_json_pointer, "");
    const std::string policy = document.value("/HostConfig/RestartPolicy/Name"_json_pointer, "no");
    if (error.find(host_path) == std::string::npos || policy.empty() || policy == "no") continue;
    try {
      engine.start_container(container.id);
      spdlog::warn("container {} is started: the engine could not, while the volumes were lost on its host", container.name);
    } catch (const base::Error& why) {
      spdlog::error("container {}, which the engine could not start while the volumes were lost on its host, cannot be "
                    "started: {}", container.name, why.what());
    }
  }
}

MountCheck::MountCheck(engine::Engine& engine, std::string directory, std::string state, std::function<void()> restart)
    : engine_(engine), directory_(std::move(directory)), state_(std::move(state)), restart_(std::move(restart)) {}

void MountCheck::start() {
  thread_ = std::jthread([this](std::stop_token stop) { run(stop); });
}

void MountCheck::stop() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

void MountCheck::run(std::stop_token stop) {
  for (auto pause = kFirstPause; !stop.stop_requested(); pause = std::min(pause * 2, kLongestPause)) {
    try {
      const std::string root = engine_.info().data_root;
      const Sight sight = root.empty() ? Sight::unknown : find_sight(engine_, root + "/" + directory_);
      if (sight == Sight::missing) return heal();
      if (sight == Sight::seen) {
        const auto healed = modified(state_);
        if (healed && base::SystemClock().now() - *healed < kOncePer) start_stranded(engine_, root + "/" + directory_);
        return;
      }
    } catch (const base::Error& error) {  // an engine that starts answers nothing for a while
      spdlog::debug("whether the engine sees the volumes is not known yet: {}", error.what());
    }
    std::unique_lock lock(mutex_);
    never_.wait_for(lock, stop, pause, [] { return false; });
  }
}

void MountCheck::heal() {
  const base::Time now = base::SystemClock().now();
  const auto last = modified(state_);
  if (last && now - *last < kOncePer) {
    spdlog::critical(
        "the engine does not find the volumes on its host, and a new start of the plugin did not help: containers cannot "
        "be started with them. Run: docker plugin disable -f davit && docker plugin enable davit");
    return;
  }
  spdlog::error("the engine does not find the volumes on its host, as may happen after it crashed: the plugin is "
                "started again, which makes its mounts anew");
  try {
    base::write_file_atomic(state_, base::Bytes{}, 0600);
  } catch (const base::Error& error) {  // without it there would be no end
    spdlog::critical("the plugin is not started again: {}", error.what());
    return;
  }
  restart_();
}

}  // namespace davit::daemon
