// A client that says exactly what a test tells it to, byte by byte, on a Unix socket.
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <chrono>
#include <cstring>
#include <string>

#include "base/errors.h"
#include "base/fd.h"

namespace davit::test {

class UnixClient {
 public:
  explicit UnixClient(const std::string& path)
      : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    if (::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
      base::throw_errno("connect " + path, errno);
  }

  // False when the server is gone.
  bool say(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent < 0) return false;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }
  // One whole answer: header and body by Content-Length; with chunks, up to the last one. What was
  // there when the connection ended or after a minute, if it does not come.
  std::string hear() {
    std::string answer;
    while (!is_whole(answer)) {
      if (!more()) {
        answer = std::exchange(heard_, {});
        break;
      }
    }
    return answer;
  }
  // Everything until the server closes.
  std::string hear_all() {
    while (more()) {
    }
    return std::exchange(heard_, {});
  }
  // True when the server has closed (waits up to a minute for it), and said nothing more.
  bool is_closed() { return !more() && heard_.empty(); }

  std::string ask(std::string_view bytes) {
    say(bytes);
    return hear();
  }
  void close() { fd_.reset(); }
  void end_writing() { ::shutdown(fd_.get(), SHUT_WR); }
  int fd() const { return fd_.get(); }

 private:
  bool more() {
    pollfd one{fd_.get(), POLLIN, 0};
    if (::poll(&one, 1, 60'000) <= 0) return false;
    char bytes[65536];
    const ssize_t got = ::recv(fd_.get(), bytes, sizeof bytes, 0);
    if (got <= 0) return false;
    heard_.append(bytes, static_cast<size_t>(got));
    return true;
  }
  // Moves the first answer from what was heard, if it is whole.
  bool is_whole(std::string& answer) {
    const size_t head = heard_.find("\r\n\r\n");
    if (head == std::string::npos) return false;
    size_t end = head + 4;
    if (heard_.find("Transfer-Encoding: chunked") < head) {
      const size_t last = heard_.find("\r\n0\r\n\r\n", head);
      if (last == std::string::npos) return false;
      end = last + 7;
    } else if (const size_t field = heard_.find("Content-Length: "); field < head) {
      end += std::stoul(heard_.substr(field + 16));
    }
    if (heard_.size() < end) return false;
    answer = heard_.substr(0, end);
    heard_.erase(0, end);
    return true;
  }

  base::Fd fd_;
  std::string heard_;
};

// Waits until `condition` holds; false after a minute.
template <typename Condition>
bool eventually(Condition condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    ::poll(nullptr, 0, 2);
  }
  return true;
}

}  // namespace davit::test
