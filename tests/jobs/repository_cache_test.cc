// The cache of a repository on an S3 server, Ceph's gateway, that several hosts share.
#include "jobs/repository_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "base/patience.h"
#include "jobs/repository_access.h"
#include "support/ceph.h"
#include "support/made_repository.h"
#include "support/skip.h"
#include "support/temp_dir.h"

namespace davit::jobs {
namespace {

using ::testing::Contains;
using ::testing::IsEmpty;
using ::testing::Not;
using Environment = std::map<std::string, std::string>;

// A machine with nothing but its settings.
struct Host {
  Host(const std::string& directory, Environment environment)
      : data(made(directory)),
        settings(data + "/davit.conf", std::move(environment), {}),
        access(settings, data, "11111111-" + base::make_uuid()) {}
  static std::string made(const std::string& directory) {
    base::make_directories(directory);
    return directory;
  }
  repo::Repository& open() {
    repository = access.get();
    repository->refresh_index();
    return *repository;
  }
  std::string files() const { return cache_directory(data, *repository) + "/" + kCacheFiles; }

  const std::string data;
  const Settings settings;
  RepositoryAccess access;
  std::shared_ptr<repo::Repository> repository;
};

class RepositoryCache : public ::testing::Test {
 protected:
  Environment environment(const test::Ceph& ceph, Environment more = {}) const {
    more.insert({{"RESTIC_REPOSITORY", "s3:http://" + ceph.http + "/" + bucket_ + "/all"},
                 {"AWS_ACCESS_KEY_ID", "davit"},
                 {"AWS_SECRET_ACCESS_KEY", "davit-secret"},
                 {"RESTIC_PASSWORD", "password"}});
    return more;
  }
  const test::TempDir dir_;
  const std::string bucket_ = "b" + base::make_uuid();
  const test::Files saved_{{"big", test::noise(1, 3'000'000)}, {"d/e/small", "content"}};
  const base::PatienceScope patience_{{std::chrono::minutes(15)}};  // as a job has it
};

TEST_F(RepositoryCache, ANewHostNeedsNothingButTheKeysAndThePassword) {
  DAVIT_NEEDS_CEPH(ceph);
  Host one(dir_ / "one", environment(ceph));
  one.access.init();
  const base::Id snapshot = test::save_files(one.open(), saved_);
  EXPECT_THAT(base::list_directory(one.files() + "/snapshot"), Contains(snapshot.hex()))
      << "what it wrote it has";
  EXPECT_THAT(base::list_directory(one.files() + "/index"), Not(IsEmpty()));

  Host two(dir_ / "two", environment(ceph));
  EXPECT_EQ(two.open().load_snapshots().size(), 1u);
  EXPECT_EQ(test::read_files(two.open(), snapshot), saved_);
  for (const char* kind : {"index", "snapshot", "data"})
    EXPECT_EQ(base::list_directory(two.files() + "/" + kind).size(), 1u) << kind;

  Host without(dir_ / "without", environment(ceph, {{"DAVIT_CACHE_SIZE", "0"}}));
  EXPECT_EQ(test::read_files(without.open(), snapshot), saved_);
  for (const char* kind : {"index", "snapshot", "data"})
    EXPECT_THAT(base::list_directory(without.files() + "/" + kind), IsEmpty()) << kind;

  Host elsewhere(dir_ / "elsewhere", environment(ceph, {{"RESTIC_CACHE_DIR", dir_ / "caches"}}));
  EXPECT_EQ(test::read_files(elsewhere.open(), snapshot), saved_);
  const std::string id = elsewhere.repository->id().hex().substr(0, 16);
  EXPECT_THAT(base::list_directory(dir_ / ("caches/davit-" + id + "/files/data")), Not(IsEmpty()));
}

TEST_F(RepositoryCache, ARepositoryOnThisMachineHasNone) {
  Host host(dir_ / "host", {});
  test::save_files(host.open(), saved_);
  EXPECT_THAT(base::list_directory(cache_directory(host.data, *host.repository)),
              Not(Contains(std::string(kCacheFiles))));
}

}  // namespace
}  // namespace davit::jobs
