#include "wire/ssh_connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
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

// A call that reads so often what is not there will do so for ever.
constexpr unsigned kEmptyReads = 10'000;

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

// Calls it until it does not ask to wait any more, which on a connection that was cut is soon.
template <typename Call>
void finish(Call call) {
  for (int i = 0; i < 100 && call() == LIBSSH2_ERROR_EAGAIN;) ++i;
}

int milliseconds_until(steady_clock::time_point time) {
  const auto left = ceil<milliseconds>(time - steady_clock::now()).count();
  return static_cast<int>(std::clamp<int64_t>(left, 0, 1000));
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
  session_ = libssh2_session_init_ex(nullptr, nullptr, nullptr, this);
  if (session_ == nullptr) throw std::bad_alloc();
  libssh2_session_callback_set(session_, LIBSSH2_CALLBACK_RECV,
                               reinterpret_cast<void*>(&SshConnection::receive));
  try {
    open_socket();
    log_in();
  } catch (...) {
    cut();
    // It frees what it has of it only when it ends.
    if (shaking_hands_)
      finish([&] { return libssh2_session_handshake(session_, socket_.get()); });
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
  // What it still knows of requests without an answer goes with this only.
  if (sftp_ != nullptr) finish([&] { return libssh2_sftp_shutdown(sftp_); });
  finish([&] { return libssh2_session_free(session_); });
}

void SshConnection::cut() {
  usable_ = false;
  if (socket_) ::shutdown(socket_.get(), SHUT_RDWR);
}

// As libssh2's own, but that it has an end: up to 1.10 libssh2 reads for ever where the channel ends
// within an SFTP packet.
ssize_t SshConnection::receive(libssh2_socket_t fd, void* buffer, size_t length, int flags,
                               void** self) {
  auto& connection = *static_cast<SshConnection*>(*self);
  const ssize_t count = ::recv(fd, buffer, length, flags);
  if (count >= 0) {
    connection.empty_reads_ = 0;
    return count;
  }
  const int number = errno;
  if (number != EAGAIN && number != EWOULDBLOCK && number != EINTR) return -number;
  return ++connection.empty_reads_ > kEmptyReads ? -ECONNRESET : -EAGAIN;
}

bool SshConnection::is_connected() const {
  char byte;
  const ssize_t count = ::recv(socket_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return count > 0 || (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK));
}

void SshConnection::open_socket() {
  const Addresses addresses = look_up(server_);
  int left = 0;
  for (const addrinfo* address = addresses.get(); address; address = address->ai_next) ++left;
  for (const addrinfo* address = addresses.get(); address; address = address->ai_next, --left) {
    // One that is silent leaves the others their share of the time.
    const auto now = steady_clock::now();
    try {
      return connect_to(*address, now + (*connect_until_ - now) / left);
    } catch (const base::IoError&) {
      if (address->ai_next == nullptr) throw;
    }
  }
}

void SshConnection::connect_to(const addrinfo& address, steady_clock::time_point until) {
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
  for (int count = 0; count != 1;) {
    count = ::poll(&ready, 1, milliseconds_until(until));
    if (count < 0 && errno != EINTR) {
      const int number = errno;
      refuse(number);
    }
    if (count == 1) break;
    if (base::patience().stop.stop_requested()) throw base::Cancelled();
    if (steady_clock::now() >= until) refuse(ETIMEDOUT);
  }
  int number = 0;
  socklen_t size = sizeof number;
  ::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &number, &size);
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
  shaking_hands_ = true;
  const int shaken = run([&] { return libssh2_session_handshake(session_, socket_.get()); });
  shaking_hands_ = false;
  if (shaken != 0)
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
  empty_reads_ = 0;
  // Nothing that is waited for will come any more, though the server be alive.
  if (sftp_ != nullptr && libssh2_channel_eof(libssh2_sftp_get_channel(sftp_)) == 1)
    give_up("its SFTP process has ended", EPIPE);
  const int directions = libssh2_session_block_directions(session_);
  pollfd ready{socket_.get(), 0, 0};
  if ((directions & LIBSSH2_SESSION_BLOCK_OUTBOUND) != 0) ready.events |= POLLOUT;
  if ((directions & LIBSSH2_SESSION_BLOCK_INBOUND) != 0 || directions == 0) ready.events |= POLLIN;
  for (;;) {
    const auto now = steady_clock::now();
    const milliseconds limit = access_.deadlines.idle;
    if (connect_until_ && now >= *connect_until_)
      give_up("not logged in within " + in_seconds(access_.deadlines.connect), ETIMEDOUT);
    if (!connect_until_ && now >= last_sign_ + limit)
      give_up("no sign of life for " + in_seconds(limit), ETIMEDOUT);
    if (!connect_until_ && now >= began_ + 3 * limit)
      give_up("no answer for " + in_seconds(3 * limit), ETIMEDOUT);
    if (hurry_until_ && now >= *hurry_until_) give_up("no answer in time", ETIMEDOUT);
    auto until =
        connect_until_ ? *connect_until_ : std::min(last_sign_ + limit, began_ + 3 * limit);
    if (hurry_until_) until = std::min(until, *hurry_until_);
    const int count = ::poll(&ready, 1, milliseconds_until(until));
    if (count > 0) {
      last_sign_ = steady_clock::now();
      if ((ready.revents & POLLOUT) != 0) began_ = last_sign_;
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
  const auto for_good = [&] { throw base::IoError(what + ": " + why, 0, false); };
  switch (was_connected ? code : LIBSSH2_ERROR_SOCKET_DISCONNECT) {
    // Nobody else will be there the next time.
    case LIBSSH2_ERROR_KEX_FAILURE:
    case LIBSSH2_ERROR_METHOD_NONE:
    case LIBSSH2_ERROR_METHOD_NOT_SUPPORTED:
    case LIBSSH2_ERROR_CHANNEL_REQUEST_DENIED:
      for_good();
      break;
    case LIBSSH2_ERROR_CHANNEL_FAILURE:
      // "Unable to request SFTP subsystem"; else the server has no room for one more channel.
      if (why.find("subsystem") != why.npos) for_good();
      break;
    default:
      break;
  }
  throw NoAnswer(what + ": " + why + " (" + std::to_string(code) + ")", ECONNRESET, true);
}

}  // namespace davit::wire
