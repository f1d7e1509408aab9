// What stores over HTTP have in common: files as bodies of requests and answers, and what to say of
// a request without an answer.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>

#include "store/store.h"
#include "wire/http_client.h"

namespace davit::store {

std::optional<uint64_t> content_length(const wire::HttpResponse& answer);

// Else a lock that is removed since nobody wants it any more might be written after that: its
// request may be at the server still when it is given up here.
constexpr std::chrono::seconds kGraceForALock{5};

// The pieces one after another, as often as it takes. They are borrowed.
wire::BodySource body_of(std::span<const base::ByteView> pieces);

// Why a request got no answer, and what to do about that. `what` begins the message; `plain`: how a
// server without TLS is named, "rest:http://…".
base::IoError explain(const std::string& what, const base::IoError& error, const std::string& url,
                      const std::string& plain);

// The whole file that an answer carries.
class WholeBody {
 public:
  WholeBody(const Name& name, uint64_t max_bytes) : name_(name), max_bytes_(max_bytes) {}
  // For HttpClient::stream(); this must stay where it is meanwhile. They throw Corrupt where it is
  // larger than that.
  wire::HeadSink head();
  wire::BodySink sink();
  base::Bytes take() { return std::move(bytes_); }

 private:
  [[noreturn]] void refuse() const;

  const Name name_;
  const uint64_t max_bytes_;
  base::Bytes bytes_;
};

// A part of the file that an answer carries, [offset, offset + out.size()), which must not be
// empty. Also where the server does not know ranges, and sends the whole.
class RangeOfBody {
 public:
  RangeOfBody(uint64_t offset, std::span<uint8_t> out) : offset_(offset), out_(out) {}
  wire::Header header() const;
  wire::HeadSink head();
  wire::BodySink sink();
  bool is_whole() const { return done_ == out_.size(); }

 private:
  const uint64_t offset_;
  const std::span<uint8_t> out_;
  uint64_t at_ = 0;  // in the file, of the next byte that comes
  size_t done_ = 0;
};

}  // namespace davit::store
