// An HTTP/1.1 server on a Unix socket: one thread a connection, blocking handlers. It listens from
// the moment it is made. Made for engines as they are (docs/protocol.md): connections that close
// without a byte are nothing special, idle ones are kept for ever (an engine that meets a closed
// one repeats its request without the body), the Host header is not looked at. Half-sent requests
// have a deadline, and header and body a limit.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "http/message.h"

namespace davit::http {

struct ServerOptions {
  std::string path;
  mode_t mode = 0600;
  size_t max_body_bytes = 1 << 20;
  // More wait in the backlog until one closes.
  unsigned max_connections = 512;
  // From a request's first byte to its last.
  std::chrono::milliseconds request_deadline{30'000};
  // A client that takes no byte of an answer for so long is gone.
  std::chrono::milliseconds send_deadline{30'000};
};

class Server {
 public:
  // Throws as listen_unix() does. `handler` must live and be callable until stop() has returned
  // true.
  Server(ServerOptions options, Handler handler);
  ~Server();  // stop(), then waits for handlers however long they take
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Accepts no more, removes the socket's file, closes what is idle, asks running handlers to stop
  // and gives them `grace` to answer; then cuts them off. True when none is running any more. May
  // be called again; any thread.
  bool stop(std::chrono::milliseconds grace);

  size_t connections() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace davit::http
