#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "base/patience.h"
#include "wire/sftp_client.h"
#include "wire/ssh_connection.h"

namespace davit::wire {

namespace {

// Of writes that are on their way unanswered: what a fast and distant server needs to be busy, and
// no more than it takes from us while it refuses them one by one.
constexpr size_t kWriteBytes = 1 << 20;
// The same of reads. libssh2 asks for four times what it is given room for.
constexpr size_t kReadBytes = 2 << 20;
constexpr size_t kMaxName = 4096;
// For what is asked once a call has failed.
constexpr std::chrono::seconds kAfterwards{5};

unsigned size_of(const std::string& path) {
  return static_cast<unsigned>(path.size());
}

SftpEntry entry_of(const LIBSSH2_SFTP_ATTRIBUTES& attributes) {
  SftpEntry entry;
  if ((attributes.flags & LIBSSH2_SFTP_ATTR_SIZE) != 0) entry.size_bytes = attributes.filesize;
  if ((attributes.flags & LIBSSH2_SFTP_ATTR_PERMISSIONS) != 0)
    entry.mode = static_cast<unsigned>(attributes.permissions);
  if ((attributes.flags & LIBSSH2_SFTP_ATTR_ACMODTIME) != 0)
    entry.modified = static_cast<int64_t>(attributes.mtime);
  return entry;
}

}  // namespace

// An open file or directory of the server's.
class SftpSession::Handle {
 public:
  Handle(SshConnection& connection, LIBSSH2_SFTP_HANDLE* handle)
      : connection_(&connection), handle_(handle) {}
  Handle(Handle&& other) noexcept
      : connection_(other.connection_), handle_(std::exchange(other.handle_, nullptr)) {}
  Handle& operator=(Handle&&) = delete;
  ~Handle() {
    try {
      close();
    } catch (...) {  // it was cut
      free();
    }
  }

  LIBSSH2_SFTP_HANDLE* get() const { return handle_; }
  // The server's answer: 0, or what it refuses.
  int close() {
    if (handle_ == nullptr) return 0;
    if (!connection_->is_usable()) return free();
    const int code = connection_->run([this] { return libssh2_sftp_close_handle(handle_); });
    handle_ = nullptr;
    return code;
  }

 private:
  // Of a connection that was cut: nothing is waited for, though it may still ask to.
  int free() {
    int code = LIBSSH2_ERROR_EAGAIN;
    for (int i = 0; i < 100 && code == LIBSSH2_ERROR_EAGAIN; ++i)
      code = libssh2_sftp_close_handle(handle_);
    handle_ = nullptr;
    return code;
  }

  SshConnection* connection_;
  LIBSSH2_SFTP_HANDLE* handle_;
};

SftpSession::SftpSession(const SftpServer& server, const SftpAccess& access)
    : connection_(std::make_unique<SshConnection>(server, access)) {}

SftpSession::~SftpSession() = default;

bool SftpSession::is_usable() const {
  return connection_->is_usable();
}

bool SftpSession::is_absent() const {
  return libssh2_session_last_errno(connection_->session()) == LIBSSH2_ERROR_SFTP_PROTOCOL &&
         (libssh2_sftp_last_error(connection_->sftp()) == LIBSSH2_FX_NO_SUCH_FILE ||
          libssh2_sftp_last_error(connection_->sftp()) == LIBSSH2_FX_NO_SUCH_PATH);
}

void SftpSession::refuse(const std::string& what, const std::string& path, uint64_t needed_bytes) {
  const auto session = connection_->session();
  const std::string text = "cannot " + what + " " + path;
  if (libssh2_session_last_errno(session) != LIBSSH2_ERROR_SFTP_PROTOCOL) connection_->fail(text);
  const unsigned long status = libssh2_sftp_last_error(connection_->sftp());
  const auto is_full = [&] {
    throw base::IoError(text + ": there is no room; make room there, or raise the quota", ENOSPC);
  };
  switch (status) {
    case LIBSSH2_FX_NO_SUCH_FILE:
    case LIBSSH2_FX_NO_SUCH_PATH:
      throw base::IoError(text + ": the server knows no such file", ENOENT);
    case LIBSSH2_FX_PERMISSION_DENIED:
    case LIBSSH2_FX_WRITE_PROTECT:
      throw base::IoError(text + ": the server does not permit it to this user", EACCES);
    case LIBSSH2_FX_NO_SPACE_ON_FILESYSTEM:
    case LIBSSH2_FX_QUOTA_EXCEEDED:
      is_full();
      break;
    case LIBSSH2_FX_OK:  // what it answered was no answer to that
    case LIBSSH2_FX_NO_CONNECTION:
    case LIBSSH2_FX_CONNECTION_LOST:
    case LIBSSH2_FX_BAD_MESSAGE:
      connection_->fail(text);
    default:
      break;
  }
  // OpenSSH's one word for all else.
  const std::string directory =
      path.find('/') == path.npos ? "." : path.substr(0, path.rfind('/') + 1);
  LIBSSH2_SFTP_STATVFS disk{};
  bool is_known = false;
  try {
    const SshConnection::Hurry hurry(*connection_, kAfterwards);
    is_known = connection_->run([&] {
      return libssh2_sftp_statvfs(connection_->sftp(), directory.data(), directory.size(), &disk);
    }) == 0;
  } catch (const NoAnswer&) {  // that it was refused counts
  }
  if (is_known) {
    if ((disk.f_flag & LIBSSH2_SFTP_ST_RDONLY) != 0)
      throw base::IoError(text + ": its file system is mounted read-only", EROFS);
    if (disk.f_bavail * disk.f_frsize < needed_bytes || (needed_bytes > 0 && disk.f_favail == 0))
      is_full();
  }
  // Not EIO: that would be a disk that cannot be read, and the word stands for much else.
  throw base::IoError(
      text + ": the server does not say why (status " + std::to_string(status) + "); its log may",
      0);
}

std::optional<SftpSession::Handle> SftpSession::open(const std::string& path, unsigned long flags,
                                                     unsigned mode) {
  const bool is_directory = flags == 0;
  LIBSSH2_SFTP_HANDLE* handle = connection_->run([&] {
    return libssh2_sftp_open_ex(connection_->sftp(), path.data(), size_of(path), flags,
                                static_cast<long>(mode),
                                is_directory ? LIBSSH2_SFTP_OPENDIR : LIBSSH2_SFTP_OPENFILE);
  });
  if (handle != nullptr) return Handle(*connection_, handle);
  if (is_absent()) return std::nullopt;
  refuse((flags & LIBSSH2_FXF_WRITE) != 0 ? "make" : "open", path,
         (flags & LIBSSH2_FXF_WRITE) != 0 ? 1 : 0);
}

std::optional<SftpEntry> SftpSession::find(const std::string& path) {
  LIBSSH2_SFTP_ATTRIBUTES attributes{};
  const int code = connection_->run([&] {
    return libssh2_sftp_stat_ex(connection_->sftp(), path.data(), size_of(path), LIBSSH2_SFTP_STAT,
                                &attributes);
  });
  if (code == 0) {
    if ((attributes.flags & LIBSSH2_SFTP_ATTR_SIZE) == 0)
      throw base::IoError("the server does not say the size of " + path, 0);
    return entry_of(attributes);
  }
  if (is_absent()) return std::nullopt;
  refuse("look at", path);
}

std::optional<std::vector<SftpEntry>> SftpSession::list(const std::string& path) {
  const auto handle = open(path, 0, 0);
  if (!handle) return std::nullopt;
  std::vector<SftpEntry> entries;
  std::string name(kMaxName, '\0');
  for (;;) {
    LIBSSH2_SFTP_ATTRIBUTES attributes{};
    const int length = connection_->run([&] {
      return libssh2_sftp_readdir_ex(handle->get(), name.data(), name.size(), nullptr, 0,
                                     &attributes);
    });
    if (length < 0) refuse("list", path);
    if (length == 0) return entries;
    SftpEntry entry = entry_of(attributes);
    entry.name = name.substr(0, static_cast<size_t>(length));
    if (entry.name == "." || entry.name == "..") continue;
    if ((attributes.flags & LIBSSH2_SFTP_ATTR_SIZE) == 0)
      throw base::IoError("the server does not say the sizes of the files in " + path, 0);
    entries.push_back(std::move(entry));
  }
}

std::optional<uint64_t> SftpSession::read(const std::string& path, uint64_t offset,
                                          std::span<uint8_t> out) {
  const auto handle = open(path, LIBSSH2_FXF_READ, 0);
  if (!handle) return std::nullopt;
  libssh2_sftp_seek64(handle->get(), offset);
  size_t done = 0;
  while (done < out.size()) {
    if (base::patience().stop.stop_requested()) {
      connection_->cut();  // more was asked for
      throw base::Cancelled();
    }
    const size_t rest = out.size() - done;
    // A quarter, so that nothing is asked for that is not wanted.
    const size_t room = std::max(std::min(rest, kReadBytes) / 4, std::min<size_t>(rest, 4096));
    const ssize_t count = connection_->run([&] {
      return libssh2_sftp_read(handle->get(), reinterpret_cast<char*>(out.data() + done), room);
    });
    if (count < 0) refuse("read", path);
    if (count == 0) break;
    done += static_cast<size_t>(count);
  }
  return done;
}

void SftpSession::write_all(Handle& handle, base::ByteView bytes, const std::string& path) {
  while (!bytes.empty()) {
    if (base::patience().stop.stop_requested()) throw base::Cancelled();
    const size_t room = std::min(bytes.size(), kWriteBytes);
    const ssize_t count = connection_->run([&] {
      return libssh2_sftp_write(handle.get(), reinterpret_cast<const char*>(bytes.data()), room);
    });
    if (count < 0) refuse("write", path, bytes.size());
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
}

void SftpSession::write_pieces(Handle& handle, std::span<const base::ByteView> pieces,
                               const std::string& path) {
  // Small ones together: each write waits for its answers.
  base::Bytes together;
  for (const base::ByteView piece : pieces) {
    if (together.size() + piece.size() > kWriteBytes) {
      write_all(handle, together, path);
      together.clear();
    }
    if (piece.size() >= kWriteBytes)
      write_all(handle, piece, path);
    else
      base::append(together, piece);
  }
  write_all(handle, together, path);
}

bool SftpSession::write(const std::string& path, std::span<const base::ByteView> pieces,
                        unsigned mode) {
  auto handle = open(path, LIBSSH2_FXF_WRITE | LIBSSH2_FXF_CREAT | LIBSSH2_FXF_TRUNC, mode);
  if (!handle) return false;
  try {
    write_pieces(*handle, pieces, path);
    sync(*handle, path);
    if (handle->close() != 0) refuse("close", path, 1);
  } catch (...) {
    if (is_usable()) {
      try {
        const SshConnection::Hurry hurry(*connection_, kAfterwards);
        remove(path);
      } catch (const base::Error&) {  // what went wrong first counts
      } catch (const base::Cancelled&) {
      }
      connection_->cut();
    }
    throw;
  }
  return true;
}

void SftpSession::sync(Handle& handle, const std::string& path) {
  if (connection_->run([&] { return libssh2_sftp_fsync(handle.get()); }) == 0) return;
  if (libssh2_session_last_errno(connection_->session()) == LIBSSH2_ERROR_SFTP_PROTOCOL &&
      libssh2_sftp_last_error(connection_->sftp()) == LIBSSH2_FX_OP_UNSUPPORTED)
    return;
  refuse("sync", path, 1);
}

void SftpSession::sync(const std::string& path) {
  auto handle = open(path, LIBSSH2_FXF_READ, 0);
  if (!handle) refuse("open", path);
  sync(*handle, path);
}

SftpSession::Renamed SftpSession::rename(const std::string& from, const std::string& to) {
  const int code = connection_->run([&] {
    return libssh2_sftp_rename_ex(connection_->sftp(), from.data(), size_of(from), to.data(),
                                  size_of(to), 0);
  });
  if (code == 0) return Renamed::done;
  if (is_absent()) return Renamed::no_such_path;
  const int why = libssh2_session_last_errno(connection_->session());
  if (why != LIBSSH2_ERROR_SFTP_PROTOCOL) refuse("rename to", to);
  if (find(to)) return Renamed::exists;
  throw base::IoError("cannot rename to " + to + ": the server does not say why", 0);
}

bool SftpSession::make_directory(const std::string& path, unsigned mode) {
  const int code = connection_->run([&] {
    return libssh2_sftp_mkdir_ex(connection_->sftp(), path.data(), size_of(path),
                                 static_cast<long>(mode));
  });
  if (code == 0) return true;
  if (is_absent()) refuse("make the directory", path, 1);
  if (libssh2_session_last_errno(connection_->session()) == LIBSSH2_ERROR_SFTP_PROTOCOL) {
    const unsigned long status = libssh2_sftp_last_error(connection_->sftp());
    const auto there = find(path);
    if (there && (there->is_directory() || there->mode == 0)) return false;
    if (there)
      throw base::IoError("cannot make the directory " + path + ": there is a file of that name",
                          ENOTDIR);
    if (status == LIBSSH2_FX_PERMISSION_DENIED)
      throw base::IoError(
          "cannot make the directory " + path + ": the server does not permit it to this user",
          EACCES);
    throw base::IoError("cannot make the directory " + path + ": the server does not say why", EIO);
  }
  refuse("make the directory", path, 1);
}

void SftpSession::set_mode(const std::string& path, unsigned mode) {
  LIBSSH2_SFTP_ATTRIBUTES attributes{};
  attributes.flags = LIBSSH2_SFTP_ATTR_PERMISSIONS;
  attributes.permissions = mode;
  if (connection_->run([&] {
        return libssh2_sftp_stat_ex(connection_->sftp(), path.data(), size_of(path),
                                    LIBSSH2_SFTP_SETSTAT, &attributes);
      }) != 0)
    refuse("set the mode of", path);
}

bool SftpSession::remove(const std::string& path) {
  const int code = connection_->run(
      [&] { return libssh2_sftp_unlink_ex(connection_->sftp(), path.data(), size_of(path)); });
  if (code == 0) return true;
  if (is_absent()) return false;
  refuse("remove", path);
}

}  // namespace davit::wire
