// A repository whose store is away, and one from which no more is read than is allowed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <thread>

#include "base/errors.h"
#include "base/files.h"
#include "base/patience.h"
#include "jobs/repository_access.h"
#include "support/quick_repository.h"
#include "support/raw_server.h"
#include "support/temp_dir.h"

namespace davit::jobs {
namespace {

using namespace std::chrono_literals;
using test::RawServer;
using ::testing::HasSubstr;

struct RepositoryAway : ::testing::Test {
  RepositoryAway() {
    base::make_directories(data + "/secrets");
    base::write_file_atomic(data + "/secrets/repository-password", base::as_bytes("password\n"));
  }
  Settings settings_for(const std::string& url) {
    return Settings(data + "/davit.conf",
                    {{"DAVIT_HOSTNAME", "here"},
                     {"RESTIC_REPOSITORY", url},
                     {"AWS_ACCESS_KEY_ID", "key"},
                     {"AWS_SECRET_ACCESS_KEY", "secret"}},
                    {});
  }

  const test::TempDir dir;
  const std::string data = dir / "data";
};

TEST_F(RepositoryAway, IsWaitedForUntilAStop) {
  const Settings settings = settings_for("s3:http://127.0.0.1:1/bucket");
  RepositoryAccess access(settings, data, "0000-ours");
  std::stop_source stop;
  std::optional<std::string> ended;
  std::thread job([&] {
    const base::PatienceScope patience({15min, stop.get_token()});
    try {
      access.get();
    } catch (const base::Cancelled&) {
      ended = "cancelled";
    } catch (const base::Error& error) {
      ended = error.what();
    }
  });
  // Meanwhile whoever has less time is not held up.
  {
    const base::PatienceScope none({0ms});
    try {
      access.get();
      ADD_FAILURE() << "it is there";
    } catch (const base::IoError& error) {
      EXPECT_TRUE(error.transient());
      EXPECT_THAT(error.what(), HasSubstr("does the server run"));
    }
  }
  stop.request_stop();
  job.join();
  EXPECT_EQ(ended, "cancelled");
}

// One that refuses for good is not waited for.
TEST_F(RepositoryAway, IsNotWaitedForWhereItRefuses) {
  std::atomic<int> requests{0};
  const RawServer server([&](RawServer::Connection& connection) {
    for (RawServer::Request request; connection.read(request);) {
      ++requests;
      connection.answer(
          403, request.line.starts_with("HEAD ") ? "" : "<Error><Code>AccessDenied</Code></Error>");
    }
  });
  const Settings settings = settings_for("s3:" + server.url("/bucket"));
  RepositoryAccess access(settings, data, "0000-ours");
  const base::PatienceScope patience({15min});
  EXPECT_THROW(access.get(), base::IoError);
  EXPECT_LE(requests, 2);
}

TEST_F(RepositoryAway, IsReadNoFasterThanAllowed) {
  test::make_quick_repository(dir / "repository", "password");
  Settings settings = settings_for(dir / "repository");
  settings.set("DAVIT_LIMIT_DOWNLOAD", "64");  // KiB/s
  RepositoryAccess access(settings, data, "0000-ours");
  store::Store& store = access.get()->store();
  const store::Name pack{store::Kind::data, {}};
  store.put(pack, base::Bytes(24 << 10));
  base::Bytes bytes(24 << 10);
  const auto begun = std::chrono::steady_clock::now();
  for (int i = 0; i < 2; ++i) store.get_range(pack, 0, bytes);
  // The first may go at once, the second when it has gone; a tenth of a second may be made up for.
  EXPECT_GE(std::chrono::steady_clock::now() - begun, 250ms);
}

}  // namespace
}  // namespace davit::jobs
