// A repository in a directory of an SFTP server, laid out as restic does.
//
// A file is written under "<id>-tmp-davit-…" in the directory of its kind, synced, renamed, and
// synced again under its name, which on ext4, XFS and btrfs makes the name last, too: after any
// crash, here or there, it is absent or complete. That needs fsync@openssh.com, which OpenSSH has;
// with another server a file is as durable as one that it has closed. A removal is not waited for:
// SFTP has no way to sync a directory. A file that was removed may be back after a power cut of the
// server.
//
// Nothing is replaced under a reader's eyes: where there is a file of that name with these bytes
// already, it stays; one with other bytes is moved aside first, and a config never replaced. Files
// are 0600 and directories 0700; where `config` is readable for the group, the group gets the same
// rights. The directory itself is made by prepare() only: where it has vanished, everything but
// looking for one file fails rather than finding nothing.
#pragma once

#include <atomic>

#include "store/layout.h"
#include "store/sftp/address.h"
#include "store/store.h"
#include "wire/sftp_client.h"

namespace davit::store {

struct SftpOptions {
  wire::SftpAccess access;
  std::string spool_directory;  // where drafts lie until they are whole; "": in memory
};

class SftpStore : public Store {
 public:
  using Store::put;

  // Nothing is asked yet.
  SftpStore(sftp::Address address, SftpOptions options);

  // Also removes temporary files that a dead process of ours left, once they are a day old.
  void prepare() override;
  void put(const Name& name, std::span<const base::ByteView> pieces) override;
  std::unique_ptr<Draft> begin_draft(Kind kind, size_t expected_bytes) override;
  base::Bytes get(const Name& name, uint64_t max_bytes) override;
  void get_range(const Name& name, uint64_t offset, std::span<uint8_t> out) override;
  std::optional<uint64_t> find_size(const Name& name) override;
  void list(Kind kind, const std::function<void(const FileInfo&)>& each) override;
  void remove(const Name& name) override;

  unsigned connections() const override { return 5; }  // as restic
  std::string describe() const override { return sftp::to_string(address_); }

 private:
  using Session = wire::SftpSession;

  std::string beneath(const std::string& path) const;
  std::string path_of(const Name& name) const { return beneath(relative_path(name)); }
  std::string new_temporary(const Name& name) const;
  unsigned group_bits(Session& session);
  void make_directory(Session& session, const std::string& path);
  void make_directories(Session& session, const std::string& path);
  void make_missing(Session& session, const Name& name);
  void put(Session& session, const Name& name, std::span<const base::ByteView> pieces);
  void rename(Session& session, const std::string& temporary, const Name& name,
              std::span<const base::ByteView> pieces);
  bool holds(Session& session, const std::string& path, std::span<const base::ByteView> pieces);
  void remove_leftovers(Session& session, const std::string& directory);
  // Runs it with a connection. Its errors say what could not be done, and where.
  template <typename Use>
  auto reach(const std::string& what, Use use);

  const sftp::Address address_;
  const SftpOptions options_;
  wire::SftpClient client_;
  std::atomic<int> group_bits_{-1};  // -1: not known yet, there is no config
};

}  // namespace davit::store
