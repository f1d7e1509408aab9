#include "cli/daemon_socket.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <system_error>

#include "base/errors.h"
#include "cli/http_response.h"
#include "cli/text.h"

namespace davit::cli {

namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// DATA/davit.sock for DATA/bin/davit; "" where there is no /proc or another layout.
std::string beside_executable() {
  char path[PATH_MAX];
  const ssize_t length = ::readlink("/proc/self/exe", path, sizeof path);
  if (length <= 0 || static_cast<size_t>(length) >= sizeof path) return "";
  std::string directory(path, static_cast<size_t>(length));
  directory.erase(directory.rfind('/'));
  if (!directory.ends_with("/bin")) return "";
  directory.erase(directory.rfind('/'));
  return directory + "/davit.sock";
}

// The errno of connect(2), 0 when it worked.
int try_connect(const std::string& path, base::Fd& socket) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return ENAMETOOLONG;
  path.copy(address.sun_path, path.size());
  socket = base::Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return errno;
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return errno;
  return 0;
}

// Waits until the socket is ready for `events`.
void wait_for(const base::Fd& socket, short events, const Exchange& request) {
  while (true) {
    pollfd waiting[2] = {{socket.get(), events, 0}, {-1, POLLIN, 0}};
    if (request.interrupt != nullptr) waiting[1].fd = request.interrupt->fd();
    int timeout = -1;
    if (request.deadline) {
      const auto left = *request.deadline - std::chrono::steady_clock::now();
      if (left.count() <= 0) throw base::IoError("the daemon does not answer in time", ETIMEDOUT);
      timeout = static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(left).count());
    }
    const int ready = ::poll(waiting, 2, timeout);
    if (ready < 0 && errno != EINTR) base::throw_errno("poll", errno);
    if (ready <= 0) continue;
    if (waiting[1].revents != 0) throw base::Cancelled();
    if (waiting[0].revents != 0) return;
  }
}

void send_all(const base::Fd& socket, std::string_view bytes, const Exchange& request) {
  while (!bytes.empty()) {
    const ssize_t sent =
        ::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      bytes.remove_prefix(static_cast<size_t>(sent));
      continue;
    }
    const int number = errno;
    if (number == EPIPE) return;  // it may have answered before it read all: the answer tells
    if (number == EAGAIN)
      wait_for(socket, POLLOUT, request);
    else if (number != EINTR)
      base::throw_errno("cannot send to the daemon", number);
  }
}

[[noreturn]] void refuse_status(int status, std::string_view line) {
  std::string message = "the daemon answered with HTTP status " + std::to_string(status);
  if (!line.empty()) message += ": " + printable(line.substr(0, 200));
  if (status == 404) message += "\nIs this the engine's socket? The client's is DATA/davit.sock.";
  throw base::Corrupt(message);
}

}  // namespace

std::vector<std::string> socket_candidates(const std::string& option) {
  if (!option.empty()) return {option};
  if (const std::string socket = environment("DAVIT_SOCKET"); !socket.empty()) return {socket};
  if (const std::string data = environment("DAVIT_DATA"); !data.empty())
    return {data + "/davit.sock"};
  std::vector<std::string> candidates;
  const auto add = [&](const std::string& path) {
    for (const std::string& known : candidates)
      if (known == path) return;
    if (!path.empty()) candidates.push_back(path);
  };
  add(beside_executable());
  add("/var/lib/davit/davit.sock");
  if (const std::string data = environment("XDG_DATA_HOME"); !data.empty())
    add(data + "/davit/davit.sock");
  else if (const std::string home = environment("HOME"); !home.empty())
    add(home + "/.local/share/davit/davit.sock");
  return candidates;
}

base::Fd connect_to_daemon(const std::vector<std::string>& candidates) {
  std::string tried;
  bool forbidden = false;
  int number = 0;
  for (const std::string& path : candidates) {
    base::Fd socket;
    const int error = try_connect(path, socket);
    if (error == 0) return socket;
    if (number == 0 || number == ENOENT) number = error;  // the most telling one
    forbidden = forbidden || error == EACCES || error == EPERM;
    tried += "\n  " + printable(path) + ": " + std::generic_category().message(error);
  }
  std::string advice;
  if (forbidden) {
    advice = "\nYou may not speak to it: try again with sudo.";
  } else {
    advice =
        "\nIs it running? Look with 'docker plugin ls' (its managed plugin) or 'systemctl status "
        "davitd' (the service)."
        "\nIf it keeps its data elsewhere, say where: --socket FILE, or DAVIT_SOCKET=FILE, or "
        "DAVIT_DATA=DIRECTORY.";
  }
  throw base::IoError("no daemon answers:" + tried + advice, number);
}

void exchange(const base::Fd& socket, const Exchange& request,
              const std::function<void(std::string_view)>& on_line) {
  std::string head =
      request.method + " " + request.path + " HTTP/1.1\r\nHost: davit\r\nConnection: close\r\n";
  if (request.method == "POST")
    head +=
        "Content-Type: application/json\r\nContent-Length: " + std::to_string(request.body.size()) +
        "\r\n";
  send_all(socket, head + "\r\n" + request.body, request);

  HttpResponse response([&](std::string_view line) {
    if (response.status() != 200) refuse_status(response.status(), line);
    on_line(line);
  });
  std::string buffer(64 << 10, '\0');
  while (!response.complete()) {
    wait_for(socket, POLLIN, request);
    const ssize_t got = ::recv(socket.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    const int number = errno;
    if (got > 0) {
      response.feed(std::string_view(buffer).substr(0, static_cast<size_t>(got)));
    } else if (got == 0) {
      response.end_of_stream();
    } else if (number == ECONNRESET) {
      throw base::Corrupt("the daemon's answer broke off");
    } else if (number != EINTR && number != EAGAIN) {
      base::throw_errno("cannot read from the daemon", number);
    }
  }
  if (response.status() != 200) refuse_status(response.status(), "");
}

}  // namespace davit::cli
