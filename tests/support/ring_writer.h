// Writes to a file through an io_uring in which the file is registered: no process has it open.
#pragma once

#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <string>

#include "base/errors.h"
#include "base/fd.h"

namespace davit::test {

class RingWriter {
 public:
  // `hidden`: without a descriptor and a mapping of its own, so that nothing in /proc shows it.
  // Throws Unsupported where there are no such rings (Linux 6.5).
  RingWriter(const base::Fd& file, bool hidden) : hidden_(hidden) {
    for (void*& page : pages_)
      page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    parameters_.flags = kNoMap | (hidden ? kRegisteredOnly : 0);
    parameters_.sq_off.resv2 = reinterpret_cast<uint64_t>(pages_[0]);  // user_addr
    parameters_.cq_off.resv2 = reinterpret_cast<uint64_t>(pages_[1]);
    ring_ = static_cast<int>(::syscall(SYS_io_uring_setup, 2, &parameters_));
    if (ring_ < 0) throw base::Unsupported("there is no such io_uring");
    const int number = file.get();
    if (::syscall(SYS_io_uring_register, ring_,
                  IORING_REGISTER_FILES | (hidden ? kUseRegistered : 0), &number, 1) != 0)
      base::throw_errno("io_uring_register", errno);
  }
  // The kernel lets go of the file some time after it.
  ~RingWriter() {
    if (hidden_) {
      io_uring_rsrc_update ring{};
      ring.offset = static_cast<uint32_t>(ring_);
      ::syscall(SYS_io_uring_register, ring_, IORING_UNREGISTER_RING_FDS | kUseRegistered, &ring,
                1);
    } else {
      ::close(ring_);
    }
    for (void* page : pages_) ::munmap(page, 4096);
  }
  RingWriter(const RingWriter&) = delete;
  RingWriter& operator=(const RingWriter&) = delete;

  void write(const std::string& text, uint64_t offset) {
    auto* const rings = static_cast<char*>(pages_[1]);
    const auto number = [&](uint32_t at) { return reinterpret_cast<uint32_t*>(rings + at); };
    const uint32_t tail = *number(parameters_.sq_off.tail);
    const uint32_t slot = tail & *number(parameters_.sq_off.ring_mask);
    auto& entry = static_cast<io_uring_sqe*>(pages_[0])[slot];
    entry = {};
    entry.opcode = IORING_OP_WRITE;
    entry.flags = IOSQE_FIXED_FILE;
    entry.off = offset;
    entry.addr = reinterpret_cast<uint64_t>(text.data());
    entry.len = static_cast<uint32_t>(text.size());
    number(parameters_.sq_off.array)[slot] = slot;
    std::atomic_ref(*number(parameters_.sq_off.tail)).store(tail + 1, std::memory_order_release);
    if (::syscall(SYS_io_uring_enter, ring_, 1, 1,
                  IORING_ENTER_GETEVENTS | (hidden_ ? IORING_ENTER_REGISTERED_RING : 0), nullptr,
                  0) != 1)
      base::throw_errno("io_uring_enter", errno);
    const uint32_t head = *number(parameters_.cq_off.head);
    const auto* const done = reinterpret_cast<io_uring_cqe*>(rings + parameters_.cq_off.cqes) +
                             (head & *number(parameters_.cq_off.ring_mask));
    if (done->res != static_cast<int>(text.size())) base::throw_errno("io_uring", -done->res);
    std::atomic_ref(*number(parameters_.cq_off.head)).store(head + 1, std::memory_order_release);
  }

 private:
  // Newer than the header that Debian 12 has.
  static constexpr uint32_t kNoMap = 1u << 14, kRegisteredOnly = 1u << 15;
  static constexpr uint32_t kUseRegistered = 1u << 31;

  const bool hidden_;
  io_uring_params parameters_{};
  void* pages_[2];  // the entries, and the rings
  int ring_;        // `hidden`: its index
};

}  // namespace davit::test
