#include "store/http_bodies.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>

#include "base/errors.h"

namespace davit::store {

namespace {

std::optional<uint64_t> parse_number(std::string_view text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// "bytes 200-299/1000" -> 200
std::optional<uint64_t> first_of_range(const wire::HttpResponse& answer) {
  const auto value = answer.find_header("content-range");
  if (!value || !value->starts_with("bytes ")) return std::nullopt;
  const std::string_view text = std::string_view(*value).substr(6);
  return parse_number(text.substr(0, text.find('-')));
}

}  // namespace

std::optional<uint64_t> content_length(const wire::HttpResponse& answer) {
  const auto value = answer.find_header("content-length");
  return value ? parse_number(*value) : std::nullopt;
}

wire::BodySource body_of(std::span<const base::ByteView> pieces) {
  struct Position {
    size_t piece = 0, offset = 0;
  };
  const auto at = std::make_shared<Position>();
  wire::BodySource source;
  uint64_t size_bytes = 0;
  for (const base::ByteView piece : pieces) size_bytes += piece.size();
  source.size_bytes = size_bytes;
  source.rewind = [at] { *at = {}; };
  source.read = [at, pieces](std::span<uint8_t> out) {
    size_t done = 0;
    while (done < out.size() && at->piece < pieces.size()) {
      const base::ByteView rest = pieces[at->piece].subspan(at->offset);
      const size_t count = std::min(rest.size(), out.size() - done);
      if (count > 0) std::memcpy(out.data() + done, rest.data(), count);
      done += count;
      at->offset += count;
      if (count == rest.size()) *at = {at->piece + 1, 0};
    }
    return done;
  };
  return source;
}

base::IoError explain(const std::string& what, const base::IoError& error, const std::string& url,
                      const std::string& plain) {
  std::string text = what + ": " + error.what();
  if (dynamic_cast<const wire::Untrusted*>(&error) != nullptr)
    text += url.starts_with("https:")
                ? "; where the server's certificate is your own, name the file of its authority in "
                  "RESTIC_CACERT; a server without TLS is named " +
                      plain
                : "";
  else if (error.number() == ECONNREFUSED)
    text += "; does the server run, and is the port right?";
  return base::IoError(text, error.number(), error.transient());
}

void WholeBody::refuse() const {
  throw base::Corrupt(to_string(name_) + " is larger than " + base::human_size(max_bytes_));
}

wire::HeadSink WholeBody::head() {
  return [this](const wire::HttpResponse& answer) {
    if (!answer.ok()) return;
    const uint64_t size_bytes = content_length(answer).value_or(0);
    if (size_bytes > max_bytes_) refuse();
    bytes_.reserve(size_bytes);
  };
}

wire::BodySink WholeBody::sink() {
  return [this](base::ByteView part) {
    if (part.size() > max_bytes_ - bytes_.size()) refuse();
    base::append(bytes_, part);
  };
}

wire::Header RangeOfBody::header() const {
  return {"range",
          "bytes=" + std::to_string(offset_) + "-" + std::to_string(offset_ + out_.size() - 1)};
}

wire::HeadSink RangeOfBody::head() {
  return [this](const wire::HttpResponse& answer) {
    at_ = answer.status == 206 ? first_of_range(answer).value_or(offset_) : 0;
    done_ = 0;
  };
}

wire::BodySink RangeOfBody::sink() {
  return [this](base::ByteView part) {
    const uint64_t wanted = offset_ + done_;
    if (wanted >= at_ && wanted - at_ < part.size() && done_ < out_.size()) {
      const base::ByteView rest = part.subspan(static_cast<size_t>(wanted - at_));
      const size_t count = std::min(rest.size(), out_.size() - done_);
      std::memcpy(out_.data() + done_, rest.data(), count);
      done_ += count;
    }
    at_ += part.size();
  };
}

}  // namespace davit::store
