// A loop device over a file, which the kernel then writes to. It is freed with this, or with the
// process.
#pragma once

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "base/errors.h"
#include "base/fd.h"

namespace davit::test {

class LoopDevice {
 public:
  explicit LoopDevice(const std::string& path) {
    const base::Fd file(base::open_file(path, O_RDWR));
    const base::Fd control(base::open_file("/dev/loop-control", O_RDWR));
    for (;;) {
      const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
      if (number < 0) base::throw_errno("LOOP_CTL_GET_FREE", errno);
      device_ = base::open_file("/dev/loop" + std::to_string(number), O_RDWR);
      loop_config config{};
      config.fd = static_cast<uint32_t>(file.get());
      config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
      if (::ioctl(device_.get(), LOOP_CONFIGURE, &config) == 0) return;
      if (errno != EBUSY) base::throw_errno("LOOP_CONFIGURE", errno);
    }
  }

  // It is in the file when this returns.
  void write(const std::string& text, uint64_t offset) {
    base::pwrite_all(device_.get(), base::as_bytes(text), offset);
    if (::fsync(device_.get()) != 0) base::throw_errno("fsync of a loop device", errno);
  }

 private:
  base::Fd device_;
};

}  // namespace davit::test
