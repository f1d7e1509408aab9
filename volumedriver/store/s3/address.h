// Where a bucket is, from restic's notation:
//   s3:https://host:port/bucket/prefix   s3:http://…   s3:host/bucket/prefix (https)
//   s3://host/bucket/prefix (the same)
#pragma once

#include <cstdint>
#include <string>

namespace davit::store::s3 {

struct Address {
  std::string scheme = "https";
  std::string host;    // with its port, where that is not the scheme's own
  std::string bucket;  // not empty
  std::string prefix;  // "a/b"; "" is the whole bucket
};

// Throws UsageError, which does not repeat the URL: it may hold what was meant to be secret.
Address parse_address(const std::string& url);
// As a user would write it.
std::string to_string(const Address& address);

// The region that the host's name tells, as AWS's do: s3.eu-west-1.amazonaws.com. "" where it tells
// none.
std::string region_of_host(const std::string& host);

// How a bucket is named in a request: in the path, as every server knows it, or as part of the
// host's name.
enum class Style : uint8_t { path, host };
// restic's words of -o s3.bucket-lookup: "path", "dns", or "auto", which is "path" here. Throws
// UsageError.
Style parse_style(const std::string& word);

// Host and path of a request for `key` in the bucket; for the bucket itself where `key` is "".
struct Place {
  std::string host;
  std::string path;  // percent-encoded, begins with '/'
};
Place place_of(const Address& address, Style style, const std::string& key);

// Undoes percent-encoding; a '%' without two digits stays as it is.
std::string percent_decode(std::string_view text);

}  // namespace davit::store::s3
