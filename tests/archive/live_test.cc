// Trees that change while they are saved, that hold what cannot be read, or that are large.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <functional>
#include <thread>

#include "base/fault.h"
#include "support/skip.h"
#include "support/test_repository.h"
#include "support/tree_maker.h"
#include "support/tree_manifest.h"
#include "support/volume_fixture.h"

namespace davit {
namespace {

using test::VolumeFixture;

class Live : public ::testing::Test {
 protected:
  Live() { base::make_directories(fixture_.volume("v")); }
  std::string file(const std::string& name) const { return fixture_.volume("v") + "/" + name; }
  void put(const std::string& name, base::ByteView content) {
    const base::Fd fd = base::open_file(file(name), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    base::write_all(fd.get(), content);
  }
  std::string manifest(const std::string& name) {
    return test::tree_manifest(fixture_.volume(name));
  }

  VolumeFixture fixture_;
};

// Calls `act` over and over beside the test's own work.
class Meanwhile {
 public:
  explicit Meanwhile(std::function<void()> act)
      : thread_([this, act = std::move(act)] {
          while (!stop_) act();
        }) {}
  ~Meanwhile() {
    stop_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

TEST_F(Live, AFileThatChangesAllTheTimeIsSavedAndNamed) {
  put("busy", test::random_bytes(64 << 20, 1));  // longer than a tick of the file system's clock
  put("still", test::random_bytes(100, 2));
  const base::Fd fd = base::open_file(file("busy"), O_WRONLY);
  uint64_t count = 0;
  Meanwhile writer([&] {
    base::pwrite_all(fd.get(), base::ByteView(reinterpret_cast<const uint8_t*>(&++count), 8), 0);
  });
  const auto saved = fixture_.save("v");
  EXPECT_EQ(saved.result.changed_while_read_count, 1u);
  ASSERT_EQ(saved.result.changed_while_read.size(), 1u);
  EXPECT_EQ(saved.result.changed_while_read[0].path, "busy");
  EXPECT_EQ(saved.result.unreadable_count, 0u);
  EXPECT_EQ(saved.result.total_files, 2u);
}

TEST_F(Live, AFileThatGrowsFasterThanItIsReadEnds) {
  put("log", test::random_bytes(1 << 20, 1));
  const base::Fd fd = base::open_file(file("log"), O_WRONLY | O_APPEND);
  const base::Bytes line = test::random_bytes(64 << 10, 2);
  std::atomic<uint64_t> written{1 << 20};
  Meanwhile writer([&] {
    if (written > (40 << 20)) return;
    base::write_all(fd.get(), line);
    written += line.size();
  });
  const auto saved = fixture_.save("v");
  EXPECT_EQ(saved.result.total_files, 1u);
  fixture_.restore(saved.result.tree, "v", "back");
  // Some length that it had, and the bytes that it had.
  const base::Bytes now = base::get_file(file("log"), 1 << 30);
  const base::Bytes then = base::get_file(fixture_.volume("back") + "/log", 1 << 30);
  ASSERT_LE(then.size(), now.size());
  EXPECT_GE(then.size(), size_t{1} << 20);
  EXPECT_TRUE(std::equal(then.begin(), then.end(), now.begin()));
  EXPECT_EQ(saved.result.total_bytes, then.size());
}

TEST_F(Live, AFileThatShrinksIsSavedWithTheSizeThatWasRead) {
  put("shrinks", test::random_bytes(8 << 20, 1));
  const base::Fd fd = base::open_file(file("shrinks"), O_WRONLY);
  std::atomic<off_t> size{8 << 20};
  Meanwhile writer([&] {
    if (size > 100'000) {
      ASSERT_EQ(::ftruncate(fd.get(), size -= 50'000), 0);
    }
  });
  const auto saved = fixture_.save("v");
  const auto restored = fixture_.restore(saved.result.tree, "v", "back");
  EXPECT_EQ(restored.problem_count, 0u);  // its size is that of its content
}

TEST_F(Live, NamesThatComeAndGoAreNoError) {
  for (int i = 0; i < 300; ++i) {
    base::make_directories(file("d" + std::to_string(i)));
    put("d" + std::to_string(i) + "/f", test::random_bytes(10, i));
  }
  put("anchor", test::random_bytes(1000, 1));
  unsigned round = 0;
  Meanwhile churn([&] {
    const std::string name = file("d" + std::to_string(round++ % 300));
    ::unlink((name + "/f").c_str());
    ::rmdir(name.c_str());
    ::mkdir(name.c_str(), 0755);
    ::symlink("/etc/passwd", (name + "/f").c_str());
    ::unlink((name + "/f").c_str());
    const int fd = ::open((name + "/f").c_str(), O_WRONLY | O_CREAT, 0644);
    if (fd >= 0) ::close(fd);
  });
  for (int i = 0; i < 5; ++i) {
    const auto saved = fixture_.save("v");
    for (const auto& problem : saved.result.unreadable)
      // It became a link between the look and the opening: that is told, not followed.
      EXPECT_NE(problem.reason.find("symbolic links"), std::string::npos)
          << problem.path << ": " << problem.reason;
    fixture_.restore(saved.result.tree, "v", "back" + std::to_string(i));
    EXPECT_TRUE(base::find_file(fixture_.volume("back" + std::to_string(i)) + "/anchor"));
  }
}

TEST_F(Live, HardLinksOfAFileThatVanishesAreReadFromAnother) {
  put("m", test::random_bytes(100, 1));
  for (int i = 0; i < 200; ++i)
    ASSERT_EQ(::link(file("m").c_str(), file("l" + std::to_string(i)).c_str()), 0);
  unsigned round = 0;
  Meanwhile churn([&] {
    const std::string name = file("l" + std::to_string(round++ % 200));
    ::unlink(name.c_str());
    ::link(file("m").c_str(), name.c_str());
  });
  for (int i = 0; i < 5; ++i) {
    const auto saved = fixture_.save("v");
    EXPECT_EQ(saved.result.unreadable_count, 0u);
    fixture_.restore(saved.result.tree, "v", "back" + std::to_string(i));
    EXPECT_EQ(base::get_file(fixture_.volume("back" + std::to_string(i)) + "/m"),
              test::random_bytes(100, 1));
  }
}

TEST_F(Live, WhatIsMountedInsideIsNotSaved) {
  if (::geteuid() != 0) DAVIT_SKIP("mounting needs root");
  base::make_directories(file("mounted"));
  put("target", {});
  if (::unshare(CLONE_NEWNS) != 0 || ::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      ::mount("tmpfs", file("mounted").c_str(), "tmpfs", 0, "size=1m") != 0)
    DAVIT_SKIP("no mounts here");
  put("mounted/secret", test::random_bytes(10, 1));
  ASSERT_EQ(::mount("/etc/passwd", file("target").c_str(), nullptr, MS_BIND, nullptr), 0);
  const auto saved = fixture_.save("v");
  ::umount(file("mounted").c_str());
  ::umount(file("target").c_str());
  fixture_.restore(saved.result.tree, "v", "back");
  EXPECT_EQ(base::list_directory(fixture_.volume("back") + "/mounted"), std::vector<std::string>{});
  EXPECT_EQ(base::get_file(fixture_.volume("back") + "/target"), base::Bytes());
  EXPECT_EQ(saved.result.unreadable_count, 0u);
}

TEST_F(Live, WhatCannotBeReadIsCountedAndNamedAndTheRestIsSaved) {
  put("a", test::random_bytes(10, 1));
  put("closed", test::random_bytes(10, 2));
  base::make_directories(file("closed-directory/inside"));
  ASSERT_EQ(::chmod(file("closed").c_str(), 0), 0);
  ASSERT_EQ(::chmod(file("closed-directory").c_str(), 0), 0);
  // Root may read everything, so another user's eyes are taken.
  struct Eyes {
    explicit Eyes(bool root) {
      if (root && ::seteuid(65534) != 0) throw base::Error("seteuid");
    }
    ~Eyes() {
      if (::seteuid(::getuid()) != 0) std::abort();
    }
  };
  archive::Result result;
  {
    repo::UploadSession session(fixture_.repository());
    const base::Fd root = base::open_file(fixture_.volume("v"), O_RDONLY | O_DIRECTORY);
    ASSERT_EQ(::fchmod(root.get(), 0755), 0);
    archive::Source source;
    source.directory = root.get();
    source.path = "/volumes/v";
    {
      const Eyes eyes(::geteuid() == 0);
      result = archive::archive_tree(fixture_.repository(), session, source, {});
    }
    session.finish();
  }
  EXPECT_EQ(result.unreadable_count, 2u);
  ASSERT_EQ(result.unreadable.size(), 2u);
  std::vector<std::string> names{result.unreadable[0].path, result.unreadable[1].path};
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{"closed", "closed-directory"}));
  EXPECT_EQ(result.total_files, 1u);
}

TEST_F(Live, AHundredThousandEntriesInOneDirectory) {
  const base::Fd directory = base::open_file(fixture_.volume("v"), O_RDONLY | O_DIRECTORY);
  for (int i = 0; i < 100'000; ++i) {
    const base::Fd fd =
        base::open_at(directory.get(), "entry-" + std::to_string(i), O_WRONLY | O_CREAT, 0600);
    if (i % 1000 == 0) base::write_all(fd.get(), test::random_bytes(100, i));
  }
  archive::Options options;
  options.scan_cache_path = fixture_.cache_of("v");
  const auto saved = fixture_.save("v", options);
  EXPECT_EQ(saved.result.total_files, 100'000u);
  const auto restored = fixture_.restore(saved.result.tree, "v", "back");
  EXPECT_EQ(restored.files, 100'000u);
  EXPECT_EQ(test::manifest_difference(manifest("v"), manifest("back")), "");
}

TEST_F(Live, AStopEndsItEarly) {
  test::make_tree(fixture_.volume("v"));
  std::stop_source stop;
  stop.request_stop();
  archive::Options options;
  options.stop = stop.get_token();
  EXPECT_THROW(fixture_.save("v", options), base::Cancelled);
  const auto saved = fixture_.save("v");
  restore::Options back;
  back.stop = stop.get_token();
  EXPECT_THROW(fixture_.restore(saved.result.tree, "v", "back", back), base::Cancelled);
}

TEST_F(Live, DescriptorsStayFew) {
  test::TreeSpec spec;
  spec.devices = spec.owners = spec.trusted_xattrs = ::geteuid() == 0;
  spec.random_files = 3000;
  spec.large = false;
  test::make_tree(fixture_.volume("v"), spec);
  struct Limit {
    rlimit old{};
    Limit() {
      ::getrlimit(RLIMIT_NOFILE, &old);
      rlimit few = old;
      few.rlim_cur = 400;
      ::setrlimit(RLIMIT_NOFILE, &few);
    }
    ~Limit() { ::setrlimit(RLIMIT_NOFILE, &old); }
  } limit;
  const auto saved = fixture_.save("v");
  fixture_.restore(saved.result.tree, "v", "back");
  EXPECT_EQ(saved.result.unreadable_count, 0u);
  EXPECT_EQ(test::manifest_difference(manifest("v"), manifest("back")), "");
}

}  // namespace
}  // namespace davit
