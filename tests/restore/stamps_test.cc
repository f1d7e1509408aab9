#include "restore/stamps.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <thread>
#include <vector>

#include "base/files.h"
#include "support/temp_dir.h"

namespace davit::restore {
namespace {

TEST(RestoreStamps, EachIsFoundWhateverTheOrderAndTheThread) {
  constexpr uint64_t kCount = 5000;  // several groups, and a part of one
  const test::TempDir directory;
  std::vector<base::Fd> files;
  for (const char* name : {"a", "b", "c"}) {
    base::write_file_atomic(directory / name, base::as_bytes(std::string(name[0] - 'a' + 1, 'x')));
    files.push_back(base::open_file(directory / name, O_RDONLY));
  }
  Stamps stamps(directory.path());
  std::vector<std::thread> threads;
  for (uint64_t thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      for (uint64_t i = thread; i < kCount; i += 4) {
        const uint64_t number = kCount - 1 - i;
        if (number % 7 == 0)
          stamps.pass_over(number);
        else
          stamps.take(number, files[number % 3].get());
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (uint64_t number = 0; number < kCount; ++number) {
    const auto found = stamps.find(number);
    ASSERT_EQ(found.has_value(), number % 7 != 0) << number;
    if (!found) continue;
    struct stat status;
    ASSERT_EQ(::fstat(files[number % 3].get(), &status), 0);
    EXPECT_EQ(found->inode, status.st_ino);
    EXPECT_EQ(found->size_bytes, number % 3 + 1);
    EXPECT_EQ(found->mtime.seconds, status.st_mtim.tv_sec);
    EXPECT_EQ(found->ctime.nanoseconds, status.st_ctim.tv_nsec);
  }
}

}  // namespace
}  // namespace davit::restore
