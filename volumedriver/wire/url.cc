#include <curl/curl.h>

#include <memory>

#include "wire/http_client.h"

namespace davit::wire {

namespace {

struct UrlDeleter {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
using Url = std::unique_ptr<CURLU, UrlDeleter>;

Url parse(const std::string& text) {
  Url url(curl_url());
  if (!url ||
      curl_url_set(url.get(), CURLUPART_URL, text.c_str(), CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK)
    return nullptr;
  return url;
}

std::string part(const Url& url, CURLUPart which, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url.get(), which, &text, flags) != CURLUE_OK) return {};
  std::string result = text;
  curl_free(text);
  return result;
}

std::string origin(const Url& url, const char* user) {
  const std::string port = part(url, CURLUPART_PORT);
  return part(url, CURLUPART_SCHEME) + "://" + user + part(url, CURLUPART_HOST) +
         (port.empty() ? "" : ":" + port);
}

}  // namespace

bool is_http_url(const std::string& text) {
  const Url url = parse(text);
  if (!url) return false;
  const std::string scheme = part(url, CURLUPART_SCHEME);
  return (scheme == "http" || scheme == "https") && !part(url, CURLUPART_HOST).empty();
}

std::string masked_url(const std::string& text) {
  const Url url = parse(text);
  if (!url) return "(no URL)";
  const bool user = !part(url, CURLUPART_USER).empty() || !part(url, CURLUPART_PASSWORD).empty();
  const bool query = !part(url, CURLUPART_QUERY).empty();
  return origin(url, user ? "***@" : "") + part(url, CURLUPART_PATH) + (query ? "?***" : "");
}

std::string masked_path_url(const std::string& text) {
  const Url url = parse(text);
  return url ? origin(url, "") + "/…" : "(no URL)";
}

std::optional<HttpUrl> parse_http_url(const std::string& text) {
  if (!is_http_url(text)) return std::nullopt;
  const Url url = parse(text);
  return HttpUrl{origin(url, "") + part(url, CURLUPART_PATH),
                 part(url, CURLUPART_USER, CURLU_URLDECODE),
                 part(url, CURLUPART_PASSWORD, CURLU_URLDECODE),
                 !part(url, CURLUPART_QUERY).empty() || !part(url, CURLUPART_FRAGMENT).empty()};
}

std::string percent_encode(std::string_view text) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string result;
  for (const char c : text) {
    if ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
        c == '.' || c == '_' || c == '~') {
      result += c;
    } else {
      const auto byte = static_cast<uint8_t>(c);
      result += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return result;
}

bool is_transient_status(int status) {
  switch (status) {
    case 408:
    case 425:
    case 429:
    case 500:
    case 502:
    case 503:
    case 504:
    // Cloudflare's, and S3 servers' that are too busy: what is behind them is away.
    case 520:
    case 521:
    case 522:
    case 523:
    case 524:
    case 529:
    case 530:
      return true;
    default:
      return false;
  }
}

}  // namespace davit::wire
