// The one outgoing HTTP client: TCP, TLS and Unix sockets, streaming both ways, with deadlines and
// a stop.
//
// A status is no error: whatever the server answers is returned. An IoError is thrown where no
// whole answer came; transient() says whether the same call may succeed later. Messages name method
// and URL without user, password or query. Cancelled is thrown when `stop` is requested, within
// milliseconds unless the request has a grace.
//
// Any thread may use one client; connections are kept and used again. Proxies are those of the
// environment (https_proxy, no_proxy), none for a Unix socket. Certificates are always verified.
// HTTP/1.1; redirects are not followed.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/errors.h"

namespace davit::wire {

// The request may have reached the server, and no whole answer came: it may be at it still.
class NoAnswer : public base::IoError {
 public:
  using IoError::IoError;
};

// No connection was made, since it would not have been a safe one: the certificate is not to be
// trusted, or the other end does not speak TLS.
class Untrusted : public base::IoError {
 public:
  using IoError::IoError;
};

// 0: no such deadline.
struct Deadlines {
  std::chrono::milliseconds connect{10'000};
  // Without a byte in either direction, the wait for the answer's first included. What the body's
  // callbacks take for themselves does not count.
  std::chrono::milliseconds idle{60'000};
  std::chrono::milliseconds total{0};
};

// Of stores. An upload is silent while the last of it drains from the kernel's buffers and is made
// durable.
inline constexpr Deadlines kStoreDeadlines{.connect = std::chrono::seconds(15),
                                           .idle = std::chrono::minutes(2)};

// A body that is made while it is sent.
struct BodySource {
  // Fills some of `out` and says how much; 0 is the end. May throw; send() throws that again.
  std::function<size_t(std::span<uint8_t> out)> read;
  // Known beforehand; else it is sent chunked.
  std::optional<uint64_t> size_bytes;
  // Starts again from the beginning; without it a new connection is made, since an old one may turn
  // out to be dead.
  std::function<void()> rewind;
};

using Header = std::pair<std::string, std::string>;

struct HttpRequest {
  std::string method = "GET";
  std::string
      url;  // http:// or https://; with a Unix socket the host is any word: http://engine/_ping
  std::string unix_socket;  // a path; "" is TCP
  std::vector<Header> headers;
  std::string body;
  std::optional<BodySource> body_source;  // instead of `body`
  Deadlines deadlines;
  std::stop_token stop;
  // So long an answer is still waited for once the stop is requested: for a request after which it
  // must be known what the server has.
  std::chrono::milliseconds grace{0};
  // The path is a secret too (ping URLs): messages show scheme and host only.
  bool secret_path = false;
  // Of the answer, in memory; more is an IoError that is not transient.
  size_t max_body_bytes = 4 << 20;
};

struct HttpResponse {
  int status = 0;
  std::vector<Header> headers;  // names in lower case
  std::string body;

  bool ok() const { return status >= 200 && status < 300; }
  // The first of that (lower-case) name.
  std::optional<std::string> find_header(std::string_view name) const;
};

// Called with the parts of an answer's body, in order, on the caller's thread. May throw; stream()
// throws that again.
using BodySink = std::function<void(base::ByteView part)>;
// Called once, before the first part, with status and headers.
using HeadSink = std::function<void(const HttpResponse& head)>;

class HttpClient {
 public:
  // `ca_file`: the authorities to trust, PEM, instead of the system's; "" are those.
  explicit HttpClient(std::string user_agent = "davit", std::string ca_file = "");
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // The whole answer in memory. Throws UsageError for what is no URL.
  HttpResponse send(const HttpRequest& request);
  // As send(), but the body of an answer with a status of 200 to 299 goes to `sink` as it comes,
  // unbounded, and nothing of it is kept; that of another status is in the answer, so that it can
  // be shown.
  HttpResponse stream(const HttpRequest& request, const BodySink& sink, const HeadSink& head = {});

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Whether the same request may well succeed later: 408, 425, 429, 500, 502 to 504, and what proxies
// say of servers that are away: 520 to 524, 529, 530.
bool is_transient_status(int status);

// Whether send() would take it: http or https, with a host.
bool is_http_url(const std::string& url);
// For messages: user, password and query are replaced. What is no URL becomes "(no URL)".
std::string masked_url(const std::string& url);
// Only scheme, host and port, for URLs whose path is a secret: "https://hc-ping.com/…".
std::string masked_path_url(const std::string& url);
struct HttpUrl {
  std::string place;           // without user, password, query and fragment: "https://host:8000/a/b"
  std::string user, password;  // decoded; "": it has none
  bool has_query = false;      // or a fragment
};
// Nothing where is_http_url() is false.
std::optional<HttpUrl> parse_http_url(const std::string& url);
// Percent-encodes all but unreserved characters (A-Z a-z 0-9 - . _ ~).
std::string percent_encode(std::string_view text);

}  // namespace davit::wire
