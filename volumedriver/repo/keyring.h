// Key files: several passwords for one master key. A password never leaves this room.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/id.h"
#include "crypto/seal.h"
#include "repo/snapshot.h"
#include "store/store.h"

namespace davit::repo {

struct OpenedKey {
  base::Id id;
  crypto::Key master;
};
// Tries the key files in listing order (at most 20). Throws NoRepository (there is none), WrongPassword.
OpenedKey open_with_password(store::Store& store, std::string_view password);
// Writes a new key file for `master`; an empty password is a UsageError.
base::Id add_key(store::Store& store, const crypto::Key& master, std::string_view password,
                 const std::string& user, const std::string& host);
struct KeyInfo {
  base::Id id;
  std::string user, host, created;
};
std::vector<KeyInfo> list_keys(store::Store& store);
// Refuses (Conflict) the key `in_use` and the last one; NotFound where there is none. `prefix`: hex digits.
void remove_key(store::Store& store, const std::string& prefix, const base::Id& in_use);

}  // namespace davit::repo
