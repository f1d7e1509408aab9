// Owned file descriptors and whole reads and writes. All calls retry EINTR and throw IoError.
#pragma once

#include <fcntl.h>

#include <string>
#include <utility>

#include "base/bytes.h"

namespace davit::base {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int number) : number_(number) {}
  Fd(Fd&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      reset();
      number_ = std::exchange(other.number_, -1);
    }
    return *this;
  }
  ~Fd() { reset(); }

  int get() const { return number_; }
  explicit operator bool() const { return number_ >= 0; }
  int release() { return std::exchange(number_, -1); }
  void reset();

 private:
  int number_ = -1;
};

// openat(2) with O_CLOEXEC; `what` names the file in the error (default: the path).
Fd open_at(int directory, const std::string& path, int flags, mode_t mode = 0);
inline Fd open_file(const std::string& path, int flags, mode_t mode = 0) {
  return open_at(AT_FDCWD, path, flags, mode);
}
Fd duplicate(int fd);

// Fills `out` unless the end of file comes first; returns the number of bytes read.
size_t read_up_to(int fd, std::span<uint8_t> out);
size_t pread_up_to(int fd, std::span<uint8_t> out, uint64_t offset);
void write_all(int fd, ByteView bytes);
void pwrite_all(int fd, ByteView bytes, uint64_t offset);

}  // namespace davit::base
