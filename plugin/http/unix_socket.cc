#include "http/unix_socket.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/errors.h"

namespace davit::http {

namespace {

constexpr int kBacklog = 512;

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    throw base::UsageError("the socket's path " + path + " is longer than " +
                           std::to_string(sizeof address.sun_path - 1) + " bytes");
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

base::Fd make_socket() {
  base::Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) base::throw_errno("cannot make a socket", errno);
  return socket;
}

// Takes away what a process that died left behind, and nothing else.
void remove_stale(const std::string& path, const sockaddr_un& address) {
  struct stat status;
  if (::lstat(path.c_str(), &status) != 0) {
    const int number = errno;
    if (number == ENOENT) return;
    base::throw_errno("cannot look at " + path, number);
  }
  if (!S_ISSOCK(status.st_mode))
    throw base::Conflict(path + " exists and is no socket; davit does not replace it");
  const base::Fd probe = make_socket();
  const int result =
      ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  if (const int number = errno; result == 0 || number == EAGAIN)
    throw base::Conflict("another process listens on " + path);
  if (::unlink(path.c_str()) != 0 && errno != ENOENT)
    base::throw_errno("cannot remove " + path, errno);
}

// How long poll() may wait: rounded up, so that it does not spin in the last millisecond.
int milliseconds_until(Deadline deadline) {
  if (!deadline) return -1;
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(*deadline - std::chrono::steady_clock::now());
  return static_cast<int>(std::clamp<int64_t>(left.count(), 0, 3'600'000));
}

// False at the deadline.
bool wait_for(int fd, short events, Deadline deadline) {
  for (;;) {
    pollfd one{fd, events, 0};
    const int ready = ::poll(&one, 1, milliseconds_until(deadline));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) base::throw_errno("poll", errno);
    if (deadline && std::chrono::steady_clock::now() >= *deadline) return false;
  }
}

}  // namespace

base::Fd listen_unix(const std::string& path, mode_t mode) {
  const sockaddr_un address = address_of(path);
  remove_stale(path, address);
  base::Fd socket = make_socket();
  // Linux makes the file with the mode of the socket's own inode, less the umask; chmod() puts back
  // what that took.
  if (::fchmod(socket.get(), mode) != 0)
    base::throw_errno("cannot set the mode of a socket", errno);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    const int number = errno;
    if (number == EADDRINUSE) throw base::Conflict("another process has just taken " + path);
    base::throw_errno("cannot bind to " + path, number);
  }
  if (::chmod(path.c_str(), mode) != 0) base::throw_errno("cannot set the mode of " + path, errno);
  if (::listen(socket.get(), kBacklog) != 0) base::throw_errno("cannot listen on " + path, errno);
  return socket;
}

Received receive(int fd, std::span<char> out, size_t& size, Deadline deadline) {
  for (;;) {
    const ssize_t got = ::recv(fd, out.data(), out.size(), MSG_DONTWAIT);
    if (got > 0) {
      size = static_cast<size_t>(got);
      return Received::bytes;
    }
    if (got == 0) return Received::end;
    const int number = errno;
    if (number == EINTR) continue;
    if (number != EAGAIN && number != EWOULDBLOCK) return Received::end;
    if (!wait_for(fd, POLLIN, deadline)) return Received::late;
  }
}

bool send_all(int fd, std::string_view bytes, Deadline deadline) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      bytes.remove_prefix(static_cast<size_t>(sent));
      continue;
    }
    const int number = errno;
    if (number == EINTR) continue;
    if (number != EAGAIN && number != EWOULDBLOCK) return false;
    if (!wait_for(fd, POLLOUT, deadline)) return false;
  }
  return true;
}

}  // namespace davit::http
