#include "support/loop_mount.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "base/errors.h"
#include "base/fd.h"
#include "support/program.h"

namespace davit::test {

namespace {

void must(const std::vector<std::string>& command) {
  const Outcome outcome = run(command);
  if (outcome.exit_code == 0) return;
  std::string text;
  for (const std::string& word : command) text += word + " ";
  throw base::Error(text + "failed: " + outcome.output + outcome.errors);
}

// Once a process.
void leave_the_mounts_of_others() {
  static const bool left = [] {
    if (::unshare(CLONE_NEWNS) != 0) base::throw_errno("unshare", errno);
    if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
      base::throw_errno("make the mounts private", errno);
    return true;
  }();
  static_cast<void>(left);
}

}  // namespace

LoopMount::LoopMount(const std::string& type, uint64_t size_bytes) {
  leave_the_mounts_of_others();
  const std::string image = directory_.path() + ".image";
  const base::Fd file(::open(image.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file) base::throw_errno("cannot make " + image, errno);
  struct Unlink {
    const std::string& path;
    ~Unlink() { ::unlink(path.c_str()); }
  } unlink_it{image};
  if (::ftruncate(file.get(), static_cast<off_t>(size_bytes)) != 0)
    base::throw_errno("cannot set the size of " + image, errno);
  if (type == "ext4")
    must({"mkfs.ext4", "-q", "-F", "-T", "default", image});  // as a large one is made
  else
    must({"mkfs." + type, "-q", image});
  // The device frees itself once it is unmounted.
  must({"mount", "-o", "loop", "-t", type, image, path()});
}

LoopMount::~LoopMount() {
  // Lazily: whoever has something open in it may go on; the device is freed after that.
  ::umount2(path().c_str(), MNT_DETACH);
}

void LoopMount::set_read_only(bool read_only) {
  if (::mount(nullptr, path().c_str(), nullptr, MS_REMOUNT | (read_only ? MS_RDONLY : 0),
              nullptr) != 0)
    base::throw_errno("cannot remount " + path(), errno);
}

uint64_t LoopMount::free_bytes() const {
  struct statvfs status;
  if (::statvfs(path().c_str(), &status) != 0) base::throw_errno("cannot stat " + path(), errno);
  return uint64_t{status.f_bavail} * status.f_frsize;
}

void LoopMount::fill_but(uint64_t bytes) {
  if (free_bytes() <= bytes) throw base::Error("less than that is free already");
  const std::string ballast = path() + "/ballast";
  const base::Fd file(::open(ballast.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  if (!file) base::throw_errno("cannot make " + ballast, errno);
  const int number = ::posix_fallocate(file.get(), 0, static_cast<off_t>(free_bytes() - bytes));
  if (number != 0) base::throw_errno("cannot fill " + path(), number);
}

void LoopMount::empty() {
  ::unlink((path() + "/ballast").c_str());
  const base::Fd top(::open(path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ::syncfs(top.get());
}

const std::string& LoopMount::obstacle() {
  static const std::string text = []() -> std::string {
    try {
      LoopMount("ext4", 16 << 20);
      return "";
    } catch (const std::exception& error) {
      return error.what();
    }
  }();
  return text;
}

}  // namespace davit::test
