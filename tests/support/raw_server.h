// A server for tests that says exactly what it is told, byte for byte, so that it can also
// misbehave. One thread a connection; everything ends with the server.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "base/synchronized.h"

namespace davit::test {

class RawServer {
 public:
  struct Request {
    std::string line;  // "GET /path HTTP/1.1"
    std::string head;  // all header lines
    std::string body;  // with Content-Length or chunked, decoded
  };
  class Connection {
   public:
    explicit Connection(int fd) : fd_(fd) {}
    // False at the end of the connection.
    bool read(Request& request);
    // The same in two steps.
    bool read_head(Request& request);
    bool read_body(Request& request);
    // False where the client has gone.
    bool write(std::string_view bytes);
    // A whole answer with a length.
    bool answer(int status, std::string_view body, std::string_view more_headers = {});
    // Waits until the client closes.
    void wait_for_end();
    // For who speaks no HTTP; nothing has been read from it yet.
    int fd() const { return fd_; }

   private:
    bool fill();
    bool take_line(std::string& line);
    bool take(size_t count, std::string& out);
    int fd_;
    std::string buffer_;
  };
  // Called in a thread of its own for each connection, which is closed when it returns.
  using Handler = std::function<void(Connection&)>;

  // Listens on a Unix socket, or on a free port of 127.0.0.1 where `path` is "".
  explicit RawServer(Handler handler, const std::string& path = {});
  ~RawServer();

  int port() const { return port_; }
  std::string url(const std::string& path) const {
    return "http://127.0.0.1:" + std::to_string(port_) + path;
  }
  int connections() const { return connections_; }

 private:
  void accept_all();

  Handler handler_;
  base::Fd listener_;
  int port_ = 0;
  std::atomic<int> connections_{0};
  base::Synchronized<std::vector<int>> open_;
  std::vector<std::thread> threads_;  // of the acceptor only, once it runs
  std::thread acceptor_;
};

}  // namespace davit::test
