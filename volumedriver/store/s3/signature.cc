#include "store/s3/signature.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>

#include "base/bytes.h"
#include "base/errors.h"
#include "crypto/sha256.h"

namespace davit::store::s3 {

namespace {

using base::as_bytes;
using base::ByteView;
using Mac = std::array<uint8_t, 32>;

Mac hmac(ByteView key, std::string_view text) {
  Mac mac;
  unsigned length = 0;
  const ByteView bytes = as_bytes(text);
  DAVIT_CHECK(HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), bytes.data(),
                   bytes.size(), mac.data(), &length) != nullptr &&
              length == mac.size());
  return mac;
}

// "20130524T000000Z"
std::string compact(base::Time time) {
  using namespace std::chrono;
  const auto day = floor<days>(time);
  const year_month_day date(day);
  const hh_mm_ss clock(floor<seconds>(time - day));
  char text[32];
  std::snprintf(text, sizeof text, "%04d%02u%02uT%02d%02d%02dZ", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                static_cast<int>(clock.seconds().count()));
  return text;
}

// Without blanks at its ends, and one where there are several.
std::string squeeze(std::string_view value) {
  std::string result;
  for (const char c : value)
    if (c != ' ' || (!result.empty() && result.back() != ' ')) result += c;
  while (result.ends_with(' ')) result.pop_back();
  return result;
}

}  // namespace

std::string encode_query(const Query& query) {
  Query encoded;
  for (const auto& [name, value] : query)
    encoded.emplace_back(wire::percent_encode(name), wire::percent_encode(value));
  std::sort(encoded.begin(), encoded.end());
  std::string result;
  for (const auto& [name, value] : encoded)
    result += (result.empty() ? "" : "&") + name + "=" + value;
  return result;
}

void sign(Request& request, std::string_view payload_hash, const Credentials& credentials,
          const Scope& scope, base::Time now) {
  const std::string time = compact(now);
  const std::string day = time.substr(0, 8);
  request.headers.emplace_back("x-amz-date", time);
  if (!credentials.session_token.empty())
    request.headers.emplace_back("x-amz-security-token", credentials.session_token);

  std::vector<wire::Header> headers = request.headers;
  headers.emplace_back("host", request.host);
  std::sort(headers.begin(), headers.end());
  std::string canonical =
      request.method + "\n" + request.path + "\n" + encode_query(request.query) + "\n";
  std::string names;
  for (const auto& [name, value] : headers) {
    canonical += name + ":" + squeeze(value) + "\n";
    names += (names.empty() ? "" : ";") + name;
  }
  canonical += "\n" + names + "\n" + std::string(payload_hash);

  const std::string range = day + "/" + scope.region + "/" + scope.service + "/aws4_request";
  const std::string to_sign =
      "AWS4-HMAC-SHA256\n" + time + "\n" + range + "\n" + crypto::sha256(as_bytes(canonical)).hex();
  Mac key = hmac(as_bytes("AWS4" + credentials.secret_key), day);
  for (const std::string& part :
       {scope.region, scope.service, std::string("aws4_request"), to_sign})
    key = hmac(key, part);
  request.headers.emplace_back(
      "authorization", "AWS4-HMAC-SHA256 Credential=" + credentials.access_key + "/" + range +
                           ", SignedHeaders=" + names + ", Signature=" + base::hex(key));
}

}  // namespace davit::store::s3
