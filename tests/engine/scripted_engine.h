// An engine for tests of the client: it greets, and says byte for byte what a test wants to whatever else is asked.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/synchronized.h"
#include "engine/engine.h"
#include "support/raw_server.h"

namespace davit::test {

inline constexpr const char* kDocker = "Api-Version: 1.41\r\nServer: Docker/20.10.24 (linux)\r\n";
inline constexpr const char* kPodman =
    "Api-Version: 1.41\r\nLibpod-Api-Version: 4.3.1\r\nServer: Libpod/4.3.1 (linux)\r\n";

class ScriptedEngine {
 public:
  using Connection = RawServer::Connection;
  using Request = RawServer::Request;
  // Has the request's head; reads the body itself where it wants to. False: the connection is closed.
  using Handler = std::function<bool(Connection&, Request&)>;

  explicit ScriptedEngine(Handler handler, std::string ping_headers = kDocker, const std::string& path = {})
      : handler_(std::move(handler)),
        server_(
            [this, ping_headers](Connection& connection) {
              for (Request request; connection.read_head(request);) {
                lines_.lock()->push_back(request.line);
                if (request.line == "GET /_ping HTTP/1.1")
                  connection.answer(200, "OK", ping_headers);
                else if (!handler_(connection, request))
                  return;
              }
            },
            path) {}

  // An answer to whatever is asked.
  static Handler saying(int status, const std::string& body) {
    return [=](Connection& connection, Request& request) {
      return connection.read_body(request) && connection.answer(status, body);
    };
  }
  // Those bytes, and the end of the connection.
  static Handler breaking_off(const std::string& bytes) {
    return [=](Connection& connection, Request& request) {
      connection.read_body(request);
      connection.write(bytes);
      return false;
    };
  }

  std::string host() const { return "tcp://127.0.0.1:" + std::to_string(server_.port()); }
  std::unique_ptr<engine::Engine> client(const engine::Patience& patience = {}) const {
    return engine::make_engine(host(), patience);
  }
  // What was asked, greetings left out: "GET /v1.41/info HTTP/1.1".
  std::vector<std::string> asked() {
    std::vector<std::string> lines = *lines_.lock();
    std::erase(lines, "GET /_ping HTTP/1.1");
    return lines;
  }

 private:
  Handler handler_;
  base::Synchronized<std::vector<std::string>> lines_;
  RawServer server_;
};

}  // namespace davit::test
