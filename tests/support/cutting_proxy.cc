#include "support/cutting_proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <thread>
#include <utility>

#include "base/errors.h"
#include "base/fd.h"

namespace davit::test {

namespace {

base::Fd connect_to(int port) {
  base::Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    socket.reset();
  return socket;
}

bool send_all(int to, const char* bytes, size_t count) {
  while (count > 0) {
    const ssize_t sent = ::send(to, bytes, count, MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes += sent;
    count -= static_cast<size_t>(sent);
  }
  return true;
}

// Closed without a goodbye.
void reset_on_close(int fd) {
  const linger now{1, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

}  // namespace

CuttingProxy::CuttingProxy(const std::string& server)
    : server_port_(std::stoi(server.substr(server.find(':') + 1))),
      server_([this](RawServer::Connection& connection) { serve(connection.fd()); }) {}

void CuttingProxy::cut_next(Direction direction, uint64_t after_bytes) {
  *next_.lock() = Cut{direction, after_bytes};
}

void CuttingProxy::serve(int client) {
  const std::optional<Cut> cut = std::exchange(*next_.lock(), std::nullopt);
  const base::Fd server = connect_to(server_port_);
  if (!server) {
    ++ended_;
    return;
  }
  const int one = 1;
  for (const int fd : {client, server.get()})
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  const int ends[2] = {client, server.get()};  // by direction: where it comes from
  std::array<uint64_t, 2> passed{};
  std::array<char, 16384> part;
  for (bool open = true; open;) {
    pollfd polled[2] = {{client, POLLIN, 0}, {server.get(), POLLIN, 0}};
    if (::poll(polled, 2, -1) < 0) break;
    for (size_t direction = 0; direction < 2 && open; ++direction) {
      if (polled[direction].revents == 0) continue;
      const ssize_t got = ::recv(ends[direction], part.data(), part.size(), 0);
      if (got <= 0) {
        open = false;
        break;
      }
      size_t pass = static_cast<size_t>(got);
      const bool is_cut = cut && static_cast<size_t>(cut->direction) == direction &&
                          passed[direction] + pass >= cut->after_bytes;
      if (is_cut) pass = static_cast<size_t>(cut->after_bytes - passed[direction]);
      open = send_all(ends[1 - direction], part.data(), pass) && !is_cut;
      passed[direction] += pass;
      if (is_cut) {
        ++cuts_;
        reset_on_close(client);
        reset_on_close(server.get());
      }
    }
  }
  for (size_t direction = 0; direction < 2; ++direction) passed_[direction] = passed[direction];
  ++ended_;
}

void CuttingProxy::settle() const {
  while (ended_ < server_.connections()) std::this_thread::yield();
}

}  // namespace davit::test
