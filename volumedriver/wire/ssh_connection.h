// One connection to an SSH server, logged in, with its SFTP channel open: libssh2, which libcurl
// has beneath its own SFTP.
//
// One thread at a time. What fails on the wire ends the connection: it throws NoAnswer, or
// Untrusted where the server is not known or does not let us in, and is_usable() is false from then
// on.
#pragma once

#include <libssh2.h>
#include <libssh2_sftp.h>
#include <netdb.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "wire/sftp_client.h"

namespace davit::wire {

class SshConnection {
 public:
  // Connects and logs in, which takes `deadlines.connect` at most.
  SshConnection(const SftpServer& server, const SftpAccess& access);
  ~SshConnection();
  SshConnection(const SshConnection&) = delete;
  SshConnection& operator=(const SshConnection&) = delete;

  LIBSSH2_SESSION* session() const { return session_; }
  LIBSSH2_SFTP* sftp() const { return sftp_; }
  bool is_usable() const { return usable_; }
  // From now on nothing is waited for.
  void cut();

  // Calls it until libssh2 does not ask to wait any more. Throws NoAnswer where the server gives no
  // sign of life, or none but such (keep-alives) for thrice that time, Cancelled where the caller's
  // stop (base/patience.h) is requested and it gives none for a second.
  template <typename Call>
  auto run(Call call) {
    began_ = last_sign_ = std::chrono::steady_clock::now();
    empty_reads_ = 0;
    for (;;) {
      const auto result = call();
      if (!must_wait(result)) return result;
      wait();
    }
  }
  // What libssh2 said to the last call. Cuts.
  [[noreturn]] void fail(const std::string& what);

  // While it lives, calls have so much time in all.
  class Hurry {
   public:
    Hurry(SshConnection& connection, std::chrono::milliseconds limit) : connection_(connection) {
      connection_.hurry_until_ = std::chrono::steady_clock::now() + limit;
    }
    ~Hurry() { connection_.hurry_until_.reset(); }
    Hurry(const Hurry&) = delete;
    Hurry& operator=(const Hurry&) = delete;

   private:
    SshConnection& connection_;
  };

 private:
  void open_socket();
  void log_in();
  void connect_to(const addrinfo& address, std::chrono::steady_clock::time_point until);
  bool is_connected() const;  // as far as is known here
  void wait();
  void free();
  static ssize_t receive(libssh2_socket_t fd, void* buffer, size_t length, int flags,
                         void** self);
  [[noreturn]] void give_up(const std::string& why, int number);
  bool must_wait(ssize_t result) const { return result == LIBSSH2_ERROR_EAGAIN; }
  bool must_wait(const void* result) const {
    return result == nullptr && libssh2_session_last_errno(session_) == LIBSSH2_ERROR_EAGAIN;
  }

  const SftpServer& server_;
  const SftpAccess& access_;
  base::Fd socket_;
  LIBSSH2_SESSION* session_ = nullptr;
  LIBSSH2_SFTP* sftp_ = nullptr;
  bool usable_ = true;
  bool shaking_hands_ = false;
  unsigned empty_reads_ = 0;  // one after the other, without a wait between them
  // Of the call that runs: what it has sent last counts as its beginning.
  std::chrono::steady_clock::time_point began_, last_sign_;
  std::optional<std::chrono::steady_clock::time_point> hurry_until_;
  // While it connects.
  std::optional<std::chrono::steady_clock::time_point> connect_until_;
};

}  // namespace davit::wire
