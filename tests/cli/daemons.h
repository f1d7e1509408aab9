// Daemons for the client to speak to: the real control API on the real server with fake operations,
// and one that answers with whatever bytes a test wants.
#pragma once

#include <poll.h>
#include <sys/socket.h>

#include <functional>
#include <string>
#include <thread>

#include "base/fd.h"
#include "cli/client_process.h"
#include "control/control_api.h"
#include "control/fake_operations.h"
#include "control/handler.h"
#include "http/server.h"
#include "http/unix_socket.h"
#include "support/temp_dir.h"

namespace davit::test {

// Declare it after what its operations' functions use: its end waits for them.
class TestDaemon {
 public:
  TestDaemon() : api_(operations, "1.2.3"), server_(make_server()) {}

  FakeOperations operations;
  std::string directory() const { return directory_.path(); }
  std::string socket() const { return directory_ / "davit.sock"; }

  ClientProcess start(const std::vector<std::string>& arguments,
                      ClientProcess::Options options = {}) {
    options.environment["DAVIT_SOCKET"] = socket();
    operations.meet();
    return ClientProcess(arguments, std::move(options));
  }
  Ran run(const std::vector<std::string>& arguments, ClientProcess::Options options = {}) {
    Ran ran = start(arguments, std::move(options)).finish();
    operations.meet();
    return ran;
  }

 private:
  std::unique_ptr<http::Server> make_server() {
    http::ServerOptions options;
    options.path = socket();
    return std::make_unique<http::Server>(options, control::make_handler(api_));
  }
  const TempDir directory_;
  control::ControlApi api_;
  const std::unique_ptr<http::Server> server_;  // last: its threads use the others
};

// Reads a request's head and gives the connection to `answer`.
class RawDaemon {
 public:
  explicit RawDaemon(std::function<void(int fd)> answer)
      : listener_(http::listen_unix(socket(), 0600)),
        thread_([this, answer = std::move(answer)](std::stop_token stop) {
          while (!stop.stop_requested()) serve(answer);
        }) {}

  std::string socket() const { return directory_ / "davit.sock"; }
  Ran run(const std::vector<std::string>& arguments) {
    ClientProcess::Options options;
    options.environment["DAVIT_SOCKET"] = socket();
    return ClientProcess(arguments, options).finish();
  }

  static void send(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
  }

 private:
  void serve(const std::function<void(int fd)>& answer) {
    pollfd waiting{listener_.get(), POLLIN, 0};
    if (::poll(&waiting, 1, 20) != 1) return;
    const base::Fd connection(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!connection) return;
    std::string request;
    char bytes[1024];
    while (request.find("\r\n\r\n") == std::string::npos) {
      const ssize_t got = ::recv(connection.get(), bytes, sizeof bytes, 0);
      if (got <= 0) return;
      request.append(bytes, static_cast<size_t>(got));
    }
    answer(connection.get());
  }
  const TempDir directory_;
  const base::Fd listener_;
  std::jthread thread_;  // last
};

}  // namespace davit::test
