// What an S3 server answers in XML: a page of a listing, and why it refuses.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace davit::store::s3 {

struct Listing {
  struct Object {
    std::string key;
    uint64_t size_bytes = 0;
  };
  std::vector<Object> objects;
  std::string next;  // continues with the following page; "": this was the last
};

// Throws IoError for anything that is not the whole of such a page.
Listing parse_listing(std::string_view body);

// Empty parts are those that it does not say.
struct Refusal {
  std::string code;              // "NoSuchKey"
  std::string message;           // one line, not long; the server's own words
  std::string region, endpoint;  // where it says that the bucket is
};

// Never fails: what is no such answer (a proxy's page) has no code.
Refusal parse_refusal(std::string_view body);

}  // namespace davit::store::s3
