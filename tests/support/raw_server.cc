#include "support/raw_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <sstream>

#include "base/errors.h"

namespace davit::test {

RawServer::RawServer(Handler handler, const std::string& path) : handler_(std::move(handler)) {
  const bool tcp = path.empty();
  listener_ = base::Fd(::socket(tcp ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage address{};
  socklen_t size;
  if (tcp) {
    auto& in = reinterpret_cast<sockaddr_in&>(address);
    in.sin_family = AF_INET;
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    size = sizeof in;
  } else {
    auto& un = reinterpret_cast<sockaddr_un&>(address);
    un.sun_family = AF_UNIX;
    DAVIT_CHECK(path.size() < sizeof un.sun_path);
    std::strcpy(un.sun_path, path.c_str());
    size = sizeof un;
  }
  if (::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::listen(listener_.get(), 64) != 0)
    base::throw_errno("test server", errno);
  if (tcp) {
    sockaddr_in bound{};
    size = sizeof bound;
    ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&bound), &size);
    port_ = ntohs(bound.sin_port);
  }
  acceptor_ = std::thread([this] { accept_all(); });
}

RawServer::~RawServer() {
  ::shutdown(listener_.get(), SHUT_RDWR);
  acceptor_.join();
  open_.with([](std::vector<int>& open) {
    for (const int fd : open) ::shutdown(fd, SHUT_RDWR);
  });
  for (std::thread& thread : threads_) thread.join();
}

void RawServer::accept_all() {
  for (;;) {
    const int fd = ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) return;
    ++connections_;
    open_.with([&](std::vector<int>& open) { open.push_back(fd); });
    threads_.emplace_back([this, fd] {
      Connection connection(fd);
      handler_(connection);
      open_.with([&](std::vector<int>& open) {
        open.erase(std::find(open.begin(), open.end(), fd));
        ::close(fd);
      });
    });
  }
}

bool RawServer::Connection::fill() {
  char part[16384];
  const ssize_t count = ::recv(fd_, part, sizeof part, 0);
  if (count <= 0) return false;
  buffer_.append(part, static_cast<size_t>(count));
  return true;
}

bool RawServer::Connection::take_line(std::string& line) {
  size_t end;
  while ((end = buffer_.find("\r\n")) == buffer_.npos)
    if (!fill()) return false;
  line = buffer_.substr(0, end);
  buffer_.erase(0, end + 2);
  return true;
}

bool RawServer::Connection::take(size_t count, std::string& out) {
  while (buffer_.size() < count)
    if (!fill()) return false;
  out.append(buffer_, 0, count);
  buffer_.erase(0, count);
  return true;
}

bool RawServer::Connection::read_head(Request& request) {
  request = {};
  if (!take_line(request.line)) return false;
  for (std::string line; take_line(line) && !line.empty();) request.head += line + "\n";
  return true;
}

bool RawServer::Connection::read(Request& request) { return read_head(request) && read_body(request); }

bool RawServer::Connection::read_body(Request& request) {
  size_t length = 0;
  bool chunked = false;
  std::istringstream head(request.head);
  for (std::string line; std::getline(head, line);) {
    if (::strncasecmp(line.c_str(), "content-length:", 15) == 0)
      length = std::strtoul(line.c_str() + 15, nullptr, 10);
    if (::strcasecmp(line.c_str(), "transfer-encoding: chunked") == 0) chunked = true;
  }
  if (!chunked) return take(length, request.body);
  for (std::string line; take_line(line);) {
    const size_t size = std::strtoul(line.c_str(), nullptr, 16);
    if (!take(size, request.body) || !take_line(line)) return false;
    if (size == 0) return true;
  }
  return false;
}

bool RawServer::Connection::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count < 0) return false;
    bytes.remove_prefix(static_cast<size_t>(count));
  }
  return true;
}

bool RawServer::Connection::answer(int status, std::string_view body,
                                   std::string_view more_headers) {
  return write("HTTP/1.1 " + std::to_string(status) + " X\r\n" + std::string(more_headers) +
               "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body));
}

void RawServer::Connection::wait_for_end() {
  while (fill()) buffer_.clear();
}

}  // namespace davit::test
