// AWS Signature Version 4, in a header: what says to an S3 server who asks, and that nothing was
// changed on the way.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "wire/http_client.h"

namespace davit::store::s3 {

struct Credentials {
  std::string access_key, secret_key;
  std::string session_token;  // "": these are keys that last
};

// For which requests a signature holds.
struct Scope {
  std::string region;
  std::string service = "s3";
};

using Query = std::vector<std::pair<std::string, std::string>>;

struct Request {
  std::string method;
  std::string host;  // as the Host header says it
  std::string path;  // percent-encoded, begins with '/'
  Query query;       // not encoded
  // Names in lower case. All of them are signed; without Host, which the HTTP client sends itself.
  std::vector<wire::Header> headers;
};

// Percent-encoded and in the order in which it is signed; send it so. "" where there is none.
std::string encode_query(const Query& query);

// Adds x-amz-date, x-amz-security-token where there is one, and authorization. `payload_hash`:
// SHA-256 of the body in hexadecimal digits; S3 wants it as the header x-amz-content-sha256, too,
// which is the caller's to add before.
void sign(Request& request, std::string_view payload_hash, const Credentials& credentials,
          const Scope& scope, base::Time now);

}  // namespace davit::store::s3
