// What a container's labels ask of davit: davit.commit, davit.schedule, davit.keep-…, davit.keep-images. Pure.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "volumes/registry.h"

namespace davit::jobs {

// "true", "yes", "on", "1" and their contraries, in any case; nothing: neither.
std::optional<bool> parse_label_flag(const std::string& text);

struct ContainerWishes {
  volumes::OptionMap options;   // schedule, keep-…: as a volume's driver options
  unsigned keep_images = 0;     // how many committed images stay in the engine
  std::string problem;          // labels that cannot be followed, and why; the others count
};
// `validate` throws UsageError for an option that cannot be.
ContainerWishes read_labels(const std::map<std::string, std::string>& labels, const std::string& container,
                            const std::function<void(const volumes::OptionMap&, const std::string&)>& validate);

}  // namespace davit::jobs
