#include "base/fd.h"

#include <unistd.h>

#include <cerrno>

#include "base/errors.h"

namespace davit::base {

void Fd::reset() {
  if (number_ >= 0) ::close(std::exchange(number_, -1));
}

Fd open_at(int directory, const std::string& path, int flags, mode_t mode) {
  for (;;) {
    const int number = ::openat(directory, path.c_str(), flags | O_CLOEXEC, mode);
    if (number >= 0) return Fd(number);
    const int error = errno;
    if (error != EINTR) throw_errno("cannot open " + path, error);
  }
}

Fd duplicate(int fd) {
  const int number = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (number < 0) throw_errno("cannot duplicate a descriptor", errno);
  return Fd(number);
}

namespace {

template <typename Call>
size_t transfer(const char* what, size_t size, Call call) {
  size_t done = 0;
  while (done < size) {
    const ssize_t got = call(done);
    if (got < 0) {
      const int error = errno;
      if (error == EINTR) continue;
      throw_errno(what, error);
    }
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  return done;
}

}  // namespace

size_t read_up_to(int fd, std::span<uint8_t> out) {
  return transfer("cannot read", out.size(),
                  [&](size_t done) { return ::read(fd, out.data() + done, out.size() - done); });
}

size_t pread_up_to(int fd, std::span<uint8_t> out, uint64_t offset) {
  return transfer("cannot read", out.size(), [&](size_t done) {
    return ::pread(fd, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
  });
}

void write_all(int fd, ByteView bytes) {
  transfer("cannot write", bytes.size(),
           [&](size_t done) { return ::write(fd, bytes.data() + done, bytes.size() - done); });
}

void pwrite_all(int fd, ByteView bytes, uint64_t offset) {
  transfer("cannot write", bytes.size(), [&](size_t done) {
    return ::pwrite(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
  });
}

}  // namespace davit::base
