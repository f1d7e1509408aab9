// A request as the server read it, and the way to answer it. No HTTP library shows through.
#pragma once

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace davit::http {

struct Request {
  std::string method;  // POST
  std::string target;  // /VolumeDriver.Get, with the query if there is one
  std::vector<std::pair<std::string, std::string>> headers;  // as sent; names in any case
  std::string body;
  // Stops when the client hangs up or the server is told to stop. Its callbacks must be short.
  std::stop_token stop;

  // The first header of this name, in any case. Present and empty is not absent.
  std::optional<std::string> find_header(std::string_view name) const;
};

// Answers one request: once whole, or as a stream, or not at all. Belongs to the server; used by
// the handler's thread while the handler runs. A client that is gone, or reads nothing for too
// long, makes each call throw base::Cancelled.
class Responder {
 public:
  virtual ~Responder() = default;
  virtual void send(int status, std::string_view content_type, std::string_view body) = 0;
  // Begins a stream; every write() is on its way when it returns. It ends when the handler returns;
  // if the handler throws, the client sees that the stream is cut short.
  virtual void begin_stream(int status, std::string_view content_type) = 0;
  virtual void write(std::string_view chunk) = 0;
  // Closes the connection without an answer, for callers that take every answer for the truth.
  virtual void hang_up() = 0;
};

// Called by many threads at once. What it throws before it answered becomes status 500 with the
// message as text; base::Cancelled, and returning without an answer, become a hang-up.
using Handler = std::function<void(const Request&, Responder&)>;

}  // namespace davit::http
