#include "http/session.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include "base/errors.h"
#include "base/log.h"
#include "http/unix_socket.h"

namespace davit::http {

namespace {

namespace beast = boost::beast::http;
using Clock = std::chrono::steady_clock;

constexpr uint32_t kMaxHeaderBytes = 32 << 10;
constexpr std::chrono::seconds kLinger{2};

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  const auto lower = [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](char x, char y) { return lower(x) == lower(y); });
}

std::string head_of(int status, std::string_view content_type, std::string_view more) {
  const auto reason = beast::obsolete_reason(static_cast<beast::status>(status));
  std::string head = "HTTP/1.1 " + std::to_string(status) + " ";
  head.append(reason.data(), reason.size());
  return head.append("\r\nContent-Type: ")
      .append(content_type)
      .append("\r\n")
      .append(more)
      .append("\r\n");
}

std::string chunk_of(std::string_view bytes) {
  char size[20];
  const int length = std::snprintf(size, sizeof size, "%zx\r\n", bytes.size());
  return std::string(size, static_cast<size_t>(length)).append(bytes).append("\r\n");
}

}  // namespace

std::optional<std::string> Request::find_header(std::string_view name) const {
  for (const auto& [key, value] : headers)
    if (equal_ignoring_case(key, name)) return value;
  return std::nullopt;
}

class Session::Answer : public Responder {
 public:
  Answer(Session& session, bool keep_alive, bool chunks_allowed, bool with_body)
      : session_(session),
        chunked_(chunks_allowed),
        with_body_(with_body),
        keep_alive_(keep_alive) {}

  void send(int status, std::string_view content_type, std::string_view body) override {
    begin();
    std::string bytes = head_of(status, content_type,
                                "Content-Length: " + std::to_string(body.size()) + "\r\n" +
                                    (keep_alive_ ? "" : "Connection: close\r\n"));
    if (with_body_) bytes.append(body);
    put(bytes);
    done_ = true;
  }
  void begin_stream(int status, std::string_view content_type) override {
    begin();
    if (!chunked_)
      keep_alive_ = false;  // HTTP/1.0: the end of the connection is the end of the stream
    put(head_of(status, content_type,
                std::string(chunked_ ? "Transfer-Encoding: chunked\r\n" : "") +
                    (keep_alive_ ? "" : "Connection: close\r\n")));
    streaming_ = true;
  }
  void write(std::string_view chunk) override {
    DAVIT_CHECK(streaming_);
    if (!chunk.empty() && with_body_) put(chunked_ ? chunk_of(chunk) : std::string(chunk));
  }
  void hang_up() override {
    begin();
    keep_alive_ = false;
    done_ = true;
  }

  // The handler has returned. False: the connection is to be closed.
  bool finish() {
    if (streaming_) {
      if (chunked_ && with_body_) put("0\r\n\r\n");
      return keep_alive_;
    }
    return done_ && keep_alive_;
  }
  bool begun() const { return begun_; }
  void last() { keep_alive_ = false; }

 private:
  void begin() {
    DAVIT_CHECK(!begun_);
    begun_ = true;
  }
  void put(std::string_view bytes) {
    if (!gone_ && send_all(session_.fd_, bytes, Clock::now() + session_.options_.send_deadline))
      return;
    gone_ = true;
    throw base::Cancelled();
  }

  Session& session_;
  const bool chunked_, with_body_;
  bool keep_alive_, begun_ = false, done_ = false, streaming_ = false, gone_ = false;
};

void Session::run() {
  for (bool more = true; more;) {
    Request request;
    bool keep_alive = false, chunks_allowed = false;
    if (read(request, keep_alive, chunks_allowed) != Reading::whole) return;
    const auto stop = watch_.begin();
    if (!stop) return;
    request.stop = *stop;
    more = handle(request, keep_alive, chunks_allowed);
    watch_.end();
  }
}

Session::Reading Session::read(Request& request, bool& keep_alive, bool& chunks_allowed) {
  beast::request_parser<beast::string_body> parser;
  parser.header_limit(kMaxHeaderBytes);
  parser.body_limit(options_.max_body_bytes);
  parser.eager(true);
  bool told_to_continue = false;
  Deadline deadline;  // none before the first byte: idle connections are kept
  if (!pending_.empty()) deadline = Clock::now() + options_.request_deadline;

  while (!parser.is_done()) {
    boost::system::error_code error;
    if (!pending_.empty()) {
      pending_.erase(0, parser.put(boost::asio::buffer(pending_), error));
      if (error && error != beast::error::need_more) {
        if (error == beast::error::body_limit)
          refuse(413, "the request's body is larger than " +
                          std::to_string(options_.max_body_bytes) + " bytes");
        else if (error == beast::error::header_limit)
          refuse(431, "the request's header is too large");
        else
          refuse(400, "this is no request: " + error.message());
        return Reading::broken;
      }
      if (parser.is_done()) break;
      // What is consumed leaves room to go on at once; else more bytes are needed.
      if (!error && !pending_.empty()) continue;
    }
    if (parser.is_header_done() && !told_to_continue &&
        equal_ignoring_case(std::string_view(parser.get()[beast::field::expect].data(),
                                             parser.get()[beast::field::expect].size()),
                            "100-continue")) {
      told_to_continue = true;
      if (!send_all(fd_, "HTTP/1.1 100 Continue\r\n\r\n", deadline)) return Reading::ended;
    }
    std::array<char, 16 << 10> bytes;
    size_t size = 0;
    switch (receive(fd_, bytes, size, deadline)) {
      case Received::end:
        return Reading::ended;
      case Received::late:
        refuse(408, "the request did not come to its end in time");
        return Reading::broken;
      case Received::bytes:
        break;
    }
    if (!deadline) deadline = Clock::now() + options_.request_deadline;
    pending_.append(bytes.data(), size);
  }

  auto message = parser.release();
  keep_alive = message.keep_alive();
  chunks_allowed = message.version() >= 11;
  request.method = std::string(message.method_string().data(), message.method_string().size());
  request.target = std::string(message.target().data(), message.target().size());
  for (const auto& field : message)
    request.headers.emplace_back(
        std::string(field.name_string().data(), field.name_string().size()),
        std::string(field.value().data(), field.value().size()));
  request.body = std::move(message.body());
  return Reading::whole;
}

// Answers what could not be read whole. Where the next request would begin is unknown, so the
// connection ends here; what still comes in is read and thrown away for a moment, since a socket
// closed with unread bytes resets the connection and the client would not see why.
void Session::refuse(int status, std::string_view why) {
  const auto deadline = Clock::now() + kLinger;
  std::string answer =
      head_of(status, "text/plain",
              "Content-Length: " + std::to_string(why.size() + 1) + "\r\nConnection: close\r\n");
  if (!send_all(fd_, answer.append(why).append("\n"), deadline)) return;
  ::shutdown(fd_, SHUT_WR);
  std::array<char, 16 << 10> bytes;
  for (size_t size = 0; receive(fd_, bytes, size, deadline) == Received::bytes;)
    if (Clock::now() >= deadline) return;
}

bool Session::handle(Request& request, bool keep_alive, bool chunks_allowed) {
  Answer answer(*this, keep_alive, chunks_allowed, request.method != "HEAD");
  try {
    try {
      handler_(request, answer);
      return answer.finish();
    } catch (const base::Cancelled&) {
      return false;
    } catch (const std::exception& error) {
      spdlog::error("{} {} failed: {}", request.method, request.target, error.what());
      if (answer.begun()) return false;  // cut short, so that nobody takes it for whole
      answer.send(500, "text/plain", std::string(error.what()) + "\n");
      return answer.finish();
    }
  } catch (const base::Cancelled&) {
    return false;
  }
}

}  // namespace davit::http
