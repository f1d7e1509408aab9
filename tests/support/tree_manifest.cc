#include "support/tree_manifest.h"

#include <dirent.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <stdexcept>
#include <vector>

namespace davit::test {

namespace {

[[noreturn]] void fail(const std::string& what) {
  throw std::runtime_error("manifest: " + what + ": " + std::strerror(errno));
}

std::string escape(const std::string& bytes) {
  static const char* digits = "0123456789abcdef";
  std::string text;
  for (unsigned char c : bytes) {
    if (c > 0x20 && c < 0x7f && c != '\\') {
      text += static_cast<char>(c);
    } else {
      text += "\\x";
      text += digits[c >> 4];
      text += digits[c & 15];
    }
  }
  return text;
}

std::string to_hex(const unsigned char* bytes, size_t size) {
  static const char* digits = "0123456789abcdef";
  std::string text;
  for (size_t i = 0; i < size; ++i) {
    text += digits[bytes[i] >> 4];
    text += digits[bytes[i] & 15];
  }
  return text;
}

std::vector<std::string> names_in(int directory) {
  const int fd = ::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_NOATIME);
  if (fd < 0) fail("open .");
  DIR* stream = ::fdopendir(fd);
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(stream)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  ::closedir(stream);
  std::sort(names.begin(), names.end());
  return names;
}

std::string content_of(int fd, const struct stat& status, bool sparse) {
  std::unique_ptr<EVP_MD_CTX, decltype(&::EVP_MD_CTX_free)> hash(::EVP_MD_CTX_new(),
                                                                 &::EVP_MD_CTX_free);
  ::EVP_DigestInit_ex(hash.get(), ::EVP_sha256(), nullptr);
  static thread_local std::vector<char> buffer(1 << 20);
  for (;;) {
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0) fail("read");
    if (got == 0) break;
    ::EVP_DigestUpdate(hash.get(), buffer.data(), static_cast<size_t>(got));
  }
  unsigned char digest[32];
  ::EVP_DigestFinal_ex(hash.get(), digest, nullptr);
  std::string text = " sha256=" + to_hex(digest, sizeof digest);
  if (!sparse) return text;
  text += " extents=";
  for (off_t at = 0; at < status.st_size;) {
    const off_t data = ::lseek(fd, at, SEEK_DATA);
    if (data < 0) break;
    const off_t hole = ::lseek(fd, data, SEEK_HOLE);
    text += std::to_string(data) + "+" + std::to_string(hole - data) + ",";
    at = hole;
  }
  return text;
}

std::string xattrs_of(const std::string& path) {
  static thread_local std::vector<char> names(64 << 10);
  static thread_local std::vector<unsigned char> value(64 << 10);
  const ssize_t size = ::llistxattr(path.c_str(), names.data(), names.size());
  if (size < 0) {
    if (errno == ENOTSUP) return "";
    fail("llistxattr");
  }
  std::map<std::string, std::string> xattrs;
  for (const char* name = names.data(); name < names.data() + size; name += std::strlen(name) + 1) {
    const ssize_t length = ::lgetxattr(path.c_str(), name, value.data(), value.size());
    if (length < 0) fail(std::string("lgetxattr ") + name);
    xattrs[name] = to_hex(value.data(), static_cast<size_t>(length));
  }
  std::string text;
  for (const auto& [name, value] : xattrs) text += " " + escape(name) + "=" + value;
  return text;
}

class Manifest {
 public:
  explicit Manifest(const ManifestOptions& options) : options_(options) {}

  std::string run(const std::string& directory) {
    int here = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_NOATIME);
    if (here < 0) fail("open " + directory);
    add(here, ".", ".");
    struct Level {
      std::vector<std::string> names;
      size_t next = 0;
      size_t path_size = 0;
    };
    std::vector<Level> levels;
    std::string path;
    levels.push_back({names_in(here), 0, 0});
    while (!levels.empty()) {
      Level& level = levels.back();
      path.resize(level.path_size);
      if (level.next == level.names.size()) {
        levels.pop_back();
        if (!levels.empty()) {
          const int up = ::openat(here, "..", O_RDONLY | O_DIRECTORY | O_NOATIME);
          if (up < 0) fail("open ..");
          ::close(here);
          here = up;
        }
        continue;
      }
      const std::string name = level.names[level.next++];
      path += (path.empty() ? "" : "/") + name;
      if (add(here, name, path)) {
        const int down =
            ::openat(here, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NOATIME);
        if (down < 0) fail("open " + path);
        ::close(here);
        here = down;
        levels.push_back({names_in(here), 0, path.size()});
      }
    }
    ::close(here);
    return std::move(text_);
  }

 private:
  // True for a directory other than the root.
  bool add(int directory, const std::string& name, const std::string& path) {
    struct stat status;
    if (::fstatat(directory, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) fail("stat " + path);
    const mode_t type = status.st_mode & S_IFMT;
    if (type == S_IFSOCK && !options_.sockets) return false;
    std::string line = escape(path);
    const char* word = type == S_IFREG    ? "file"
                       : type == S_IFDIR  ? "dir"
                       : type == S_IFLNK  ? "symlink"
                       : type == S_IFIFO  ? "fifo"
                       : type == S_IFCHR  ? "chardev"
                       : type == S_IFBLK  ? "dev"
                       : type == S_IFSOCK ? "socket"
                                          : "unknown";
    char numbers[200];
    std::snprintf(numbers, sizeof numbers, " %s %04o %u:%u", word, status.st_mode & 07777,
                  status.st_uid, status.st_gid);
    line += numbers;
    if (options_.times) {
      std::snprintf(numbers, sizeof numbers, " %lld.%09ld",
                    static_cast<long long>(status.st_mtim.tv_sec), status.st_mtim.tv_nsec);
      line += numbers;
    }
    if (type == S_IFREG) {
      line += " size=" + std::to_string(status.st_size);
      const int fd = ::openat(directory, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NOATIME);
      if (fd < 0) fail("open " + path);
      line += content_of(fd, status, options_.sparse);
      ::close(fd);
    }
    if (type == S_IFLNK && options_.symlink_details) {
      std::vector<char> target(8192);
      const ssize_t size = ::readlinkat(directory, name.c_str(), target.data(), target.size());
      if (size < 0) fail("readlink " + path);
      line += " target=" + escape(std::string(target.data(), static_cast<size_t>(size)));
    }
    if (type == S_IFCHR || type == S_IFBLK) line += " device=" + std::to_string(status.st_rdev);
    if (type != S_IFLNK || options_.symlink_details)
      line += xattrs_of("/proc/self/fd/" + std::to_string(directory) + "/" + name);
    if (type != S_IFDIR && (options_.special_links || type == S_IFREG)) {
      const auto [first, is_new] = first_names_.try_emplace({status.st_dev, status.st_ino}, path);
      if (!is_new) line += " link-of=" + escape(first->second);
    }
    text_ += line + "\n";
    return type == S_IFDIR && path != ".";
  }

  const ManifestOptions options_;
  std::map<std::pair<dev_t, ino_t>, std::string> first_names_;
  std::string text_;
};

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t from = 0; from < text.size();) {
    const size_t end = std::min(text.find('\n', from), text.size());
    lines.push_back(text.substr(from, end - from));
    from = end + 1;
  }
  std::sort(lines.begin(), lines.end());
  return lines;
}

}  // namespace

std::string tree_manifest(const std::string& directory, const ManifestOptions& options) {
  return Manifest(options).run(directory);
}

std::string manifest_difference(const std::string& expected, const std::string& found,
                                size_t limit) {
  const auto a = lines_of(expected), b = lines_of(found);
  std::vector<std::string> missing, extra;
  std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(missing));
  std::set_difference(b.begin(), b.end(), a.begin(), a.end(), std::back_inserter(extra));
  std::string text;
  const auto show = [&](const std::string& line) {
    return line.size() > 600 ? line.substr(0, 150) + "…" + line.substr(line.size() - 400) : line;
  };
  for (size_t i = 0; i < missing.size() && i < limit; ++i) text += "- " + show(missing[i]) + "\n";
  for (size_t i = 0; i < extra.size() && i < limit; ++i) text += "+ " + show(extra[i]) + "\n";
  return text;
}

}  // namespace davit::test
