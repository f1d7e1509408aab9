#include "store/local_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdio>
#include <memory>
#include <vector>

#include "base/errors.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/files.h"
#include "store/layout.h"

namespace davit::store {

namespace {

using base::ByteView;
using base::fault_point;
using base::Fd;

// Marks our temporary files among those of restic, which has decimal digits there.
constexpr std::string_view kTemporaryMark = "-tmp-davit-";
// A draft may stay open as long as a run finds little that is new.
constexpr auto kLeftoverAge = std::chrono::hours(24);

bool is_transient(int number) {
  switch (number) {
    case EAGAIN:
    case EBUSY:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ESTALE:
    case ETIMEDOUT:
    case EHOSTDOWN:
    case EHOSTUNREACH:
      return true;
    default:
      return false;
  }
}

// What a person can do about it.
const char* advice(int number) {
  switch (number) {
    case ENOSPC:
      return "; make room on its file system";
    case EDQUOT:
      return "; make room there, or raise the quota";
    case EROFS:
      return "; mount it read-write";
    default:
      return "";
  }
}

[[noreturn]] void fail(const std::string& what, int number, bool may_pass = true) {
  try {
    base::throw_errno(what, number);
  } catch (const base::IoError& error) {
    throw base::IoError(std::string(error.what()) + advice(number), number,
                        may_pass && is_transient(number));
  }
}

std::string subdirectory(Kind kind) {
  return std::string("/") + directory_name(kind);
}

std::string two_digits(unsigned value) {
  const uint8_t byte = static_cast<uint8_t>(value);
  return base::hex(ByteView(&byte, 1));
}

// A failure is never transient: a second fsync may say yes to what the first one lost.
void sync(int fd, const std::string& path) {
  if (::fsync(fd) != 0) {
    const int number = errno;
    // Some network file systems cannot sync a directory, and need not.
    if (number == EINVAL || number == ENOTSUP) return;
    fail("cannot sync " + path, number, /*may_pass=*/false);
  }
}

void sync_directory(const std::string& path) {
  const int number = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (number < 0) {
    const int error = errno;
    fail("cannot open " + path, error);
  }
  const Fd directory(number);
  sync(directory.get(), path);
}

// Read-only from before it is visible. A file system without modes is no reason to fail.
void make_read_only(int fd, const std::string& path, mode_t mode) {
  if (::fchmod(fd, mode) == 0) return;
  const int number = errno;
  if (number != EPERM && number != ENOTSUP && number != ENOSYS)
    fail("cannot make read-only: " + path, number);
}

void write_pieces(int fd, std::span<const ByteView> pieces, const std::string& path) {
  constexpr size_t kBatch = 64;
  std::array<iovec, kBatch> parts;
  for (size_t next = 0; next < pieces.size();) {
    size_t count = 0;
    for (; count < kBatch && next < pieces.size(); ++count, ++next)
      parts[count] = {const_cast<uint8_t*>(pieces[next].data()), pieces[next].size()};
    for (size_t done = 0; done < count;) {
      const ssize_t written = ::writev(fd, &parts[done], static_cast<int>(count - done));
      if (written < 0) {
        const int number = errno;
        if (number == EINTR) continue;
        fail("cannot write " + path, number);
      }
      size_t rest = static_cast<size_t>(written);
      while (done < count && rest >= parts[done].iov_len) rest -= parts[done++].iov_len;
      if (done < count) {
        parts[done].iov_base = static_cast<uint8_t*>(parts[done].iov_base) + rest;
        parts[done].iov_len -= rest;
      }
    }
  }
}

size_t read_at(int fd, std::span<uint8_t> out, uint64_t offset, const std::string& path) {
  size_t done = 0;
  while (done < out.size()) {
    const ssize_t got =
        ::pread(fd, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (got < 0) {
      const int number = errno;
      if (number == EINTR) continue;
      fail("cannot read " + path, number);
    }
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  return done;
}

Fd open_to_read(const std::string& path, const Name& name) {
  for (;;) {
    const int number = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (number >= 0) return Fd(number);
    const int error = errno;
    if (error == EINTR) continue;
    if (error == ENOENT) not_found(name);
    fail("cannot open " + path, error);
  }
}

struct CloseDirectory {
  void operator()(DIR* stream) const { ::closedir(stream); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

// Nothing where there is no such directory.
Directory open_directory(const std::string& path) {
  Directory stream(::opendir(path.c_str()));
  if (!stream) {
    const int number = errno;
    if (number != ENOENT) fail("cannot read the directory " + path, number);
  }
  return stream;
}

const dirent* next_entry(DIR* stream, const std::string& path) {
  errno = 0;
  const dirent* entry = ::readdir(stream);
  if (entry == nullptr) {
    const int number = errno;
    if (number != 0) fail("cannot read the directory " + path, number);
  }
  return entry;
}

}  // namespace

LocalStore::LocalStore(std::string path) : path_(std::move(path)) {}

std::string LocalStore::directory_of(const Name& name) const {
  const std::string path = path_of(name);
  return path.substr(0, path.rfind('/'));
}

std::string LocalStore::path_of(const Name& name) const {
  return path_ + "/" + relative_path(name);
}

mode_t LocalStore::group_bits() {
  int bits = group_bits_.load(std::memory_order_relaxed);
  if (bits < 0) {
    struct stat status;
    if (::stat((path_ + "/config").c_str(), &status) != 0) return 0;  // before the first config
    bits = (status.st_mode & S_IRGRP) != 0 ? 070 : 0;
    group_bits_.store(bits, std::memory_order_relaxed);
  }
  return static_cast<mode_t>(bits);
}

void LocalStore::make_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0700 | group_bits()) == 0) return;
  const int number = errno;
  if (number != EEXIST) fail("cannot make the directory " + path, number);
}

void LocalStore::prepare() {
  base::make_directories(path_, 0700);
  for (const Kind kind : {Kind::key, Kind::data, Kind::index, Kind::snapshot, Kind::lock})
    make_directory(path_ + subdirectory(kind));
  for (unsigned first = 0; first < 256; ++first)
    make_directory(path_ + "/data/" + two_digits(first));
  sync_directory(path_ + "/data");
  sync_directory(path_);

  remove_leftovers(path_);
  for (const Kind kind : {Kind::key, Kind::index, Kind::snapshot, Kind::lock})
    remove_leftovers(path_ + subdirectory(kind));
  for (unsigned first = 0; first < 256; ++first)
    remove_leftovers(path_ + "/data/" + two_digits(first));
}

void LocalStore::remove_leftovers(const std::string& directory) {
  const Directory stream = open_directory(directory);
  if (!stream) return;
  const auto now = std::chrono::system_clock::now();
  while (const dirent* entry = next_entry(stream.get(), directory)) {
    if (std::string_view(entry->d_name).find(kTemporaryMark) == std::string_view::npos) continue;
    struct stat status;
    if (::fstatat(::dirfd(stream.get()), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0)
      continue;
    if (now - std::chrono::system_clock::from_time_t(status.st_mtime) < kLeftoverAge) continue;
    ::unlinkat(::dirfd(stream.get()), entry->d_name, 0);
  }
}

void LocalStore::make_missing(const Name& name) {
  struct stat status;
  const std::string top = path_ + subdirectory(name.kind);
  if (::stat(top.c_str(), &status) != 0) {
    // Without its config this is no repository, but perhaps the place where its disk was mounted.
    if (::stat((path_ + "/config").c_str(), &status) != 0)
      fail("there is no repository in " + path_ + " any more: is its disk mounted?", ENOENT);
    make_directory(top);
    sync_directory(path_);
  }
  if (name.kind == Kind::data) {
    make_directory(directory_of(name));
    sync_directory(top);
  }
}

Fd LocalStore::create(const std::string& temporary, const Name& name) {
  for (bool again = false;; again = true) {
    Fd file(::open(temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (file) return file;
    const int number = errno;
    if (number == EINTR) continue;
    if (number != ENOENT || again) fail("cannot make " + temporary, number);
    make_missing(name);
  }
}

// A temporary file on its way to its name; it goes away unless it gets there.
class LocalStore::Writing : public Draft {
 public:
  // `likely` gives the directory.
  Writing(LocalStore& store, const Name& likely)
      : store_(store),
        temporary_(store.path_of(likely) + std::string(kTemporaryMark) +
                   base::make_uuid().substr(0, 18)) {
    fault_point("store:put:begin");
    file_ = store.create(temporary_, likely);
    fault_point("store:put:created");
  }
  ~Writing() override {
    if (!renamed_) ::unlink(temporary_.c_str());
  }

  void append(ByteView bytes) override { append(std::span(&bytes, 1)); }
  void append(std::span<const ByteView> pieces) { write_pieces(file_.get(), pieces, temporary_); }

  void read(uint64_t offset, std::span<uint8_t> out) override {
    if (read_at(file_.get(), out, offset, temporary_) != out.size())
      throw base::Corrupt(temporary_ + " became shorter while it was written");
  }

  void commit(const Name& name) override {
    // Where it is repeated, it goes on.
    const std::string path = store_.path_of(name);
    if (file_) {
      make_read_only(file_.get(), path, 0400 | (store_.group_bits() & 040));
      fault_point("store:put:written");
      sync(file_.get(), path);
      file_.reset();
      fault_point("store:put:synced");
    }
    for (bool again = false; !renamed_; again = true) {
      if (::rename(temporary_.c_str(), path.c_str()) == 0) {
        renamed_ = true;
        fault_point("store:put:renamed");
        break;
      }
      const int number = errno;
      if (number != ENOENT || again) fail("cannot rename to " + path, number);
      store_.make_missing(name);
    }
    sync_directory(store_.directory_of(name));
    fault_point("store:put:done");
  }

 private:
  LocalStore& store_;
  const std::string temporary_;
  Fd file_;
  bool renamed_ = false;
};

void LocalStore::put(const Name& name, std::span<const ByteView> pieces) {
  Writing file(*this, name);
  file.append(pieces);
  file.commit(name);
}

std::unique_ptr<Draft> LocalStore::begin_draft(Kind kind, size_t) {
  Name likely{kind, {}};
  base::random_fill(likely.id.bytes);
  return std::make_unique<Writing>(*this, likely);
}

base::Bytes LocalStore::get(const Name& name, uint64_t max_bytes) {
  const std::string path = path_of(name);
  const Fd file = open_to_read(path, name);
  struct stat status;
  if (::fstat(file.get(), &status) != 0) {
    const int number = errno;
    fail("cannot stat " + path, number);
  }
  const uint64_t size_bytes = static_cast<uint64_t>(status.st_size);
  if (size_bytes > max_bytes)
    throw base::Corrupt(to_string(name) + " is larger than " + base::human_size(max_bytes));
  base::Bytes bytes(size_bytes);
  if (read_at(file.get(), bytes, 0, path) != size_bytes)
    throw base::Corrupt(to_string(name) + " became shorter while it was read");
  return bytes;
}

void LocalStore::get_range(const Name& name, uint64_t offset, std::span<uint8_t> out) {
  const std::string path = path_of(name);
  const Fd file = open_to_read(path, name);
  if (offset > static_cast<uint64_t>(INT64_MAX) - out.size() ||
      read_at(file.get(), out, offset, path) != out.size())
    throw base::Corrupt(to_string(name) + " ends before " + std::to_string(offset + out.size()) +
                        " bytes");
}

std::optional<uint64_t> LocalStore::find_size(const Name& name) {
  const std::string path = path_of(name);
  struct stat status;
  if (::stat(path.c_str(), &status) != 0) {
    const int number = errno;
    if (number == ENOENT) return std::nullopt;
    fail("cannot stat " + path, number);
  }
  return static_cast<uint64_t>(status.st_size);
}

void LocalStore::list_flat(const std::string& directory,
                           const std::function<void(const FileInfo&)>& each) {
  const Directory stream = open_directory(directory);
  if (!stream) return;
  while (const dirent* entry = next_entry(stream.get(), directory)) {
    const auto id = base::Id::parse(entry->d_name);
    if (!id) continue;
    struct stat status;
    if (::fstatat(::dirfd(stream.get()), entry->d_name, &status, 0) != 0) {
      const int number = errno;
      if (number == ENOENT) continue;  // removed meanwhile
      fail("cannot stat " + directory + "/" + entry->d_name, number);
    }
    if (S_ISREG(status.st_mode)) each({*id, static_cast<uint64_t>(status.st_size)});
  }
}

void LocalStore::list(Kind kind, const std::function<void(const FileInfo&)>& each) {
  DAVIT_CHECK(kind != Kind::config);
  const std::string top = path_ + subdirectory(kind);
  struct stat status;
  if (::stat(top.c_str(), &status) != 0) {
    const int number = errno;
    if (number != ENOENT) fail("cannot stat " + top, number);
    // Copying tools lose empty directories; but then the config is there.
    if (!find_size({}))
      fail("there is no repository in " + path_ + ": is its disk mounted?", ENOENT);
    return;
  }
  if (kind != Kind::data) return list_flat(top, each);
  for (unsigned first = 0; first < 256; ++first)
    list_flat(top + "/" + two_digits(first), [&](const FileInfo& file) {
      if (file.id.bytes[0] == first) each(file);  // elsewhere get() would not find it
    });
}

void LocalStore::remove(const Name& name) {
  fault_point("store:remove:begin");
  const std::string path = path_of(name);
  if (::unlink(path.c_str()) != 0) {
    const int number = errno;
    if (number == ENOENT) return;
    fail("cannot remove " + path, number);
  }
  fault_point("store:remove:unlinked");
  sync_directory(directory_of(name));
  fault_point("store:remove:done");
}

bool LocalStore::is_read_only() {
  return ::faccessat(AT_FDCWD, path_.c_str(), W_OK, AT_EACCESS) != 0 && errno == EROFS;
}

}  // namespace davit::store
