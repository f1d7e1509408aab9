#include "cli/http_response.h"

#include <algorithm>
#include <charconv>

#include "base/errors.h"

namespace davit::cli {

namespace {

constexpr uint64_t kMaxHeadBytes = 64 << 10;
constexpr size_t kMaxLineBytes = 16 << 20;
constexpr uint64_t kMaxLength = uint64_t{1} << 62;

[[noreturn]] void refuse(const char* why) {
  throw base::Corrupt(std::string("what answers on the socket does not speak davit's language: ") +
                      why);
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return result;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

uint64_t parse_number(std::string_view digits, int base, const char* why) {
  uint64_t value = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (error != std::errc() || end != digits.data() + digits.size() || digits.empty() ||
      value > kMaxLength)
    refuse(why);
  return value;
}

}  // namespace

bool HttpResponse::take_line(std::string_view& bytes, std::string& line) {
  const size_t end = bytes.find('\n');
  const size_t taken = end == std::string_view::npos ? bytes.size() : end + 1;
  head_bytes_ += taken;
  if (head_bytes_ > kMaxHeadBytes) refuse("its header is too long");
  partial_ += bytes.substr(0, taken);
  bytes.remove_prefix(taken);
  if (end == std::string_view::npos) return false;
  partial_.pop_back();
  if (!partial_.empty() && partial_.back() == '\r') partial_.pop_back();
  line = std::move(partial_);
  partial_.clear();
  return true;
}

void HttpResponse::head_line(const std::string& line) {
  if (status_ == 0) {
    if (!line.starts_with("HTTP/1.") || line.size() < 12 || line[8] != ' ') refuse("no HTTP");
    status_ =
        static_cast<int>(parse_number(std::string_view(line).substr(9, 3), 10, "no HTTP status"));
    return;
  }
  const size_t colon = line.find(':');
  if (colon == std::string::npos) refuse("a bad header");
  const std::string name = lower(std::string_view(line).substr(0, colon));
  const std::string value = lower(trim(std::string_view(line).substr(colon + 1)));
  if (name == "transfer-encoding") {
    if (value != "chunked") refuse("an unknown transfer encoding");
    chunked_ = true;
  } else if (name == "content-length") {
    length_ = parse_number(value, 10, "a bad content length");
    has_length_ = true;
  }
}

void HttpResponse::head_is_complete() {
  head_bytes_ = 0;
  if (status_ / 100 == 1) {  // "100 Continue": the real one follows
    status_ = 0;
    chunked_ = has_length_ = false;
  } else if (chunked_) {
    state_ = State::chunk_size;
  } else if (!has_length_) {
    state_ = State::until_close;
  } else if (length_ > 0) {
    state_ = State::counted;
  } else {
    finish_body();
  }
}

void HttpResponse::begin_chunk(const std::string& line) {
  head_bytes_ = 0;
  const std::string_view size = trim(std::string_view(line).substr(0, line.find(';')));
  length_ = parse_number(size, 16, "a bad chunk");
  state_ = length_ == 0 ? State::trailer : State::chunk_data;
}

void HttpResponse::content(std::string_view bytes) {
  while (!bytes.empty()) {
    const size_t end = bytes.find('\n');
    if (body_line_.size() + std::min(end, bytes.size()) > kMaxLineBytes)
      refuse("a line is too long");
    if (end == std::string_view::npos) {
      body_line_ += bytes;
      return;
    }
    body_line_ += bytes.substr(0, end);
    bytes.remove_prefix(end + 1);
    if (!body_line_.empty()) on_line_(body_line_);
    body_line_.clear();
  }
}

void HttpResponse::finish_body() {
  state_ = State::done;
  if (!body_line_.empty()) on_line_(body_line_);
  body_line_.clear();
}

void HttpResponse::feed(std::string_view bytes) {
  std::string line;
  while (!bytes.empty()) {
    switch (state_) {
      case State::head:
        if (!take_line(bytes, line)) return;
        if (!line.empty())
          head_line(line);
        else if (status_ == 0)
          refuse("no HTTP");
        else
          head_is_complete();
        break;
      case State::chunk_size:
        if (!take_line(bytes, line)) return;
        begin_chunk(line);
        break;
      case State::chunk_end:
        if (!take_line(bytes, line)) return;
        if (!line.empty()) refuse("a bad chunk");
        head_bytes_ = 0;
        state_ = State::chunk_size;
        break;
      case State::trailer:
        if (!take_line(bytes, line)) return;
        if (line.empty()) finish_body();
        break;
      case State::chunk_data:
      case State::counted: {
        const auto taken = static_cast<size_t>(std::min<uint64_t>(length_, bytes.size()));
        content(bytes.substr(0, taken));
        bytes.remove_prefix(taken);
        length_ -= taken;
        if (length_ > 0) return;
        if (state_ == State::counted)
          finish_body();
        else
          state_ = State::chunk_end;
        break;
      }
      case State::until_close:
        content(bytes);
        return;
      case State::done:
        return;  // whatever comes after is not ours
    }
  }
}

void HttpResponse::end_of_stream() {
  if (state_ == State::until_close) finish_body();
  if (state_ != State::done) throw base::Corrupt("the daemon's answer broke off");
}

}  // namespace davit::cli
