#include "jobs/labels.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "base/errors.h"
#include "jobs/point_plan.h"

namespace davit::jobs {

namespace {

constexpr unsigned kMostKeptImages = 1000;

std::optional<unsigned> parse_count(const std::string& text) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > kMostKeptImages) return std::nullopt;
  return value;
}

}  // namespace

std::optional<bool> parse_label_flag(const std::string& text) {
  std::string word = text;
  std::transform(word.begin(), word.end(), word.begin(), [](unsigned char c) { return std::tolower(c); });
  for (const char* yes : {"true", "yes", "on", "1"})
    if (word == yes) return true;
  for (const char* no : {"false", "no", "off", "0"})
    if (word == no) return false;
  return std::nullopt;
}

ContainerWishes read_labels(const std::map<std::string, std::string>& labels, const std::string& container,
                            const std::function<void(const volumes::OptionMap&, const std::string&)>& validate) {
  ContainerWishes wishes;
  const auto complain = [&](const std::string& what) {
    wishes.problem += (wishes.problem.empty() ? "" : "; ") + what;
  };
  for (const auto& [label, value] : labels) {
    if (!label.starts_with(kLabelPrefix) || value.empty()) continue;
    const std::string key = label.substr(std::string_view(kLabelPrefix).size());
    if (label == kLabelCommit) {
      if (!parse_label_flag(value)) complain("label " + label + ": '" + value + "' is neither true nor false");
    } else if (key == "keep-images") {
      const auto count = parse_count(value);
      if (count)
        wishes.keep_images = *count;
      else
        complain("label " + label + ": '" + value + "' is no number from 0 to " + std::to_string(kMostKeptImages));
    } else if (key == "schedule" || key.starts_with("keep-")) {
      try {
        validate({{key, value}}, container);
        wishes.options[key] = value;
      } catch (const base::UsageError& error) {
        complain("label " + label + ": " + error.what());
      }
    }  // others are of whoever made the image: davit.point and the like
  }
  return wishes;
}

}  // namespace davit::jobs
