// Committed images that stay in the engine because a container asks for it (davit.keep-images): DATA/state/kept-images.json.
// Only what stands here is ever removed again, never an image that somebody loaded or tagged.
// Any thread may call anything.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"

namespace davit::jobs {

struct KeptImage {
  std::string reference, point;
  base::Time time{};
};

class KeptImages {
 public:
  // A damaged file is logged, and what it held stays in the engine.
  explicit KeptImages(std::string path);
  // Durable.
  void add(const std::string& container, const KeptImage& image);
  void remove(const std::string& container, const std::string& reference);
  bool holds(const std::string& reference, const std::string& point) const;
  // Of the container, oldest first.
  std::vector<KeptImage> list(const std::string& container) const;

 private:
  using All = std::map<std::string, std::vector<KeptImage>>;
  void save(const All& all) const;
  const std::string path_;
  mutable std::mutex mutex_;
  All all_;
};

}  // namespace davit::jobs
