#include "wire/ssh_connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "base/files.h"
#include "base/patience.h"
#include "wire/http_client.h"
#include "wire/ssh_host_key.h"

namespace davit::wire {

using namespace std::chrono;

namespace {

void start_libssh2() {
  static const int code = libssh2_init(0);
  if (code != 0) throw base::Error("libssh2 cannot start");
}

struct FreeAddresses {
  void operator()(addrinfo* addresses) const { ::freeaddrinfo(addresses); }
};
using Addresses = std::unique_ptr<addrinfo, FreeAddresses>;

Addresses look_up(const SftpServer& server) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int code =
      ::getaddrinfo(server.host.c_str(), std::to_string(server.port).c_str(), &hints, &found);
  if (code != 0)
    throw base::IoError("cannot find the host " + server.host + ": " + ::gai_strerror(code), 0,
                        true);
  return Addresses(found);
}

std::string in_seconds(milliseconds time) {
  return std::to_string(duration_cast<seconds>(time).count()) + " s";
}

}  // namespace

SshConnection::SshConnection(const SftpServer& server, const SftpAccess& access)
    : server_(server), access_(access) {
  start_libssh2();
  last_sign_ = steady_clock::now();
  connect_until_ = last_sign_ + access.deadlines.connect;
  session_ = libssh2_session_init();
  if (session_ == nullptr) throw std::bad_alloc();
  try {
    open_socket();
    log_in();
  } catch (...) {
    cut();
    free();
    throw;
  }
  connect_until_.reset();
}

SshConnection::~SshConnection() {
  if (usable_) {
    libssh2_session_disconnect(session_, "done");  // politely, if that needs no waiting
    cut();
  }
  free();
}

// Nothing can be sent any more, so that nothing is waited for; it may still ask to once or twice.
void SshConnection::free() {
  const auto end = [](auto call) {
    for (int i = 0; i < 100 && call() == LIBSSH2_ERROR_EAGAIN;) ++i;
  };
  // What it still knows of requests without an answer goes with this only.
  if (sftp_ != nullptr) end([&] { return libssh2_sftp_shutdown(sftp_); });
  end([&] { return libssh2_session_free(session_); });
}

void SshConnection::cut() {
  usable_ = false;
  if (socket_) ::shutdown(socket_.get(), SHUT_RDWR);
}

bool SshConnection::is_connected() const {
  char byte;
  const ssize_t count = ::recv(socket_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return count > 0 || (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK));
}

void SshConnection::open_socket() {
  const Addresses addresses = look_up(server_);
  for (const addrinfo* address = addresses.get(); address; address = address->ai_next) {
    try {
      return connect_to(*address);
    } catch (const base::IoError&) {
      if (address->ai_next == nullptr) throw;
    }
  }
}

void SshConnection::connect_to(const addrinfo& address) {
  const auto refuse = [this](int number) {
    const bool hint = number == ECONNREFUSED;
    throw base::IoError("cannot connect to " + server_.host + " port " +
                            std::to_string(server_.port) + ": " + std::strerror(number) +
                            (hint ? "; does its sshd run, and is the port right?" : ""),
                        number, number != EACCES && number != EPERM);
  };
  socket_ = base::Fd(::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket_) {
    const int number = errno;
    refuse(number);
  }
  const int on = 1;
  ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  if (::connect(socket_.get(), address.ai_addr, address.ai_addrlen) == 0) return;
  if (const int number = errno; number != EINPROGRESS) refuse(number);
  pollfd ready{socket_.get(), POLLOUT, 0};
  const auto left = duration_cast<milliseconds>(*connect_until_ - steady_clock::now());
  int number = ETIMEDOUT;
  if (::poll(&ready, 1, static_cast<int>(std::max<int64_t>(left.count(), 0))) == 1) {
    socklen_t size = sizeof number;
    ::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &number, &size);
  }
  if (number != 0) refuse(number);
}

void SshConnection::log_in() {
  libssh2_session_set_blocking(session_, 0);
  const KnownHosts known(session_, access_.known_hosts_file, server_.host, server_.port);
  // Else it would show the kind that it likes best, and that may be one which the file does not
  // have.
  const std::string methods = known.methods();
  if (!methods.empty())
    libssh2_session_method_pref(session_, LIBSSH2_METHOD_HOSTKEY, methods.c_str());
  if (run([&] { return libssh2_session_handshake(session_, socket_.get()); }) != 0)
    fail("cannot speak SSH with " + server_.host +
         (methods.empty() ? "" : ", which has to show a host key of " + methods));
  known.check();

  if (!base::find_file(access_.key_file, 1 << 20))
    throw Untrusted("there is no key file " + access_.key_file +
                        ": make one with `ssh-keygen -t ed25519`, name it in DAVIT_SFTP_KEY_FILE, "
                        "and add the line in its .pub file to ~/.ssh/authorized_keys of " +
                        server_.user + " on " + server_.host,
                    ENOENT);
  const std::string passphrase = access_.passphrase ? access_.passphrase() : "";
  const int code = run([&] {
    return libssh2_userauth_publickey_fromfile(session_, server_.user.c_str(), nullptr,
                                               access_.key_file.c_str(), passphrase.c_str());
  });
  // These come from a connection that has ended, too.
  if ((code == LIBSSH2_ERROR_AUTHENTICATION_FAILED || code == LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED) &&
      is_connected())
    throw Untrusted(server_.host + " does not let " + server_.user + " in with the key " +
                        access_.key_file +
                        ": is its public half in ~/.ssh/authorized_keys there? Of RSA keys many "
                        "servers refuse the signature that is made here: take an ed25519 one",
                    EACCES);
  if (code == LIBSSH2_ERROR_FILE || code == LIBSSH2_ERROR_KEYFILE_AUTH_FAILED)
    throw Untrusted("the key file " + access_.key_file +
                        " cannot be used: it is no private key of OpenSSH's or PEM format, or its "
                        "passphrase is another one (DAVIT_SFTP_KEY_PASSPHRASE_FILE)",
                    0);
  if (code != 0) fail("cannot log in to " + server_.host + " as " + server_.user);
  sftp_ = run([&] { return libssh2_sftp_init(session_); });
  if (sftp_ == nullptr) fail(server_.host + " does not offer SFTP to " + server_.user);
}

void SshConnection::wait() {
  const int directions = libssh2_session_block_directions(session_);
  pollfd ready{socket_.get(), 0, 0};
  if ((directions & LIBSSH2_SESSION_BLOCK_OUTBOUND) != 0) ready.events |= POLLOUT;
  if ((directions & LIBSSH2_SESSION_BLOCK_INBOUND) != 0 || directions == 0) ready.events |= POLLIN;
  for (;;) {
    const milliseconds limit = connect_until_ ? access_.deadlines.connect : access_.deadlines.idle;
    const auto until = connect_until_ ? *connect_until_ : last_sign_ + limit;
    const auto left = duration_cast<milliseconds>(until - steady_clock::now());
    if (left.count() <= 0)
      give_up(connect_until_ ? "not logged in within " + in_seconds(limit)
                             : "no sign of life for " + in_seconds(limit),
              ETIMEDOUT);
    const int count =
        ::poll(&ready, 1, static_cast<int>(std::min<int64_t>(left.count() + 1, 1000)));
    if (count > 0) {
      last_sign_ = steady_clock::now();
      return;
    }
    if (count == 0 && base::patience().stop.stop_requested()) {
      cut();
      throw base::Cancelled();
    }
  }
}

void SshConnection::give_up(const std::string& why, int number) {
  cut();
  throw NoAnswer(server_.host + ": " + why, number, true);
}

void SshConnection::fail(const std::string& what) {
  char* text = nullptr;
  const int code = libssh2_session_last_error(session_, &text, nullptr, 0);
  const std::string why = text != nullptr && *text != '\0' ? text : "the connection was lost";
  const bool was_connected = is_connected();
  cut();
  switch (was_connected ? code : LIBSSH2_ERROR_SOCKET_DISCONNECT) {
    // Nobody else will be there the next time.
    case LIBSSH2_ERROR_KEX_FAILURE:
    case LIBSSH2_ERROR_METHOD_NONE:
    case LIBSSH2_ERROR_METHOD_NOT_SUPPORTED:
    case LIBSSH2_ERROR_CHANNEL_FAILURE:
    case LIBSSH2_ERROR_CHANNEL_REQUEST_DENIED:
      throw base::IoError(what + ": " + why, 0, false);
    default:
      throw NoAnswer(what + ": " + why + " (" + std::to_string(code) + ")", ECONNRESET, true);
  }
}

}  // namespace davit::wire
