#include "store/s3/address.h"

#include <algorithm>
#include <cctype>
#include <string_view>

#include "base/errors.h"
#include "wire/http_client.h"

namespace davit::store::s3 {

namespace {

[[noreturn]] void refuse(const std::string& why) {
  throw base::UsageError(
      "an S3 repository is named s3:https://HOST/BUCKET/PREFIX or s3:HOST/BUCKET/PREFIX: " + why);
}

bool take(std::string& text, std::string_view start) {
  if (!text.starts_with(start)) return false;
  text.erase(0, start.size());
  return true;
}

bool take_end(std::string& text, std::string_view end) {
  if (!text.ends_with(end)) return false;
  text.resize(text.size() - end.size());
  return true;
}

// As path.Clean does, without a way upward.
std::string clean(std::string_view path) {
  std::string result;
  while (!path.empty()) {
    const size_t slash = std::min(path.find('/'), path.size());
    const std::string_view part = path.substr(0, slash);
    path.remove_prefix(std::min(slash + 1, path.size()));
    if (part.empty() || part == ".") continue;
    if (part == "..") refuse("the prefix cannot hold '..'");
    result += (result.empty() ? "" : "/") + std::string(part);
  }
  return result;
}

int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

}  // namespace

std::string percent_decode(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    const int high = text[i] == '%' && i + 2 < text.size() ? digit(text[i + 1]) : -1;
    const int low = high >= 0 ? digit(text[i + 2]) : -1;
    if (low >= 0) {
      result += static_cast<char>(high << 4 | low);
      i += 2;
    } else {
      result += text[i];
    }
  }
  return result;
}

Address parse_address(const std::string& url) {
  Address address;
  std::string rest = url;
  if (!take(rest, "s3:")) refuse("it does not begin with s3:");
  bool is_url = false;
  if (take(rest, "http://")) {
    address.scheme = "http";
    is_url = true;
  } else if (take(rest, "https://")) {
    is_url = true;
  } else {
    take(rest, "//");
  }
  if (std::any_of(rest.begin(), rest.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; }))
    refuse("it holds a control character");
  if (is_url && rest.find_first_of("?#") != rest.npos) refuse("it has no query and no fragment");

  const size_t slash = std::min(rest.find('/'), rest.size());
  address.host = rest.substr(0, slash);
  std::transform(address.host.begin(), address.host.end(), address.host.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (address.host.find('@') != std::string::npos)
    refuse(
        "keys do not belong there: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name files "
        "with …_FILE");
  take_end(address.host, address.scheme == "http" ? ":80" : ":443");
  if (!wire::is_http_url(address.scheme + "://" + address.host + "/")) refuse("there is no host");

  std::string path = rest.substr(slash);
  if (is_url) path = percent_decode(path);
  path = clean(path);
  const size_t end = std::min(path.find('/'), path.size());
  address.bucket = path.substr(0, end);
  if (end < path.size()) address.prefix = path.substr(end + 1);
  if (address.bucket.empty()) refuse("there is no bucket");
  for (const char c : address.bucket)
    if (!std::isalnum(static_cast<unsigned char>(c)) &&
        std::string_view("-._:").find(c) == std::string_view::npos)
      refuse("the bucket's name holds other than letters, digits, '-', '.' and '_'");
  return address;
}

std::string to_string(const Address& address) {
  return "s3:" + (address.scheme == "http" ? std::string("http://") : std::string()) +
         address.host + "/" + address.bucket + (address.prefix.empty() ? "" : "/" + address.prefix);
}

std::string region_of_host(const std::string& host) {
  std::string name = host.substr(0, host.find(':'));
  if (!take_end(name, ".amazonaws.com") && !take_end(name, ".amazonaws.com.cn")) return "";
  // s3.REGION, s3.dualstack.REGION, s3-REGION; s3 alone is the first region.
  if (name == "s3") return "us-east-1";
  if (!take(name, "s3.") && !take(name, "s3-")) return "";
  take(name, "dualstack.");
  return name.find('.') == std::string::npos ? name : "";
}

Style parse_style(const std::string& word) {
  if (word == "path" || word == "auto") return Style::path;
  if (word == "dns") return Style::host;
  throw base::UsageError("'" + word + "' is none of path, dns and auto");
}

Place place_of(const Address& address, Style style, const std::string& key) {
  Place place{address.host, "/"};
  if (style == Style::host)
    place.host = address.bucket + "." + address.host;
  else
    place.path += wire::percent_encode(address.bucket) + (key.empty() ? "" : "/");
  for (size_t at = 0; at < key.size();) {
    const size_t slash = std::min(key.find('/', at), key.size());
    place.path += wire::percent_encode(std::string_view(key).substr(at, slash - at));
    if (slash < key.size()) place.path += '/';
    at = slash + 1;
  }
  return place;
}

}  // namespace davit::store::s3
