// A tree to which anything may happen, the same for the same seed: for tests that compare runs.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include <random>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/files.h"

namespace davit::test {

// Times that are equal to the last run's would prove nothing; the fake clock hides that.
inline void wait_for_next_tick() {
  timespec before, now;
  ::clock_gettime(CLOCK_REALTIME_COARSE, &before);
  do ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
  while (now.tv_sec == before.tv_sec && now.tv_nsec == before.tv_nsec);
}

class RandomTree {
 public:
  RandomTree(std::string root, uint32_t seed) : root_(std::move(root)), random_(seed) {
    base::make_directories(root_);
    directories_.push_back(root_);
  }

  void change() {
    const std::string path = pick(directories_) + "/" + name();
    const std::string other = pick(directories_) + "/" + name();
    switch (random_() % 14) {
      case 0:
      case 1:
      case 2:
        return write(path, random_() % 3 == 0 ? 0 : 1 + random_() % 5000);
      case 3:
      case 4:
        if (::mkdir(path.c_str(), 0755) == 0) directories_.push_back(path);
        return;
      case 5:
        return remove(path);
      case 6:
        if (path.find(other) != 0 && other.find(path) != 0) {
          remove(other);
          ::rename(path.c_str(), other.c_str());
        }
        return forget_lost();
      case 7:
        ::symlink(other.c_str(), path.c_str());
        return;
      case 8:
        ::link(path.c_str(), other.c_str());
        return;
      case 9:
        ::chmod(path.c_str(), 0400 | (random_() % 0400));
        return;
      case 10:
        ::lsetxattr(path.c_str(), "user.davit", path.c_str(), random_() % 20, 0);
        return;
      case 11:
        ::mkfifo(path.c_str(), 0600);
        return;
      case 12: {  // the same size, the old times
        struct stat before;
        if (::lstat(path.c_str(), &before) != 0 || !S_ISREG(before.st_mode)) return;
        write(path, static_cast<size_t>(before.st_size));
        const timespec times[2] = {before.st_atim, before.st_mtim};
        ::utimensat(AT_FDCWD, path.c_str(), times, 0);
        return;
      }
      default: {
        const timespec times[2] = {{1000000, 0}, {static_cast<time_t>(random_() % 1000000), 0}};
        ::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW);
      }
    }
  }

  // Directories that somebody else took away.
  void forget_lost() {
    std::erase_if(directories_, [](const std::string& path) {
      struct stat status;
      return ::lstat(path.c_str(), &status) != 0 || !S_ISDIR(status.st_mode);
    });
  }

 private:
  std::string name() {
    return std::string(1 + random_() % 2, static_cast<char>('a' + random_() % 5));
  }
  const std::string& pick(const std::vector<std::string>& from) {
    return from[random_() % from.size()];
  }
  void write(const std::string& path, size_t size) {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0644);
    if (fd < 0) return;
    const base::Fd file(fd);
    struct stat status;
    if (::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) return;
    base::Bytes bytes(size);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random_());
    base::write_all(fd, bytes);
    ASSERT_EQ(::ftruncate(fd, static_cast<off_t>(size)), 0);
  }
  void remove(const std::string& path) {
    struct stat status;
    if (::lstat(path.c_str(), &status) != 0) return;
    if (S_ISDIR(status.st_mode))
      base::remove_tree(path);
    else
      ::unlink(path.c_str());
    forget_lost();
  }
  const std::string root_;
  std::mt19937 random_;
  std::vector<std::string> directories_;
};

}  // namespace davit::test
