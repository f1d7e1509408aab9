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
  // sign of life, Cancelled where the caller's stop (base/patience.h) is requested and it gives
  // none for a second.
  template <typename Call>
  auto run(Call call) {
    last_sign_ = std::chrono::steady_clock::now();
    for (;;) {
      const auto result = call();
      if (!must_wait(result)) return result;
      wait();
    }
  }
  // What libssh2 said to the last call. Cuts.
  [[noreturn]] void fail(const std::string& what);

 private:
  void open_socket();
  void log_in();
  void connect_to(const addrinfo& address);
  bool is_connected() const;  // as far as is known here
  void wait();
  void free();
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
  std::chrono::steady_clock::time_point last_sign_;
  // While it connects.
  std::optional<std::chrono::steady_clock::time_point> connect_until_;
};

}  // namespace davit::wire
