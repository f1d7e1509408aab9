#include "jobs/kept_images.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"
#include "base/log.h"

namespace davit::jobs {

using nlohmann::json;

KeptImages::KeptImages(std::string path) : path_(std::move(path)) {
  const auto bytes = base::find_file(path_);
  if (!bytes) return;
  try {
    const json file = json::parse(base::as_text(*bytes));
    for (const auto& [container, images] : file.items())
      for (const auto& image : images)
        all_[container].push_back({image.at("reference").get<std::string>(), image.at("point").get<std::string>(),
                                   base::parse_rfc3339(image.at("time").get<std::string>())});
  } catch (const std::exception& error) {
    all_.clear();
    spdlog::error("{} cannot be read ({}): the images davit/… that are in the engine now stay there", path_, error.what());
  }
}

void KeptImages::save(const All& all) const {
  json file = json::object();
  for (const auto& [container, images] : all)
    for (const auto& image : images)
      file[container].push_back(
          {{"reference", image.reference}, {"point", image.point}, {"time", base::format_utc(image.time)}});
  base::make_directories(path_.substr(0, path_.rfind('/')));
  base::write_file_atomic(path_, base::as_bytes(file.dump(1) + "\n"));
}

void KeptImages::add(const std::string& container, const KeptImage& image) {
  std::lock_guard lock(mutex_);
  All next = all_;
  next[container].push_back(image);
  save(next);
  all_ = std::move(next);
}

void KeptImages::remove(const std::string& container, const std::string& reference) {
  std::lock_guard lock(mutex_);
  All next = all_;
  auto& images = next[container];
  std::erase_if(images, [&](const auto& image) { return image.reference == reference; });
  if (images.empty()) next.erase(container);
  save(next);
  all_ = std::move(next);
}

bool KeptImages::holds(const std::string& reference, const std::string& point) const {
  std::lock_guard lock(mutex_);
  for (const auto& [container, images] : all_)
    for (const auto& image : images)
      if (image.reference == reference && image.point == point) return true;
  return false;
}

std::vector<KeptImage> KeptImages::list(const std::string& container) const {
  std::lock_guard lock(mutex_);
  const auto found = all_.find(container);
  if (found == all_.end()) return {};
  auto images = found->second;
  std::stable_sort(images.begin(), images.end(), [](const auto& a, const auto& b) { return a.time < b.time; });
  return images;
}

}  // namespace davit::jobs
