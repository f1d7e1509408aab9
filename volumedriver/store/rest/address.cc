#include "store/rest/address.h"

#include <algorithm>

#include "base/errors.h"
#include "wire/http_client.h"

namespace davit::store::rest {

namespace {

[[noreturn]] void refuse(const std::string& why) {
  throw base::UsageError("a REST server's repository is named rest:https://HOST:PORT/PATH/: " +
                         why);
}

}  // namespace

Address parse_address(const std::string& url) {
  constexpr std::string_view kScheme = "rest:";
  if (!url.starts_with(kScheme)) refuse("it does not begin with rest:");
  if (std::any_of(url.begin(), url.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; }))
    refuse("it holds a control character");
  const std::string place = url.substr(kScheme.size());
  if (!place.starts_with("http://") && !place.starts_with("https://"))
    refuse("behind rest: comes http:// or https://");
  const auto parts = wire::parse_http_url(place);
  if (!parts) refuse("there is no host");
  if (parts->has_query) refuse("it has no query and no fragment");
  Address address{parts->place, {parts->user, parts->password}};
  if (!address.url.ends_with('/')) address.url += '/';
  return address;
}

std::string to_string(const Address& address) {
  return "rest:" + address.url;
}

}  // namespace davit::store::rest
