// Where a directory on an SFTP server is, from restic's notation:
//   sftp:user@host:/path   sftp://user@host:port//path
// In both a path without a second '/' begins where the server puts the user, mostly at home.
#pragma once

#include <string>

#include "wire/sftp_client.h"

namespace davit::store::sftp {

struct Address {
  wire::SftpServer server;  // `user` may be "": the one who runs this
  std::string path;         // "/srv/backup", "backup", "."; no '/' at its end but in "/"
};

// Throws UsageError, which does not repeat the URL: it may hold what was meant to be secret.
Address parse_address(const std::string& url);
// As a user would write it.
std::string to_string(const Address& address);

}  // namespace davit::store::sftp
