#include "store/local_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <set>

#include "base/errors.h"
#include "base/fault.h"
#include "base/files.h"
#include "store/open.h"
#include "store_contract.h"
#include "support/temp_dir.h"

namespace davit::store {
namespace {

struct LocalPlace : StorePlace {
  std::unique_ptr<Store> open() override {
    return std::make_unique<LocalStore>(directory / "repository");
  }
  test::TempDir directory;
};

INSTANTIATE_TEST_SUITE_P(Local, StoreContract,
                         ::testing::Values([]() -> std::unique_ptr<StorePlace> {
                           return std::make_unique<LocalPlace>();
                         }));

mode_t mode_of(const std::string& path) {
  struct stat status;
  EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
  return status.st_mode & 07777;
}

bool exists(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

Name data_name(uint8_t first) {
  Name name{Kind::data, {}};
  name.id.bytes[0] = first;
  name.id.bytes[31] = 1;
  return name;
}

TEST(LocalStore, LaysFilesOutAsResticDoes) {
  test::TempDir directory;
  LocalStore store(directory / "r");
  store.prepare();
  store.put(Name{}, base::as_bytes("c"));
  for (const Kind kind : {Kind::key, Kind::data, Kind::index, Kind::snapshot, Kind::lock})
    store.put({kind, data_name(0xab).id}, base::as_bytes("x"));
  const std::string id = data_name(0xab).id.hex();
  for (const std::string& path : {std::string("config"), "keys/" + id, "data/ab/" + id,
                                  "index/" + id, "snapshots/" + id, "locks/" + id}) {
    EXPECT_EQ(mode_of(directory / ("r/" + path)), 0400u) << path;
  }
  for (const std::string path :
       {"", "keys", "data", "data/00", "data/ff", "index", "snapshots", "locks"})
    EXPECT_EQ(mode_of(directory / ("r/" + path)), 0700u) << path;
}

TEST(LocalStore, SharesWithTheGroupWhereTheConfigIs) {
  test::TempDir directory;
  LocalStore(directory / "r").prepare();
  LocalStore(directory / "r").put(Name{}, base::as_bytes("c"));
  ASSERT_EQ(::chmod((directory / "r/config").c_str(), 0440), 0);
  ASSERT_EQ(::rmdir((directory / "r/data/ab").c_str()), 0);
  const mode_t mask = ::umask(0);
  LocalStore(directory / "r").put(data_name(0xab), base::as_bytes("x"));
  ::umask(mask);
  EXPECT_EQ(mode_of(directory / "r/data/ab"), 0770u);
  EXPECT_EQ(mode_of(directory / ("r/data/ab/" + data_name(0xab).id.hex())), 0440u);
}

TEST(LocalStore, IgnoresNamesThatAreNoIds) {
  test::TempDir directory;
  LocalStore store(directory / "r");
  store.prepare();
  const std::string id = data_name(0xab).id.hex();
  std::string upper = id;
  upper.replace(0, 2, "AB");
  for (const std::string& name :
       {id + "-tmp-1234", id.substr(1), "x" + id.substr(1), upper, std::string("README")})
    base::write_file_atomic(directory / ("r/data/ab/" + name), base::as_bytes("x"));
  base::write_file_atomic(directory / ("r/data/ac/" + id), base::as_bytes("in a wrong directory"));
  base::make_directories(directory / ("r/data/cd/cd" + id.substr(2)));
  store.list(Kind::data, [](const FileInfo& file) { ADD_FAILURE() << file.id.hex(); });
}

TEST(LocalStore, RemovesOldLeftoversOfItsOwnOnly) {
  test::TempDir directory;
  LocalStore store(directory / "r");
  store.prepare();
  const std::string stem = directory / ("r/data/ab/" + data_name(0xab).id.hex());
  const std::string old = stem + "-tmp-davit-0001", fresh = stem + "-tmp-davit-0002",
                    theirs = stem + "-tmp-123";
  for (const auto& path : {old, fresh, theirs}) base::write_file_atomic(path, base::as_bytes("x"));
  timespec times[2];
  ::clock_gettime(CLOCK_REALTIME, &times[0]);
  times[0].tv_sec -= 24 * 3600 + 100;
  times[1] = times[0];
  for (const auto& path : {old, theirs})
    ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
  store.prepare();
  EXPECT_FALSE(exists(old));
  EXPECT_TRUE(exists(fresh));
  EXPECT_TRUE(exists(theirs));
}

TEST(LocalStore, MakesAMissingDirectoryAgain) {
  test::TempDir directory;
  LocalStore store(directory / "r");
  store.prepare();
  store.put(Name{}, base::as_bytes("c"));
  base::remove_tree(directory / "r/data");
  base::remove_tree(directory / "r/locks");
  EXPECT_NO_THROW(store.list(Kind::lock, [](const FileInfo&) {}));
  store.put(data_name(0x12), base::as_bytes("x"));
  store.put({Kind::lock, data_name(1).id}, base::as_bytes("x"));
  EXPECT_EQ(base::as_text(store.get(data_name(0x12), 10)), "x");
}

// The story: the disk of the repository is not mounted, and its mount point is an empty directory.
// "No snapshots" would then be a lie, and a pack written there would vanish behind the mounted
// disk.
TEST(LocalStore, AnUnmountedDiskIsNoEmptyRepository) {
  test::TempDir directory;
  LocalStore store(directory.path());
  EXPECT_THROW(store.list(Kind::snapshot, [](const FileInfo&) {}), base::IoError);
  EXPECT_THROW(store.put(data_name(1), base::as_bytes("x")), base::IoError);
  EXPECT_THROW(LocalStore(directory / "nowhere").list(Kind::snapshot, [](const FileInfo&) {}),
               base::IoError);
  EXPECT_TRUE(base::list_directory(directory.path()).empty());
}

TEST(LocalStore, AFailedPutLeavesNothing) {
  test::TempDir directory;
  LocalStore store(directory / "r");
  store.prepare();
  const std::string in_the_way = directory / ("r/data/ab/" + data_name(0xab).id.hex());
  base::make_directories(in_the_way + "/full");
  EXPECT_THROW(store.put(data_name(0xab), base::as_bytes("x")), base::IoError);
  EXPECT_EQ(base::list_directory(directory / "r/data/ab").size(), 1u);
}

TEST(LocalStore, ADraftIsBesideTheFilesUntilItIsCommitted) {
  test::TempDir directory;
  LocalStore store(directory / "r");
  store.prepare();
  store.put(Name{}, base::as_bytes("c"));
  // Its directory may be lost meanwhile, and that of its name may be missing.
  base::remove_tree(directory / "r/data/ab");
  const auto draft = store.begin_draft(Kind::data, 0);
  draft->append(base::as_bytes("x"));
  draft->commit(data_name(0xab));
  struct stat status;
  ASSERT_EQ(::stat((directory / ("r/data/ab/" + data_name(0xab).id.hex())).c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0400u);
  store.begin_draft(Kind::data, 0)->append(base::as_bytes("x"));
  size_t files = 0;
  for (const std::string& name : base::list_directory(directory / "r/data"))
    files += base::list_directory(directory / ("r/data/" + name)).size();
  EXPECT_EQ(files, 1u) << "what was given up is still there";
}

int g_exit_at = 0;
int g_points = 0;

// At whichever step the process dies: absent or complete, and a second try succeeds.
TEST(LocalStore, DyingAtAnyStepLeavesAFileWholeOrAbsent) {
  const base::Bytes content(100'000, 7);
  bool completed = false;
  for (int step = 1; !completed; ++step) {
    ASSERT_LT(step, 50);
    test::TempDir directory;
    LocalStore store(directory / "r");
    store.prepare();
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      g_exit_at = step;
      base::fault_hook = [](const char*) {
        if (++g_points == g_exit_at) ::_exit(9);
      };
      const auto draft = store.begin_draft(Kind::data, content.size());
      draft->append(base::ByteView(content).first(10));
      draft->append(base::ByteView(content).subspan(10));
      draft->commit(data_name(5));
      store.put(data_name(5), content);
      store.remove(data_name(5));
      ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status));
    completed = WEXITSTATUS(status) == 0;
    size_t listed = 0;
    store.list(Kind::data, [&](const FileInfo& file) {
      ++listed;
      EXPECT_EQ(file.size_bytes, content.size());
    });
    const auto size = store.find_size(data_name(5));
    EXPECT_EQ(size.has_value(), listed == 1);
    if (size) {
      EXPECT_EQ(store.get(data_name(5), 1 << 20), content);
    }
    store.put(data_name(5), content);
    EXPECT_EQ(store.get(data_name(5), 1 << 20), content);
  }
}

TEST(OpenStore, KnowsPathsAndBucketsAndNamesThem) {
  EXPECT_EQ(open_store("/srv/backup//")->describe(), "/srv/backup");
  EXPECT_EQ(open_store("local:/srv/backup")->describe(), "/srv/backup");
  EXPECT_EQ(open_store("s3:https://host/bucket/p/")->describe(), "s3:host/bucket/p");
  for (const char* url :
       {"", "srv/backup", "local:", "local:srv", "s3x:host/bucket", "sftp:me:secret@host:/x"}) {
    try {
      open_store(url);
      ADD_FAILURE() << url;
    } catch (const base::UsageError& error) {
      const char* known = std::string_view(url).starts_with("sftp:") ? "DAVIT_SFTP_KEY_FILE" : "local:";
      EXPECT_NE(std::string(error.what()).find(known), std::string::npos);
      EXPECT_EQ(std::string(error.what()).find("secret"), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace davit::store
