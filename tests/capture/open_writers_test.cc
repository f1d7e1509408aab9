// Who writes without telling, and where that cannot be seen.
#include "capture/open_writers.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <linux/io_uring.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <optional>
#include <thread>

#include "base/fd.h"
#include "capture/file_handle.h"
#include "support/loop_mount.h"
#include "support/skip.h"
#include "support/tracked_volume.h"

namespace davit::capture {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

class OpenWritersTest : public ::testing::Test {
 protected:
  void SetUp() override {
    DAVIT_NEEDS_MOUNTS();
    disk_.emplace("ext4");
    const base::Fd made = base::open_file(path(), O_WRONLY | O_CREAT, 0644);
    handle_ = find_handle(made.get());
    ASSERT_NE(handle_, 0u);
    if (const auto doubt = find_here().doubt; !doubt.empty()) DAVIT_SKIP(doubt);
  }
  std::string path() const { return *disk_ / "file"; }
  OpenWriters find_here() const {
    struct stat status;
    EXPECT_EQ(::stat(disk_->path().c_str(), &status), 0);
    return find_open_writers(status.st_dev, test::harmless_process());
  }

  std::optional<test::LoopMount> disk_;
  uint64_t handle_ = 0;
};

TEST_F(OpenWritersTest, ThoseWhoHaveItOpenForWriting) {
  EXPECT_THAT(find_here().files, Not(Contains(handle_)));
  {
    const base::Fd reader = base::open_file(path(), O_RDONLY);
    EXPECT_THAT(find_here().files, Not(Contains(handle_)));
    const base::Fd writer = base::open_file(path(), O_WRONLY);
    EXPECT_THAT(find_here().files, Contains(handle_));
  }
  EXPECT_THAT(find_here().files, Not(Contains(handle_)));
}

TEST_F(OpenWritersTest, ThoseWhoHaveItMapped) {
  ASSERT_EQ(::truncate(path().c_str(), 4096), 0);
  void* map;
  {
    const base::Fd writer = base::open_file(path(), O_RDWR);
    map = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, writer.get(), 0);
  }
  ASSERT_NE(map, MAP_FAILED);
  EXPECT_THAT(find_here().files, Contains(handle_));
  ASSERT_EQ(::mprotect(map, 4096, PROT_READ), 0);
  EXPECT_THAT(find_here().files, Contains(handle_));
  ::munmap(map, 4096);
  EXPECT_THAT(find_here().files, Not(Contains(handle_)));
}

TEST_F(OpenWritersTest, AThreadWithATableOfItsOwn) {
  std::atomic<bool> opened{false}, done{false};
  std::thread thread([&] {
    EXPECT_EQ(::unshare(CLONE_FILES), 0);
    const base::Fd writer = base::open_file(path(), O_WRONLY);
    opened = true;
    while (!done) ::usleep(1000);
  });
  while (!opened) ::usleep(1000);
  EXPECT_THAT(find_here().files, Contains(handle_));
  done = true;
  thread.join();
}

TEST_F(OpenWritersTest, OneOnItsWayInAMessageIsADoubt) {
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  const base::Fd one(pair[0]), other(pair[1]);
  {
    const base::Fd writer = base::open_file(path(), O_WRONLY);
    char byte = 0;
    iovec data{&byte, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    const int number = writer.get();
    std::memcpy(CMSG_DATA(header), &number, sizeof number);
    ASSERT_EQ(::sendmsg(one.get(), &message, 0), 1);
  }
  EXPECT_THAT(find_here().doubt, HasSubstr("on its way"));
}

TEST_F(OpenWritersTest, OneThatIsRegisteredWithAnIoUringIsADoubt) {
  io_uring_params parameters{};
  const base::Fd ring(static_cast<int>(::syscall(SYS_io_uring_setup, 2, &parameters)));
  if (!ring) DAVIT_SKIP("there is no io_uring");
  EXPECT_EQ(find_here().doubt, "");
  {
    const base::Fd writer = base::open_file(path(), O_WRONLY);
    const int number = writer.get();
    ASSERT_EQ(::syscall(SYS_io_uring_register, ring.get(), IORING_REGISTER_FILES, &number, 1), 0);
  }
  EXPECT_THAT(find_here().doubt, HasSubstr("io_uring"));
}

// A ring that is registered with itself is used without a descriptor.
TEST_F(OpenWritersTest, AnIoUringWithoutADescriptorIsADoubt) {
  io_uring_params parameters{};
  base::Fd ring(static_cast<int>(::syscall(SYS_io_uring_setup, 2, &parameters)));
  if (!ring) DAVIT_SKIP("there is no io_uring");
  const size_t size = parameters.sq_entries * sizeof(io_uring_sqe);
  void* const entries = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring.get(),
                               static_cast<off_t>(IORING_OFF_SQES));
  ASSERT_NE(entries, MAP_FAILED);
  EXPECT_EQ(find_here().doubt, "");
  ring.reset();
  EXPECT_THAT(find_here().doubt, HasSubstr("io_uring"));
  ::munmap(entries, size);
  EXPECT_EQ(find_here().doubt, "");
}

TEST_F(OpenWritersTest, AnIoUringOfSocketsIsNone) {
  io_uring_params parameters{};
  const base::Fd ring(static_cast<int>(::syscall(SYS_io_uring_setup, 2, &parameters)));
  if (!ring) DAVIT_SKIP("there is no io_uring");
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  const base::Fd one(pair[0]), other(pair[1]);
  ASSERT_EQ(::syscall(SYS_io_uring_register, ring.get(), IORING_REGISTER_FILES, pair, 2), 0);
  EXPECT_EQ(find_here().doubt, "");
}

// What cannot be looked at is a doubt, never nothing.
TEST_F(OpenWritersTest, AProcessThatCannotBeLookedAtIsADoubt) {
  // The exit code of a process of our own that looks, once it is as `change` made it.
  const auto is_doubt_after = [&](auto&& change) {
    struct stat status;
    EXPECT_EQ(::stat(disk_->path().c_str(), &status), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      if (!change()) ::_exit(2);
      ::_exit(find_open_writers(status.st_dev, test::harmless_process()).doubt.empty() ? 0 : 1);
    }
    int code = 0;
    EXPECT_EQ(::waitpid(child, &code, 0), child);
    return WIFEXITED(code) ? WEXITSTATUS(code) : -1;
  };
  EXPECT_EQ(is_doubt_after([] { return true; }), 0);
  EXPECT_EQ(is_doubt_after([] {
              __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
              __user_cap_data_struct data[2];
              if (::syscall(SYS_capget, &header, data) != 0) return false;
              data[0].effective &= ~(1u << CAP_SYS_PTRACE);
              return ::syscall(SYS_capset, &header, data) == 0;
            }),
            1);
  // All capabilities, but not over the processes of others. A sanitizer's thread forbids it.
  EXPECT_NE(is_doubt_after([] { return ::unshare(CLONE_NEWUSER) == 0; }), 0);
  EXPECT_EQ(is_doubt_after([] {
              // As in a container: other processes, an own /proc or none.
              return ::unshare(CLONE_NEWNS) == 0 &&
                     ::mount("none", "/proc", "tmpfs", 0, nullptr) == 0;
            }),
            1);
  // Whom this machine hides from us is one, unless a test says otherwise.
  const bool hides = !test::harmless_process().empty();
  struct stat status;
  ASSERT_EQ(::stat(disk_->path().c_str(), &status), 0);
  EXPECT_EQ(!find_open_writers(status.st_dev).doubt.empty(), hides);
}

// A process that nobody looks at is none.
TEST_F(OpenWritersTest, TheMachineMustBeSeenWhole) {
  EXPECT_EQ(find_here().doubt, "");
  const base::Fd writer = base::open_file(path(), O_WRONLY);
  auto all = test::harmless_process();
  all.insert(::getpid());
  struct stat status;
  ASSERT_EQ(::stat(disk_->path().c_str(), &status), 0);
  EXPECT_THAT(find_open_writers(status.st_dev, all).files, Not(Contains(handle_)));
}

}  // namespace
}  // namespace davit::capture
