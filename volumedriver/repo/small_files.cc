#include "repo/small_files.h"

#include "base/errors.h"
#include "repo/json_reader.h"
#include "repo/json_writer.h"

namespace davit::repo {
namespace {

// Shared by keys and locks: a field that is left out when it is zero.
void write_nonzero(JsonWriter& json, std::string_view field, uint32_t value) {
  if (value == 0) return;
  json.raw(field);
  json.number(value);
}

template <size_t size>
void read_key_part(JsonReader& json, std::array<uint8_t, size>& part) {
  const base::Bytes bytes = json.base64();
  if (bytes.size() != size) json.fail("a key of another length");
  std::copy(bytes.begin(), bytes.end(), part.begin());
}

}  // namespace

base::Bytes encode_config(const ConfigFile& config) {
  base::Bytes bytes;
  JsonWriter json(bytes);
  json.raw("{\"version\":");
  json.number(config.version);
  json.raw(",\"id\":");
  json.id(config.id);
  json.raw(",\"chunker_polynomial\":");
  json.string(config.chunker_polynomial.format());
  json.raw("}");
  return bytes;
}

ConfigFile parse_config(base::ByteView bytes) {
  JsonReader json(bytes, "repository config");
  ConfigFile config;
  config.version = 0;
  bool has_id = false;
  for (json.begin_object(); json.next_key();) {
    if (json.take_null()) continue;
    if (json.key() == "version")
      config.version = json.uint32();
    else if (json.key() == "id") {
      config.id = json.id();
      has_id = true;
    } else if (json.key() == "chunker_polynomial")
      config.chunker_polynomial = Polynomial::parse(json.string());
    else
      json.skip();
  }
  json.finish();
  if (config.version < 1 || config.version > 2) {
    throw base::Unsupported("the repository has format version " + std::to_string(config.version) +
                            "; this program knows 1 and 2");
  }
  if (!has_id) json.fail("the repository's ID is missing");
  const Chunker usable(config.chunker_polynomial);
  return config;
}

base::Bytes encode_key_file(const KeyFile& file) {
  base::Bytes bytes;
  JsonWriter json(bytes);
  json.raw("{\"created\":");
  json.string(format(file.created));
  json.raw(",\"username\":");
  json.string(file.username);
  json.raw(",\"hostname\":");
  json.string(file.hostname);
  json.raw(",\"kdf\":\"scrypt\",\"N\":");
  json.number(file.scrypt_n);
  json.raw(",\"r\":");
  json.number(file.scrypt_r);
  json.raw(",\"p\":");
  json.number(file.scrypt_p);
  json.raw(",\"salt\":");
  json.base64(file.salt);
  json.raw(",\"data\":");
  json.base64(file.data);
  json.raw("}");
  return bytes;
}

KeyFile parse_key_file(base::ByteView bytes) {
  JsonReader json(bytes, "key file");
  KeyFile file;
  std::string derivation;
  for (json.begin_object(); json.next_key();) {
    if (json.take_null()) continue;
    const std::string_view key = json.key();
    if (key == "created")
      file.created = parse_zoned_time(json.string());
    else if (key == "username")
      file.username = json.string();
    else if (key == "hostname")
      file.hostname = json.string();
    else if (key == "kdf")
      derivation = json.string();
    else if (key == "N")
      file.scrypt_n = json.uint64();
    else if (key == "r")
      file.scrypt_r = json.uint32();
    else if (key == "p")
      file.scrypt_p = json.uint32();
    else if (key == "salt")
      file.salt = json.base64();
    else if (key == "data")
      file.data = json.base64();
    else
      json.skip();
  }
  json.finish();
  if (derivation != "scrypt") {
    throw base::Unsupported("a key file derives its key in an unknown way: only scrypt is known");
  }
  if (file.salt.size() != 64) json.fail("the salt has not 64 bytes");
  if (file.data.size() <= crypto::kSealOverhead) json.fail("there is no key in it");
  return file;
}

base::Bytes encode_master_key(const crypto::Key& key) {
  base::Bytes bytes;
  JsonWriter json(bytes);
  json.raw("{\"mac\":{\"k\":");
  json.base64(key.mac_k);
  json.raw(",\"r\":");
  json.base64(key.mac_r);
  json.raw("},\"encrypt\":");
  json.base64(key.encrypt);
  json.raw("}");
  return bytes;
}

crypto::Key parse_master_key(base::ByteView bytes) {
  JsonReader json(bytes, "master key");
  crypto::Key key;
  for (json.begin_object(); json.next_key();) {
    if (json.take_null()) continue;
    if (json.key() == "encrypt") {
      read_key_part(json, key.encrypt);
    } else if (json.key() == "mac") {
      for (json.begin_object(); json.next_key();) {
        if (json.take_null()) continue;
        if (json.key() == "k")
          read_key_part(json, key.mac_k);
        else if (json.key() == "r")
          read_key_part(json, key.mac_r);
        else
          json.skip();
      }
    } else {
      json.skip();
    }
  }
  json.finish();
  if (!key.is_valid()) json.fail("a part of it is missing or zero");
  return key;
}

base::Bytes encode_lock(const LockFile& lock) {
  base::Bytes bytes;
  JsonWriter json(bytes);
  json.raw("{\"time\":");
  json.string(format(lock.time));
  json.raw(lock.exclusive ? ",\"exclusive\":true" : ",\"exclusive\":false");
  json.raw(",\"hostname\":");
  json.string(lock.hostname);
  json.raw(",\"username\":");
  json.string(lock.username);
  json.raw(",\"pid\":");
  json.signed_number(lock.pid);
  write_nonzero(json, ",\"uid\":", lock.uid);
  write_nonzero(json, ",\"gid\":", lock.gid);
  json.raw("}");
  return bytes;
}

LockFile parse_lock(base::ByteView bytes) {
  JsonReader json(bytes, "lock");
  LockFile lock;
  bool has_time = false;
  for (json.begin_object(); json.next_key();) {
    if (json.take_null()) continue;
    const std::string_view key = json.key();
    if (key == "time") {
      lock.time = parse_zoned_time(json.string());
      has_time = true;
    } else if (key == "exclusive")
      lock.exclusive = json.boolean();
    else if (key == "hostname")
      lock.hostname = json.string();
    else if (key == "username")
      lock.username = json.string();
    else if (key == "pid")
      lock.pid = json.int64();
    else if (key == "uid")
      lock.uid = json.uint32();
    else if (key == "gid")
      lock.gid = json.uint32();
    else
      json.skip();
  }
  json.finish();
  if (!has_time) json.fail("its time is missing");
  return lock;
}

}  // namespace davit::repo
