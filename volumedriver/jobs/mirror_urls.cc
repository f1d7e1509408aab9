#include "jobs/mirror_urls.h"

#include <algorithm>

#include "base/errors.h"
#include "store/open.h"

namespace davit::jobs {

namespace {
constexpr std::string_view kSeparators = " \t\r\n,";
constexpr std::string_view kAppendOnly = "append-only:";
}  // namespace

std::vector<MirrorUrl> parse_mirrors(const std::string& text) {
  std::vector<MirrorUrl> mirrors;
  for (size_t at = 0; (at = text.find_first_not_of(kSeparators, at)) != text.npos;) {
    const size_t end = std::min(text.find_first_of(kSeparators, at), text.size());
    MirrorUrl mirror{text.substr(at, end - at)};
    at = end;
    if (mirror.url.starts_with(kAppendOnly)) {
      mirror.append_only = true;
      mirror.url.erase(0, kAppendOnly.size());
    }
    store::open_store(mirror.url);  // makes an object only; nothing is looked for there yet
    mirrors.push_back(std::move(mirror));
  }
  return mirrors;
}

std::string hide_passwords(const std::string& text) {
  std::string shown;
  for (size_t at = 0; at < text.size();) {
    // One URL at a time: what is before it, up to "//", and its authority.
    const size_t end = std::min(text.find_first_of(kSeparators, at), text.size());
    std::string word = text.substr(at, end - at);
    if (const size_t slashes = word.find("//"); slashes != word.npos) {
      const size_t from = slashes + 2;
      const size_t host = word.rfind('@', std::min(word.find('/', from), word.size()));
      const size_t colon = word.find(':', from);
      if (host != word.npos && colon < host) word.replace(colon + 1, host - colon - 1, "***");
    }
    shown += word;
    if (end < text.size()) shown += text[end];
    at = end + 1;
  }
  return shown;
}

}  // namespace davit::jobs
