// Whether an SSH server is the one that is meant: its host key against a known_hosts file of
// OpenSSH's format. A key is never learnt; a host that the file does not know is refused.
#pragma once

#include <libssh2.h>

#include <string>

namespace davit::wire {

class KnownHosts {
 public:
  // Reads `file`, which lists `host` and `port`, hashed or not, among others. `session` must
  // outlive it. Throws Untrusted where there is no such file or it cannot be used.
  KnownHosts(LIBSSH2_SESSION* session, std::string file, const std::string& host, uint16_t port);
  ~KnownHosts() { libssh2_knownhost_free(hosts_); }
  KnownHosts(const KnownHosts&) = delete;
  KnownHosts& operator=(const KnownHosts&) = delete;

  // Those kinds of keys that the file has of this host, as SSH names them, so that the server shows
  // one of them; "": it has none.
  std::string methods() const;
  // Of the server that the session has shaken hands with. Throws Untrusted, saying its fingerprint
  // and what to do.
  void check() const;

 private:
  void read(const std::string& text);

  LIBSSH2_SESSION* const session_;
  const std::string file_;
  const std::string name_;  // as it stands in the file: "host", "[host]:2222"
  LIBSSH2_KNOWNHOSTS* hosts_;
};

}  // namespace davit::wire
