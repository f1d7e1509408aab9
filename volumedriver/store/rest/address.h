// Where a repository on a REST server is, from restic's notation:
// rest:https://user:pass@host:8000/repo/
#pragma once

#include <string>

namespace davit::store::rest {

struct Login {
  std::string user, password;  // "": none
};

struct Address {
  std::string url;  // "https://host:8000/repo/", with the '/' at its end
  Login login;      // what the URL says
};

// Throws UsageError, which does not repeat the URL: it may hold a password.
Address parse_address(const std::string& url);
// As a user would write it, without user and password.
std::string to_string(const Address& address);

}  // namespace davit::store::rest
