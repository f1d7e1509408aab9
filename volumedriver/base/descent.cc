#include "base/descent.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/errors.h"

namespace davit::base {

int open_directory_at(int directory, const char* name) {
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
  for (bool touch : {false, true}) {
    int fd;
    do fd = ::openat(directory, name, kFlags | (touch ? 0 : O_NOATIME));
    while (fd < 0 && errno == EINTR);
    if (fd >= 0 || errno != EPERM) return fd;
  }
  return -1;
}

Descent::Descent(Handle root) {
  levels_.push_back({"", std::move(root), 0, 0});
}

void Descent::enter(const std::string& name, Fd directory) {
  struct stat status;
  if (::fstat(directory.get(), &status) != 0) throw_errno("cannot stat " + name, errno);
  levels_.push_back(
      {name, std::make_shared<const Fd>(std::move(directory)), status.st_dev, status.st_ino});
  // Level 0 is the root, which stays.
  if (levels_.size() > kOpenLevels + 1) levels_[levels_.size() - 1 - kOpenLevels].handle.reset();
}

bool Descent::leave() {
  DAVIT_CHECK(levels_.size() > 1);
  const Handle child = std::move(levels_.back().handle);
  levels_.pop_back();
  if (levels_.size() > 1 && !levels_.back().handle) levels_.back().handle = reopen(child);
  return levels_.back().handle != nullptr;
}

Descent::Handle Descent::reopen(const Handle& child) const {
  const auto is_it = [](const Fd& fd, const Level& level) {
    struct stat status;
    return fd && ::fstat(fd.get(), &status) == 0 && status.st_dev == level.device &&
           status.st_ino == level.inode;
  };
  const Level& wanted = levels_.back();
  if (child) {
    Fd up(open_directory_at(child->get(), ".."));
    if (is_it(up, wanted)) return std::make_shared<const Fd>(std::move(up));
  }
  // The child was moved elsewhere, or was lost itself: by names, from the nearest level that is
  // open.
  size_t from = levels_.size() - 1;
  while (!levels_[from].handle) --from;
  Handle at = levels_[from].handle;
  for (size_t i = from + 1; i < levels_.size(); ++i) {
    Fd down(open_directory_at(at->get(), levels_[i].name.c_str()));
    if (!is_it(down, levels_[i])) return nullptr;
    at = std::make_shared<const Fd>(std::move(down));
  }
  return at;
}

}  // namespace davit::base
