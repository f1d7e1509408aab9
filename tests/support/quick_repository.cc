#include "support/quick_repository.h"

#include "crypto/scrypt.h"
#include "crypto/seal.h"
#include "crypto/sha256.h"
#include "repo/small_files.h"
#include "store/open.h"

namespace davit::test {

void make_quick_repository(const std::string& path, const std::string& password) {
  const auto store = store::open_store(path);
  store->prepare();
  const crypto::Key master = crypto::Key::random();

  repo::KeyFile key;
  key.created.time = base::parse_rfc3339("2026-11-01T00:00:00Z");
  key.hostname = "test";
  key.username = "test";
  key.scrypt_n = 16;
  key.scrypt_r = 8;
  key.scrypt_p = 1;
  key.salt.resize(64);
  crypto::random_bytes(key.salt);
  const auto user = crypto::Key::from_bytes(
      crypto::derive(password, key.salt, key.scrypt_n, key.scrypt_r, key.scrypt_p));
  crypto::seal(user, repo::encode_master_key(master), key.data);
  const base::Bytes json = repo::encode_key_file(key);
  store->put({store::Kind::key, crypto::sha256(json)}, json);

  repo::ConfigFile config;
  crypto::random_bytes(config.id.bytes);
  config.chunker_polynomial = repo::Polynomial::parse("3da3358b4dc173");
  base::Bytes sealed;
  crypto::seal(master, repo::encode_config(config), sealed);
  store->put(store::Name{}, sealed);
}

}  // namespace davit::test
