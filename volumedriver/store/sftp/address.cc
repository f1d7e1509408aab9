#include "store/sftp/address.h"

#include <algorithm>
#include <charconv>

#include "base/errors.h"
#include "store/s3/address.h"

namespace davit::store::sftp {

namespace {

[[noreturn]] void refuse(const std::string& why) {
  throw base::UsageError(
      "an SFTP repository is named sftp:USER@HOST:/PATH or sftp://USER@HOST:PORT//PATH: " + why);
}

uint16_t parse_port(const std::string& text) {
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port == 0)
    refuse("the port is no number from 1 to 65535");
  return port;
}

// As path.Clean does: no '.', no '..' but where a relative path begins, one '/' between.
std::string clean(const std::string& path) {
  const bool is_absolute = path.starts_with('/');
  std::string result;
  for (size_t at = 0; at < path.size();) {
    const size_t slash = std::min(path.find('/', at), path.size());
    const std::string part = path.substr(at, slash - at);
    at = slash + 1;
    if (part.empty() || part == ".") continue;
    if (part == "..") refuse("the path cannot hold '..'");
    result += (result.empty() ? "" : "/") + part;
  }
  if (is_absolute) return "/" + result;
  return result.empty() ? "." : result;
}

// "user@host:2222", "[::1]:2222"
void take_host(std::string text, Address& address) {
  if (text.starts_with('[')) {
    const size_t end = text.find(']');
    if (end == text.npos) refuse("the address in [] does not end");
    address.server.host = text.substr(1, end - 1);
    text.erase(0, end + 1);
    if (!text.empty() && text[0] != ':') refuse("behind the address in [] there is no port");
  } else {
    const size_t colon = std::min(text.find(':'), text.size());
    address.server.host = text.substr(0, colon);
    text.erase(0, colon);
  }
  if (!text.empty()) address.server.port = parse_port(text.substr(1));
}

}  // namespace

Address parse_address(const std::string& url) {
  Address address;
  if (!url.starts_with("sftp:")) refuse("it does not begin with sftp:");
  if (std::any_of(url.begin(), url.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; }))
    refuse("it holds a control character");
  const bool is_url = url.starts_with("sftp://");
  std::string rest = url.substr(is_url ? 7 : 5);
  const size_t end = rest.find(is_url ? '/' : ':');
  if (end == rest.npos) refuse("there is no path");
  std::string place = rest.substr(0, end), path = rest.substr(end + 1);
  const size_t at = place.rfind('@');  // a user's name may hold one itself
  if (at != place.npos) {
    address.server.user = place.substr(0, at);
    place.erase(0, at + 1);
  }
  if (is_url) {
    if (address.server.user.find(':') != std::string::npos)
      refuse("it cannot hold a password: it takes a key, see DAVIT_SFTP_KEY_FILE");
    address.server.user = s3::percent_decode(address.server.user);
    path = s3::percent_decode(path);
    take_host(place, address);
  } else {
    // USER:PASSWORD@HOST:PATH, which would pass for a path on the host USER, and be shown.
    const std::string first = path.substr(0, path.find('/'));
    if (address.server.user.empty() && first.find('@') != first.npos)
      refuse("it cannot hold a password: it takes a key, see DAVIT_SFTP_KEY_FILE");
    address.server.host = place;
  }
  if (address.server.host.empty()) refuse("there is no host");
  address.path = clean(path);
  if (address.path.starts_with('~'))
    refuse("servers do not know '~': a path without '/' at its beginning begins at home");
  return address;
}

std::string to_string(const Address& address) {
  const wire::SftpServer& server = address.server;
  const std::string user = server.user.empty() ? "" : server.user + "@";
  const bool is_numeric = server.host.find(':') != std::string::npos;
  if (server.port == 22 && !is_numeric) return "sftp:" + user + server.host + ":" + address.path;
  return "sftp://" + user + (is_numeric ? "[" + server.host + "]" : server.host) + ":" +
         std::to_string(server.port) + "/" + address.path;
}

}  // namespace davit::store::sftp
