// The repository's small JSON files: config, keys and locks. Encoded as restic writes them; parsing
// ignores unknown fields, bounds sizes and throws Corrupt.
#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/id.h"
#include "crypto/seal.h"
#include "repo/chunker.h"
#include "repo/snapshot.h"

namespace davit::repo {

struct ConfigFile {
  uint32_t version = 2;  // 1 or 2
  base::Id id;           // random; names the repository
  Polynomial chunker_polynomial;

  bool operator==(const ConfigFile&) const = default;
};

base::Bytes encode_config(const ConfigFile& config);
// Throws Unsupported for a version other than 1 and 2, Corrupt for a polynomial that no chunker can
// use.
ConfigFile parse_config(base::ByteView json);

// keys/ID, stored in the clear. `data` is the master key's JSON, sealed with the key that scrypt
// makes of the password.
struct KeyFile {
  ZonedTime created;
  std::string username, hostname;
  uint64_t scrypt_n = 0;
  uint32_t scrypt_r = 0, scrypt_p = 0;
  base::Bytes salt;  // 64 bytes
  base::Bytes data;

  bool operator==(const KeyFile&) const = default;
};

base::Bytes encode_key_file(const KeyFile& file);
// Throws Unsupported for a key derivation other than scrypt. Whether the parameters are affordable
// is crypto::derive()'s matter.
KeyFile parse_key_file(base::ByteView json);

// The plaintext of KeyFile::data.
base::Bytes encode_master_key(const crypto::Key& key);
crypto::Key parse_master_key(base::ByteView json);

struct LockFile {
  ZonedTime time;
  bool exclusive = false;
  std::string hostname, username;
  int64_t pid = 0;
  uint32_t uid = 0, gid = 0;

  bool operator==(const LockFile&) const = default;
};

base::Bytes encode_lock(const LockFile& lock);
LockFile parse_lock(base::ByteView json);

}  // namespace davit::repo
