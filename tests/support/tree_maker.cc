#include "support/tree_maker.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <stdexcept>
#include <vector>

namespace davit::test {

namespace {

void check(bool good, const std::string& what) {
  if (!good) throw std::runtime_error("tree maker: " + what + ": " + std::strerror(errno));
}

class Maker {
 public:
  explicit Maker(const TreeSpec& spec) : spec_(spec), state_(spec.seed) {}

  void run(int root) {
    directory(root, "content", [&](int at) { contents(at); });
    directory(root, "names", [&](int at) { names(at); });
    directory(root, "modes", [&](int at) { modes(at); });
    directory(root, "times", [&](int at) { times(at); });
    directory(root, "xattrs", [&](int at) { xattrs(at); });
    directory(root, "symlinks", [&](int at) { symlinks(at); });
    directory(root, "special", [&](int at) { special(at); });
    directory(root, "links", [&](int at) { links(at); });
    directory(root, "random", [&](int at) { random(at); });
    directory(root, "empty", [](int) {});
    if (spec_.owners) directory(root, "owners", [&](int at) { owners(at); });
    if (spec_.sparse) directory(root, "sparse", [&](int at) { sparse(at); });
    directory(root, "wide", [&](int at) {
      for (size_t i = 0; i < spec_.wide_entries; ++i)
        file(at, "entry-" + std::to_string(i), bytes(i % 7 ? 0 : 10 + i % 90));
    });
    deep(root, "deep", spec_.deep_levels, 200);
    deep(root, "long", spec_.deep_levels * 8, 1);
    set_times(root, 1'600'000'000, 123456789);
  }

 private:
  // splitmix64
  uint64_t next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  uint64_t below(uint64_t limit) { return next() % limit; }

  std::string bytes(size_t size) {
    std::string data(size, '\0');
    for (size_t i = 0; i < size; i += 8) {
      const uint64_t value = next();
      std::memcpy(data.data() + i, &value, std::min<size_t>(8, size - i));
    }
    return data;
  }
  std::string text(size_t size) {
    std::string data;
    while (data.size() < size) data += "line " + std::to_string(below(1000)) + " of the text\n";
    data.resize(size);
    return data;
  }

  void set_times(int fd, int64_t seconds, long nanoseconds) {
    const timespec stamps[2] = {{seconds, nanoseconds}, {seconds, nanoseconds}};
    check(::futimens(fd, stamps) == 0, "futimens");
  }
  void set_times(int at, const std::string& name) {
    const timespec stamp{static_cast<time_t>(1'500'000'000 + below(200'000'000)),
                         static_cast<long>(below(1'000'000'000))};
    const timespec stamps[2] = {stamp, stamp};
    check(::utimensat(at, name.c_str(), stamps, AT_SYMLINK_NOFOLLOW) == 0, "utimensat " + name);
  }

  int create(int at, const std::string& name) {
    const int fd = ::openat(at, name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0644);
    check(fd >= 0, "create " + name);
    return fd;
  }
  void file(int at, const std::string& name, const std::string& data) {
    const int fd = create(at, name);
    for (size_t done = 0; done < data.size();) {
      const ssize_t put = ::write(fd, data.data() + done, data.size() - done);
      check(put > 0, "write " + name);
      done += static_cast<size_t>(put);
    }
    ::close(fd);
    set_times(at, name);
  }
  void directory(int at, const std::string& name, const std::function<void(int)>& fill) {
    check(::mkdirat(at, name.c_str(), 0755) == 0, "mkdir " + name);
    const int fd = ::openat(at, name.c_str(), O_RDONLY | O_DIRECTORY);
    check(fd >= 0, "open " + name);
    fill(fd);
    ::close(fd);
    set_times(at, name);
  }
  void chmod(int at, const std::string& name, mode_t mode) {
    check(::fchmodat(at, name.c_str(), mode, 0) == 0, "chmod " + name);
  }
  static std::string path_of(int at, const std::string& name) {
    return "/proc/self/fd/" + std::to_string(at) + "/" + name;
  }
  void xattr(int at, const std::string& name, const char* key, const std::string& value) {
    check(::lsetxattr(path_of(at, name).c_str(), key, value.data(), value.size(), 0) == 0,
          std::string("setxattr ") + key + " of " + name);
  }

  void contents(int at) {
    file(at, "empty", "");
    file(at, "one-byte", "x");
    file(at, "small", text(3000));
    file(at, "chunk-less-one", bytes((512 << 10) - 1));
    file(at, "chunk", bytes(512 << 10));
    file(at, "chunk-and-one", bytes((512 << 10) + 1));
    file(at, "zeros", std::string(3 << 20, '\0'));
    file(at, "text", text(2 << 20));
    const std::string twice = bytes(700 << 10);
    file(at, "twice-1", twice);
    file(at, "twice-2", twice);
    if (spec_.large) {
      file(at, "large", bytes((9 << 20) + 4321));
      file(at, "ones", std::string((8 << 20) + 7, '\1'));  // never cut before the largest length
    }
  }

  void names(int at) {
    const std::initializer_list<std::string> list{"a",
                                                  "a.b",
                                                  "a-b",
                                                  "A",
                                                  "a b",
                                                  " ",
                                                  "-rf",
                                                  "--",
                                                  "...",
                                                  ".hidden",
                                                  "'",
                                                  "\"",
                                                  "\\",
                                                  "\\x41",
                                                  "a\nb",
                                                  "tab\t",
                                                  "\x01",
                                                  "\x7f",
                                                  "\x08\x0c",
                                                  "\xff\xfe",
                                                  "half-\xc3",
                                                  "\xed\xa0\x80",
                                                  "\xc3\xa9t\xc3\xa9",
                                                  "\xf0\x9f\x92\xbe",
                                                  "nbsp\xc2\xa0",
                                                  "sep\xe2\x80\xa8",
                                                  "<&>",
                                                  "*",
                                                  "?",
                                                  "[a]",
                                                  "%s",
                                                  "$HOME",
                                                  "`id`",
                                                  "\xef\xbf\xbd",
                                                  std::string(255, 'n'),
                                                  std::string(254, '\xfe'),
                                                  "latest",
                                                  "CON",
                                                  "aux.txt",
                                                  "trailing.",
                                                  "x\r"};
    for (const std::string& name : list) file(at, name, name);
    directory(at, "a.d", [&](int in) { file(in, "z", "1"); });
    directory(at, "dir\xff", [&](int in) { file(in, "\xff", "2"); });
    // Their order differs from that of whole paths: '-' and '.' are before '/'.
    directory(at, "order", [&](int in) {
      directory(in, "x", [&](int deeper) { file(deeper, "y", "3"); });
      file(in, "x-", "4");
      file(in, "x.", "5");
      file(in, "x0", "6");
    });
  }

  void modes(int at) {
    for (mode_t mode :
         {0000, 0001, 0400, 0444, 0600, 0640, 0777, 01644, 02755, 04755, 06755, 07777}) {
      char name[16];
      std::snprintf(name, sizeof name, "file-%04o", mode);
      file(at, name, name);
      chmod(at, name, mode);
      std::snprintf(name, sizeof name, "dir-%04o", mode);
      directory(at, name, [&](int in) { file(in, "inside", "i"); });
      chmod(at, name, mode);
    }
  }

  void times(int at) {
    const std::initializer_list<std::pair<int64_t, long>> list{{0, 0},
                                                               {0, 1},
                                                               {-1, 500'000'000},
                                                               {-1, 999'999'999},
                                                               {-2'000'000'000, 7},
                                                               {1'700'000'000, 100'000'000},
                                                               {1'700'000'000, 999'999'999},
                                                               {7'000'000'000, 123'456'789}};
    int number = 0;
    for (const auto& [seconds, nanoseconds] : list) {
      const int fd = create(at, "time-" + std::to_string(number++));
      set_times(fd, seconds, nanoseconds);
      ::close(fd);
    }
  }

  // The kernel's binary form of an ACL: version 2, then (tag, permissions, id) triples.
  static std::string acl(std::initializer_list<std::tuple<uint16_t, uint16_t, uint32_t>> entries) {
    std::string value("\x02\0\0\0", 4);
    for (const auto& [tag, permissions, id] : entries) {
      value.append(reinterpret_cast<const char*>(&tag), 2);
      value.append(reinterpret_cast<const char*>(&permissions), 2);
      value.append(reinterpret_cast<const char*>(&id), 4);
    }
    return value;
  }

  void xattrs(int at) {
    constexpr uint32_t kNone = 0xffffffff;
    file(at, "file", "attributes");
    xattr(at, "file", "user.plain", "value");
    xattr(at, "file", "user.empty", "");
    xattr(at, "file", "user.binary", std::string("\0\xff\n\"", 4));
    xattr(at, "file", "user.caf\xc3\xa9", "utf-8 name");
    file(at, "big", "large attribute");
    xattr(at, "big", "user.big", bytes(2500));
    directory(at, "directory", [&](int in) { file(in, "child", "c"); });
    xattr(at, "directory", "user.of.directory", "d");
    file(at, "acl", "has an ACL");
    const std::string access = acl({{0x01, 6, kNone},
                                    {0x02, 7, 1234},
                                    {0x04, 4, kNone},
                                    {0x08, 5, 4321},
                                    {0x10, 7, kNone},
                                    {0x20, 0, kNone}});
    xattr(at, "acl", "system.posix_acl_access", access);
    directory(at, "acl-directory", [&](int in) {
      directory(in, "child", [](int) {});
      file(in, "file", "f");
    });
    xattr(at, "acl-directory", "system.posix_acl_default",
          acl({{0x01, 7, kNone},
               {0x02, 5, 1234},
               {0x04, 5, kNone},
               {0x10, 5, kNone},
               {0x20, 1, kNone}}));
    xattr(at, "acl-directory", "system.posix_acl_access", access);
    if (spec_.trusted_xattrs) {
      xattr(at, "file", "trusted.secret", "t");
      check(::symlinkat("file", at, "link") == 0, "symlink");
      xattr(at, "link", "trusted.of.link", "l");
      set_times(at, "link");
      check(::mkfifoat(at, "fifo", 0600) == 0, "mkfifo");
      xattr(at, "fifo", "trusted.of.fifo", "f");
      set_times(at, "fifo");
      file(at, "capable", "#!");
      // cap_net_bind_service, effective: revision 2
      xattr(at, "capable", "security.capability",
            std::string("\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20));
    }
  }

  void symlink(int at, const std::string& name, const std::string& target) {
    check(::symlinkat(target.c_str(), at, name.c_str()) == 0, "symlink " + name);
    set_times(at, name);
  }
  void symlinks(int at) {
    symlink(at, "relative", "../content/small");
    symlink(at, "absolute", "/etc/passwd");
    symlink(at, "dangling", "no/such/thing");
    symlink(at, "up", "../../../../../../..");
    symlink(at, "self", "self");
    symlink(at, "spaces", "  a b\n");
    symlink(at, "long", std::string(spec_.link_target_bytes, 'l'));
    symlink(at, "utf-8", "\xf0\x9f\x92\xbe");
    if (spec_.odd_link_targets) symlink(at, "raw", "raw-\xff\xfe-\xc3");
    directory(at, "directory", [](int) {});
    symlink(at, "to-directory", "directory");
    if (spec_.owners) check(::fchownat(at, "relative", 7, 8, AT_SYMLINK_NOFOLLOW) == 0, "lchown");
  }

  void special(int at) {
    check(::mkfifoat(at, "fifo", 0640) == 0, "mkfifo");
    chmod(at, "fifo", 0640);
    set_times(at, "fifo");
    if (spec_.devices) {
      check(::mknodat(at, "null", S_IFCHR | 0666, ::makedev(1, 3)) == 0, "mknod");
      check(::mknodat(at, "block", S_IFBLK | 0600, ::makedev(7, 0)) == 0, "mknod");
      check(::mknodat(at, "large", S_IFBLK | 0600, ::makedev(259, spec_.device_minor)) == 0, "mknod");
      for (const char* name : {"null", "block", "large"}) set_times(at, name);
      chmod(at, "null", 01666);
    }
    const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = path_of(at, "socket");
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    check(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0, "bind");
    ::close(fd);
  }

  void link(int from, const std::string& name, int to, const std::string& other) {
    check(::linkat(from, name.c_str(), to, other.c_str(), 0) == 0, "link " + other);
  }
  void links(int at) {
    file(at, "m-small", text(500));
    file(at, "m-empty", "");
    if (spec_.large) file(at, "m-large", bytes(2 << 20));
    symlink(at, "m-symlink", "anywhere");
    check(::mkfifoat(at, "m-fifo", 0600) == 0, "mkfifo");
    set_times(at, "m-fifo");
    if (spec_.devices)
      check(::mknodat(at, "m-device", S_IFCHR | 0600, ::makedev(1, 5)) == 0, "mknod");
    std::vector<std::string> names{"m-small", "m-empty", "m-symlink", "m-fifo"};
    if (spec_.large) names.push_back("m-large");
    if (spec_.devices) names.push_back("m-device");
    // One name before and one after it in the order of a walk, and some in directories of their
    // own.
    for (const std::string& name : names) link(at, name, at, "a" + name.substr(1));
    for (const std::string& name : names) link(at, name, at, "z" + name.substr(1));
    for (const char* in_name : {"b", "y"})
      directory(at, in_name, [&](int in) {
        for (const std::string& name : names) link(at, name, in, name);
      });
    if (spec_.devices) set_times(at, "m-device");
  }

  void owners(int at) {
    for (uint32_t id : {1u, 1000u, 65534u, 100000u, 4294967294u}) {
      const std::string name = "owner-" + std::to_string(id);
      file(at, name, name);
      chmod(at, name, 06755);
      check(::fchownat(at, name.c_str(), id, id / 2, 0) == 0, "chown");
      chmod(at, name, 06755);
      directory(at, "dir-" + std::to_string(id), [](int) {});
      check(::fchownat(at, ("dir-" + std::to_string(id)).c_str(), id, id, 0) == 0, "chown");
    }
  }

  void sparse(int at) {
    const auto holes = [&](const std::string& name, uint64_t size,
                           std::initializer_list<std::pair<uint64_t, size_t>> data) {
      const int fd = create(at, name);
      check(::ftruncate(fd, static_cast<off_t>(size)) == 0, "ftruncate");
      for (const auto& [offset, length] : data) {
        const std::string piece = bytes(length);
        check(::pwrite(fd, piece.data(), piece.size(), static_cast<off_t>(offset)) ==
                  static_cast<ssize_t>(piece.size()),
              "pwrite");
      }
      ::close(fd);
      set_times(at, name);
    };
    constexpr uint64_t kMiB = 1 << 20;
    constexpr size_t kBlock = 64 << 10;
    holes("only-hole", 300 * kMiB + 5, {});
    holes("small-hole", 100'000, {});
    holes("front", 4 * kMiB, {{3 * kMiB, kBlock}});
    holes("middle", 20 * kMiB,
          {{0, kBlock}, {10 * kMiB + 2 * kBlock, 3 * kBlock}, {20 * kMiB - kBlock, kBlock}});
    holes("tail", 8 * kMiB + 12345, {{0, kBlock}});
  }

  void random(int at) {
    for (size_t i = 0; i < spec_.random_files;) {
      const size_t here = 1 + below(20);
      directory(at, "d" + std::to_string(i), [&](int in) {
        for (size_t j = 0; j < here; ++j)
          file(in, "f" + std::to_string(below(1 << 30)) + "-" + std::to_string(j),
               below(4) ? text(below(20'000)) : bytes(below(60'000)));
      });
      i += here;
    }
  }

  void deep(int at, const std::string& name, size_t levels, size_t width) {
    directory(at, name, [&](int top) {
      int here = ::openat(top, ".", O_RDONLY | O_DIRECTORY);
      std::vector<std::string> names;
      for (size_t i = 0; i < levels; ++i) {
        names.push_back(std::string(width, static_cast<char>('a' + i % 26)));
        check(::mkdirat(here, names.back().c_str(), 0750) == 0, "mkdir deep");
        const int down = ::openat(here, names.back().c_str(), O_RDONLY | O_DIRECTORY);
        check(down >= 0, "open deep");
        ::close(here);
        here = down;
        if (i % 10 == 9) file(here, "file", std::to_string(i));
      }
      file(here, "bottom", "far down");
      for (size_t i = levels; i-- > 0;) {
        const int up = ::openat(here, "..", O_RDONLY | O_DIRECTORY);
        check(up >= 0, "open ..");
        set_times(up, names[i]);
        ::close(here);
        here = up;
      }
      ::close(here);
    });
  }

  const TreeSpec spec_;
  uint64_t state_;
};

}  // namespace

void make_tree(const std::string& directory, const TreeSpec& spec) {
  if (::mkdir(directory.c_str(), 0755) != 0) check(errno == EEXIST, "mkdir " + directory);
  const int root = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY);
  check(root >= 0, "open " + directory);
  const mode_t mask = ::umask(0);
  Maker(spec).run(root);
  ::umask(mask);
  ::close(root);
}

}  // namespace davit::test
