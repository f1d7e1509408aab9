#include "base/files.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <memory>

#include "base/errors.h"
#include "base/fault.h"
#include "base/fd.h"

namespace davit::base {

namespace {

std::string parent_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

void sync_fd(int fd, const std::string& path) {
  if (::fsync(fd) != 0) throw_errno("cannot sync " + path, errno);
}

struct CloseDirectory {
  void operator()(DIR* stream) const { ::closedir(stream); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

Directory read_directory(Fd fd) {
  Directory stream(::fdopendir(fd.get()));
  if (!stream) throw_errno("cannot read a directory", errno);
  fd.release();  // the stream owns it now
  return stream;
}

// The next name that is not . or .., or nullptr at the end.
const char* next_name(DIR* stream) {
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(stream);
    if (entry == nullptr) {
      if (const int number = errno; number != 0) throw_errno("cannot read a directory", number);
      return nullptr;
    }
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") return entry->d_name;
  }
}

}  // namespace

void write_file_atomic(const std::string& path, ByteView bytes, mode_t mode) {
  const std::string temporary = path + ".tmp-" + make_uuid().substr(0, 8);
  fault_point("write_atomic:begin");
  try {
    Fd file = open_file(temporary, O_WRONLY | O_CREAT | O_EXCL, mode);
    write_all(file.get(), bytes);
    sync_fd(file.get(), temporary);
    fault_point("write_atomic:written");
    if (::rename(temporary.c_str(), path.c_str()) != 0) throw_errno("cannot rename to " + path, errno);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  fault_point("write_atomic:renamed");
  sync_directory(parent_of(path));
  fault_point("write_atomic:done");
}

std::optional<Bytes> find_file(const std::string& path, size_t max_bytes) {
  const int number = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (number < 0) {
    const int error = errno;
    if (error == ENOENT || error == ENOTDIR) return std::nullopt;
    throw_errno("cannot open " + path, error);
  }
  Fd file(number);
  struct stat status;
  if (::fstat(number, &status) != 0) throw_errno("cannot stat " + path, errno);
  // Files of /proc and /sys say 0; so the size is a first guess only.
  Bytes bytes(std::min<size_t>(max_bytes, static_cast<size_t>(status.st_size)) + 1);
  size_t filled = 0;
  for (;;) {
    filled += read_up_to(number, std::span(bytes).subspan(filled));
    if (filled < bytes.size()) break;
    if (filled > max_bytes) throw UsageError(path + " is larger than " + human_size(max_bytes));
    bytes.resize(std::min(max_bytes + 1, bytes.size() * 2));
  }
  bytes.resize(filled);
  return bytes;
}

Bytes get_file(const std::string& path, size_t max_bytes) {
  auto bytes = find_file(path, max_bytes);
  if (!bytes) throw NotFound("there is no file " + path);
  return std::move(*bytes);
}

bool remove_file(const std::string& path) {
  if (::unlink(path.c_str()) != 0) {
    const int number = errno;
    if (number == ENOENT) return false;
    throw_errno("cannot remove " + path, number);
  }
  sync_directory(parent_of(path));
  return true;
}

void make_directories(const std::string& path, mode_t mode) {
  if (::mkdir(path.c_str(), mode) == 0) return;
  int number = errno;
  if (number == ENOENT && parent_of(path) != path) {
    make_directories(parent_of(path), mode);
    if (::mkdir(path.c_str(), mode) == 0) return;
    number = errno;
  }
  struct stat status;
  if (number == EEXIST && ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) return;
  throw_errno("cannot make the directory " + path, number);
}

void sync_directory(const std::string& path) {
  const Fd directory = open_file(path, O_RDONLY | O_DIRECTORY);
  sync_fd(directory.get(), path);
}

void rename_durably(const std::string& from, const std::string& to) {
  fault_point("rename:begin");
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) != 0) {
    const int number = errno;
    if (number == EEXIST) throw Conflict(to + " exists already");
    throw_errno("cannot rename " + from + " to " + to, number);
  }
  fault_point("rename:renamed");
  sync_directory(parent_of(to));
  if (parent_of(from) != parent_of(to)) sync_directory(parent_of(from));
  fault_point("rename:done");
}

std::vector<std::string> list_directory(const std::string& path) {
  std::vector<std::string> names;
  const int number = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (number < 0) {
    const int error = errno;
    if (error == ENOENT) return names;
    throw_errno("cannot read the directory " + path, error);
  }
  const Directory stream = read_directory(Fd(number));
  while (const char* name = next_name(stream.get())) names.emplace_back(name);
  return names;
}

void remove_tree(int directory, const std::string& name, const std::function<bool()>& stop) {
  // Goes down by name and up by "..", so one descriptor is enough for any depth. Each level is re-read
  // from its start after a child directory is gone: entries only vanish, so that ends.
  if (::unlinkat(directory, name.c_str(), 0) == 0 || errno == ENOENT) return;
  int number = errno;
  if (number != EISDIR && number != EPERM && number != EBUSY) throw_errno("cannot remove " + name, number);

  constexpr int kOpen = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
  std::vector<std::string> names{name};
  Fd here = open_at(directory, name, kOpen);
  while (!names.empty()) {
    if (stop && stop()) return;
    std::string child;
    {
      const Directory stream = read_directory(open_at(here.get(), ".", kOpen));
      while (const char* entry = next_name(stream.get())) {
        if (::unlinkat(here.get(), entry, 0) == 0 || errno == ENOENT) continue;
        number = errno;
        if (number != EISDIR && number != EPERM && number != EBUSY)
          throw_errno(std::string("cannot remove ") + entry, number);
        // An empty directory goes at once; a full one is entered.
        if (::unlinkat(here.get(), entry, AT_REMOVEDIR) == 0) continue;
        number = errno;
        if (number != ENOTEMPTY && number != EEXIST) throw_errno(std::string("cannot remove ") + entry, number);
        child = entry;
        break;
      }
    }
    if (!child.empty()) {
      here = open_at(here.get(), child, kOpen);
      names.push_back(std::move(child));
      continue;
    }
    Fd parent = names.size() == 1 ? Fd() : open_at(here.get(), "..", kOpen);
    const int parent_fd = names.size() == 1 ? directory : parent.get();
    if (::unlinkat(parent_fd, names.back().c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT)
      throw_errno("cannot remove the directory " + names.back(), errno);
    names.pop_back();
    here = std::move(parent);
  }
}

void remove_tree(const std::string& path) { remove_tree(AT_FDCWD, path); }

}  // namespace davit::base
