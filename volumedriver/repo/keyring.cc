#include "repo/keyring.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include "base/errors.h"
#include "crypto/scrypt.h"
#include "crypto/sha256.h"
#include "repo/small_files.h"

namespace davit::repo {

namespace {

using base::Bytes;
using base::Id;
using store::Kind;

constexpr size_t kMaxKeysTried = 20;  // as restic: each costs a third of a second
constexpr uint64_t kMaxKeyFile = 1 << 20;
constexpr size_t kSaltSize = 64;

std::vector<Id> key_ids(store::Store& store) {
  std::vector<Id> ids;
  store.list(Kind::key, [&](const store::FileInfo& file) { ids.push_back(file.id); });
  return ids;
}

KeyFile load_key(store::Store& store, const Id& id) {
  const store::Name name{Kind::key, id};
  const auto is_whole = [&](base::ByteView bytes) { return crypto::sha256(bytes) == id; };
  Bytes json = store.get(name, kMaxKeyFile);
  if (!is_whole(json) && store.heal(name, is_whole)) json = store.get(name, kMaxKeyFile);
  if (!is_whole(json)) throw base::Corrupt("key " + id.hex() + " has another hash");
  return parse_key_file(json);
}

crypto::Key user_key(std::string_view password, const KeyFile& file) {
  return crypto::Key::from_bytes(
      crypto::derive(password, file.salt, file.scrypt_n, file.scrypt_r, file.scrypt_p));
}

}  // namespace

OpenedKey open_with_password(store::Store& store, std::string_view password) {
  std::vector<Id> ids = key_ids(store);
  if (ids.empty()) throw base::NoRepository(store.describe() + " has no keys");
  if (ids.size() > kMaxKeysTried) ids.resize(kMaxKeysTried);
  std::string damaged;
  for (const Id& id : ids) {
    KeyFile file;
    crypto::Key user;
    try {
      file = load_key(store, id);
      user = user_key(password, file);
    } catch (const base::NotFound&) {
      continue;  // removed since the listing
    } catch (const base::IoError&) {
      throw;  // the store cannot be read: that says nothing of the password
    } catch (const base::Error& error) {
      // A damaged file must not lock out those whose key is whole.
      damaged = error.what();
      continue;
    }
    Bytes plain;
    try {
      plain = crypto::open(user, file.data);
    } catch (const base::Corrupt&) {
      continue;  // another's key
    }
    return {id, parse_master_key(plain)};
  }
  throw base::WrongPassword("no key of the repository in " + store.describe() +
                            " opens with this password" +
                            (damaged.empty() ? "" : " (and one is damaged: " + damaged + ")"));
}

Id add_key(store::Store& store, const crypto::Key& master, std::string_view password,
           const std::string& user, const std::string& host) {
  if (password.empty()) throw base::UsageError("the password of a repository cannot be empty");
  DAVIT_CHECK(master.is_valid());
  KeyFile file;
  file.created.time =
      std::chrono::time_point_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now());
  file.username = user;
  file.hostname = host;
  file.scrypt_n = crypto::kScryptN;
  file.scrypt_r = crypto::kScryptR;
  file.scrypt_p = crypto::kScryptP;
  file.salt.resize(kSaltSize);
  crypto::random_bytes(file.salt);
  const crypto::Key key = user_key(password, file);
  crypto::seal(key, encode_master_key(master), file.data);

  // A key that does not open what it should would be found out only when it is needed.
  const Bytes json = encode_key_file(file);
  const KeyFile again = parse_key_file(json);
  if (again != file || parse_master_key(crypto::open(key, again.data)) != master)
    throw base::Corrupt("a new key did not read back as it was written");
  const Id id = crypto::sha256(json);
  store.put({Kind::key, id}, json);
  return id;
}

std::vector<KeyInfo> list_keys(store::Store& store) {
  std::vector<KeyInfo> keys;
  for (const Id& id : key_ids(store)) {
    try {
      KeyFile file = load_key(store, id);
      keys.push_back(
          {id, std::move(file.username), std::move(file.hostname), format(file.created)});
    } catch (const base::NotFound&) {  // removed since the listing
    } catch (const base::Corrupt& error) {
      keys.push_back({id, "", "", std::string("damaged: ") + error.what()});
    }
  }
  std::sort(keys.begin(), keys.end(), [](const KeyInfo& a, const KeyInfo& b) {
    return std::pair(a.created, a.id) < std::pair(b.created, b.id);
  });
  return keys;
}

void remove_key(store::Store& store, const std::string& prefix, const Id& in_use) {
  if (prefix.empty()) throw base::UsageError("which key? name it by the first digits of its ID");
  const std::vector<Id> ids = key_ids(store);
  std::vector<Id> meant;
  std::copy_if(ids.begin(), ids.end(), std::back_inserter(meant),
               [&](const Id& id) { return id.hex().starts_with(prefix); });
  if (meant.empty()) throw base::NotFound("there is no key " + prefix);
  if (meant.size() > 1) throw base::UsageError("several keys begin with " + prefix);
  if (meant.front() == in_use)
    throw base::Conflict("key " + meant.front().short_hex() +
                         " is in use: open the repository with another password to remove it");
  if (ids.size() == 1) throw base::Conflict("this is the only key: without it nothing can be read");
  store.remove({Kind::key, meant.front()});
}

}  // namespace davit::repo
