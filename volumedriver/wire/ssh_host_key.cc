#include "wire/ssh_host_key.h"

#include <array>
#include <string_view>

#include "base/files.h"
#include "wire/http_client.h"

namespace davit::wire {

namespace {

struct KeyType {
  int known_host;    // LIBSSH2_KNOWNHOST_KEY_…
  int host_key;      // LIBSSH2_HOSTKEY_TYPE_…
  const char* name;  // in a known_hosts file
  const char* methods;
};
constexpr std::array<KeyType, 5> kKeyTypes{{
    {LIBSSH2_KNOWNHOST_KEY_ED25519, LIBSSH2_HOSTKEY_TYPE_ED25519, "ssh-ed25519", "ssh-ed25519"},
    {LIBSSH2_KNOWNHOST_KEY_ECDSA_256, LIBSSH2_HOSTKEY_TYPE_ECDSA_256, "ecdsa-sha2-nistp256",
     "ecdsa-sha2-nistp256"},
    {LIBSSH2_KNOWNHOST_KEY_ECDSA_384, LIBSSH2_HOSTKEY_TYPE_ECDSA_384, "ecdsa-sha2-nistp384",
     "ecdsa-sha2-nistp384"},
    {LIBSSH2_KNOWNHOST_KEY_ECDSA_521, LIBSSH2_HOSTKEY_TYPE_ECDSA_521, "ecdsa-sha2-nistp521",
     "ecdsa-sha2-nistp521"},
    {LIBSSH2_KNOWNHOST_KEY_SSHRSA, LIBSSH2_HOSTKEY_TYPE_RSA, "ssh-rsa",
     "rsa-sha2-512,rsa-sha2-256,ssh-rsa"},
}};

const KeyType* find_type(int host_key) {
  for (const KeyType& type : kKeyTypes)
    if (type.host_key == host_key) return &type;
  return nullptr;
}

std::string name_in_file(const std::string& host, uint16_t port) {
  return port == 22 ? host : "[" + host + "]:" + std::to_string(port);
}

// "SHA256:…", as ssh-keygen -l shows it.
std::string fingerprint(LIBSSH2_SESSION* session) {
  const char* hash = libssh2_hostkey_hash(session, LIBSSH2_HOSTKEY_HASH_SHA256);
  if (hash == nullptr) return "of an unknown kind";
  std::string text = base::base64(base::as_bytes({hash, 32}));
  while (text.ends_with('=')) text.pop_back();
  return "SHA256:" + text;
}

}  // namespace

KnownHosts::KnownHosts(LIBSSH2_SESSION* session, std::string file, const std::string& host,
                       uint16_t port)
    : session_(session),
      file_(std::move(file)),
      name_(name_in_file(host, port)),
      hosts_(libssh2_knownhost_init(session)) {
  if (hosts_ == nullptr) throw std::bad_alloc();
  try {
    const auto bytes = base::find_file(file_);
    read(bytes ? std::string(base::as_text(*bytes)) : "");
  } catch (...) {
    libssh2_knownhost_free(hosts_);
    throw;
  }
}

void KnownHosts::read(const std::string& text) {
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = text.substr(at, end - at);
    at = end + 1;
    const size_t first = line.find_first_not_of(" \t\r");
    if (first == std::string::npos || line[first] == '#') continue;
    // A revoked key that is only skipped might be trusted by another line.
    if (line[first] == '@')
      throw Untrusted(file_ +
                          " has a line that begins with '@', which is not supported here: use "
                          "a file of its own that has the host's plain keys",
                      0);
    // What it cannot read (a kind of key that came later) matches no host.
    libssh2_knownhost_readline(hosts_, line.data(), line.size(), LIBSSH2_KNOWNHOST_FILE_OPENSSH);
  }
}

std::string KnownHosts::methods() const {
  std::string methods;
  for (const KeyType& type : kKeyTypes) {
    libssh2_knownhost* entry = nullptr;
    while (libssh2_knownhost_get(hosts_, &entry, entry) == 0) {
      if ((entry->typemask & LIBSSH2_KNOWNHOST_KEY_MASK) != type.known_host) continue;
      // Names may be hashed, so that only this tells whose the key is.
      const int mask =
          LIBSSH2_KNOWNHOST_TYPE_PLAIN | LIBSSH2_KNOWNHOST_KEYENC_BASE64 | type.known_host;
      if (libssh2_knownhost_checkp(hosts_, name_.c_str(), -1, entry->key, 0, mask, nullptr) !=
          LIBSSH2_KNOWNHOST_CHECK_MATCH)
        continue;
      methods += (methods.empty() ? "" : ",") + std::string(type.methods);
      break;
    }
  }
  return methods;
}

void KnownHosts::check() const {
  size_t length = 0;
  int kind = LIBSSH2_HOSTKEY_TYPE_UNKNOWN;
  const char* key = libssh2_session_hostkey(session_, &length, &kind);
  const KeyType* type = find_type(kind);
  if (key == nullptr || type == nullptr)
    throw Untrusted(name_ +
                        " shows a host key of a kind that is not supported here: it needs an "
                        "ed25519, ecdsa or rsa one",
                    0);
  const std::string text = base::base64(base::as_bytes({key, length}));
  const int mask = LIBSSH2_KNOWNHOST_TYPE_PLAIN | LIBSSH2_KNOWNHOST_KEYENC_BASE64;
  const int found = libssh2_knownhost_checkp(hosts_, name_.c_str(), -1, text.c_str(), text.size(),
                                             mask | type->known_host, nullptr);
  if (found == LIBSSH2_KNOWNHOST_CHECK_MATCH) return;
  const std::string shown = std::string(type->name) + " " + fingerprint(session_);
  const std::string line = name_ + " " + type->name + " " + text;
  if (found == LIBSSH2_KNOWNHOST_CHECK_MISMATCH)
    throw Untrusted("the host key of " + name_ + " is not the one in " + file_ + ": it is now " +
                        shown +
                        ". Somebody may be listening in, or the server was set up anew: compare "
                        "with `ssh-keygen -lf /etc/ssh/ssh_host_"
                        "*_key.pub` there, and only then "
                        "replace its line in that file with: " +
                        line,
                    0);
  throw Untrusted("the host key of " + name_ + " is not known: it is " + shown +
                      ". Compare that with `ssh-keygen -lf /etc/ssh/ssh_host_"
                      "*_key.pub` there, "
                      "and only then add this line to " +
                      file_ + ": " + line,
                  0);
}

}  // namespace davit::wire
