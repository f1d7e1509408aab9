#include "jobs/image_names.h"

#include <algorithm>

#include "crypto/sha256.h"

namespace davit::jobs {

namespace {

// A whole reference may have 255 bytes, with "localhost/davit/" before and a tag behind this.
constexpr size_t kLongestComponent = 200;
constexpr size_t kHashDigits = 6;

bool is_word(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

// [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*
std::string to_component(const std::string& name) {
  std::string text = name.substr(0, kLongestComponent);
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (!is_word(c) && c != '.' && c != '_') c = '-';
  }
  std::string component;
  for (size_t at = 0; at < text.size();) {
    if (is_word(text[at])) {
      component += text[at++];
      continue;
    }
    size_t end = at;
    while (end < text.size() && !is_word(text[end])) ++end;
    std::string separator = text.substr(at, end - at);
    at = end;
    if (component.empty() || end == text.size()) continue;  // none at either end
    if (separator != "." && separator != "_" && separator != "__") std::fill(separator.begin(), separator.end(), '-');
    component += separator;
  }
  return component.empty() ? "container" : component;
}

}  // namespace

ImageName commit_image_name(engine::Kind kind, const std::string& container, base::Time time, unsigned attempt) {
  const std::string component = to_component(container);
  std::string tag = base::format_utc(std::chrono::floor<std::chrono::seconds>(time));  // 2026-11-22T18:00:00Z
  std::erase_if(tag, [](char c) { return c == '-' || c == ':'; });
  if (component != container) tag += "-" + crypto::sha256(base::as_bytes(container)).hex().substr(0, kHashDigits);
  if (attempt > 1) tag += "-" + std::to_string(attempt);
  return {(kind == engine::Kind::podman ? "localhost/davit/" : "davit/") + component, tag};
}

std::string commit_reference(engine::Kind kind, const std::string& container, base::Time time) {
  return commit_image_name(kind, container, time).reference();
}

}  // namespace davit::jobs
