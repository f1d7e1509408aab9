// Files on an SFTP server, by public key and known_hosts.
//
// A key is never learnt and no password sent. What an operation says about a path is the server's
// own answer; IoError is what it refuses, NoAnswer that none came (transient), Untrusted that the
// server is not known or does not let us in. Messages hold no secret.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/synchronized.h"
#include "wire/http_client.h"

namespace davit::wire {

class SshConnection;

struct SftpServer {
  std::string host, user;
  uint16_t port = 22;
};

struct SftpAccess {
  std::string key_file;          // a private key, OpenSSH's or PEM format
  std::string known_hosts_file;  // without a line of the server there is no connection
  // Of the key file; asked at each login. None, or "": it has none. May throw.
  std::function<std::string()> passphrase;
  // `total` does not count here.
  Deadlines deadlines = kStoreDeadlines;
};

struct SftpEntry {
  std::string name;  // of a listing only
  uint64_t size_bytes = 0;
  unsigned mode = 0;  // file type and permissions, as stat(2) has them; 0: the server does not say
  int64_t modified = 0;  // seconds since 1970, by the server's clock

  bool is_directory() const { return (mode & 0170000) == 0040000; }
  bool is_file() const { return (mode & 0170000) == 0100000 || mode == 0; }
};

// One connection. One thread at a time. Paths that do not begin with '/' begin where the server
// puts the user.
class SftpSession {
 public:
  SftpSession(const SftpServer& server, const SftpAccess& access);
  ~SftpSession();
  SftpSession(const SftpSession&) = delete;
  SftpSession& operator=(const SftpSession&) = delete;

  // Each of these says by an empty result that the server knows no such path.
  std::optional<SftpEntry> find(const std::string& path);
  std::optional<std::vector<SftpEntry>> list(const std::string& path);  // without "." and ".."
  // How much there was from `offset` on: less than `out.size()` at the end of the file.
  std::optional<uint64_t> read(const std::string& path, uint64_t offset, std::span<uint8_t> out);

  // Makes the file, or makes it anew, with exactly this; it is on the server's disk when this
  // returns, if the server can promise that (fsync@openssh.com). False where its directory is
  // missing. What fails leaves nothing, as far as the server can still be reached.
  bool write(const std::string& path, std::span<const base::ByteView> pieces, unsigned mode);
  // Writes what is known of an existing file to disk, its name included on file systems that do so
  // (ext4, XFS, btrfs), where the server can.
  void sync(const std::string& path);
  enum class Renamed : uint8_t { done, exists, no_such_path };
  // Never replaces: `exists` says that there is something under the new name.
  Renamed rename(const std::string& from, const std::string& to);
  // False where it is there already.
  bool make_directory(const std::string& path, unsigned mode);
  void set_mode(const std::string& path, unsigned mode);
  // False where there was none.
  bool remove(const std::string& path);

  bool is_usable() const;

 private:
  class Handle;
  bool is_absent() const;  // what the last call was refused for
  std::optional<Handle> open(const std::string& path, unsigned long flags, unsigned mode);
  void write_pieces(Handle& handle, std::span<const base::ByteView> pieces,
                    const std::string& path);
  void write_all(Handle& handle, base::ByteView bytes, const std::string& path);
  void sync(Handle& handle, const std::string& path);
  // For the last call. `needed_bytes`: if that does not fit on its file system, this is why.
  [[noreturn]] void refuse(const std::string& what, const std::string& path,
                           uint64_t needed_bytes = 0);

  std::unique_ptr<SshConnection> connection_;
};

// As many connections to a server as are used at once, up to a limit, kept for a while. Any thread.
class SftpClient {
 public:
  // `limit`: more uses wait. OpenSSH drops logins at random from 10 at once on.
  SftpClient(SftpServer server, SftpAccess access, unsigned limit);
  ~SftpClient();

  // Calls it with a connection; again with a new one where a kept one turns out to be dead, so it
  // must bear that. It must not call use() itself.
  template <typename Use>
  auto use(Use&& use) {
    if (auto kept = take()) {
      try {
        return with(std::move(kept), use);
      } catch (const NoAnswer&) {
        wait_for_turn();
      }
    }
    return with(connect(), use);
  }

 private:
  struct Kept {
    std::unique_ptr<SftpSession> session;
    std::chrono::steady_clock::time_point since;
  };
  struct State {
    std::vector<Kept> kept;
    unsigned in_use = 0;
  };
  // Gives its session back, if that can be used again.
  class Lease {
   public:
    Lease(SftpClient& client, std::unique_ptr<SftpSession> session)
        : client_(client), session_(std::move(session)) {}
    ~Lease() { client_.give_back(std::move(session_)); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    SftpSession& operator*() { return *session_; }

   private:
    SftpClient& client_;
    std::unique_ptr<SftpSession> session_;
  };

  template <typename Use>
  auto with(std::unique_ptr<SftpSession> session, Use& use) {
    Lease lease(*this, std::move(session));
    return use(*lease);
  }
  // Both wait for a turn, which give_back() ends. They throw Cancelled where the caller's stop
  // (base/patience.h) is requested, and a transient IoError where none comes for as long as the
  // caller has patience, or the server may be silent.
  std::unique_ptr<SftpSession> take();  // null: it has the turn, and there is none kept
  void wait_for_turn();
  std::unique_ptr<SftpSession> connect();
  void give_back(std::unique_ptr<SftpSession> session);

  const SftpServer server_;
  const SftpAccess access_;
  const unsigned limit_;
  std::condition_variable_any turn_;
  base::Synchronized<State> state_;
};

}  // namespace davit::wire
