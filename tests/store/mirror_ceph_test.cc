// An append-only mirror in a bucket with S3's object lock, on Ceph's gateway: what somebody with
// davit's own keys can do to it, and what is left then.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>

#include "base/errors.h"
#include "base/files.h"
#include "crypto/sha256.h"
#include "jobs/mirror_removals.h"
#include "jobs/mirror_sync.h"
#include "store/open.h"
#include "support/ceph.h"
#include "support/made_repository.h"
#include "support/quick_repository.h"
#include "support/restic.h"
#include "support/skip.h"
#include "support/temp_dir.h"
#include "upkeep/prune.h"

namespace davit {
namespace {

using store::Kind;
using store::Name;
using ::testing::IsEmpty;
using ::testing::Not;

// Requests that the store itself has no use for.
class Bucket {
 public:
  explicit Bucket(const test::Ceph& ceph) : host_(ceph.http), name_("l" + base::make_uuid()) {}
  std::string url() const { return "s3:http://" + host_ + "/" + name_; }

  wire::HttpResponse send(const std::string& method, const std::string& key, store::s3::Query query,
                          const std::string& body = "", std::vector<wire::Header> headers = {}) {
    const auto place =
        store::s3::place_of(store::s3::parse_address(url()), store::s3::Style::path, key);
    store::s3::Request request{method, place.host, place.path, std::move(query),
                               std::move(headers)};
    const std::string hash = crypto::sha256(base::as_bytes(body)).hex();
    request.headers.emplace_back("x-amz-content-sha256", hash);
    store::s3::sign(request, hash, test::ceph_keys()(), {"us-east-1"}, base::SystemClock().now());
    const std::string words = store::s3::encode_query(request.query);
    wire::HttpRequest message;
    message.method = method;
    message.url = "http://" + place.host + place.path + (words.empty() ? "" : "?" + words);
    message.headers = request.headers;
    message.body = body;
    return client_.send(message);
  }
  // With object lock, and a day's retention that not even its owner can shorten.
  void make() {
    const auto made = send("PUT", "", {}, "", {{"x-amz-bucket-object-lock-enabled", "true"}});
    ASSERT_EQ(made.status, 200) << made.body;
    const auto locked = send("PUT", "", {{"object-lock", ""}},
                             "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</"
                             "ObjectLockEnabled><Rule><DefaultRetention>"
                             "<Mode>COMPLIANCE</Mode><Days>1</Days></DefaultRetention></Rule></"
                             "ObjectLockConfiguration>");
    ASSERT_EQ(locked.status, 200) << locked.body;
  }
  struct Version {
    std::string key, id;
    bool is_marker = false;  // of a removal
  };
  std::vector<Version> versions() {
    const std::string text = send("GET", "", {{"versions", ""}}).body;
    std::vector<Version> all;
    const std::regex one(
        "<(Version|DeleteMarker)>.*?<Key>(.*?)</Key>.*?<VersionId>(.*?)</VersionId>");
    for (auto match = std::sregex_iterator(text.begin(), text.end(), one);
         match != std::sregex_iterator(); ++match)
      all.push_back({(*match)[2], (*match)[3], (*match)[1] == "DeleteMarker"});
    return all;
  }

 private:
  const std::string host_, name_;
  wire::HttpClient client_;
};

TEST(MirrorOnCeph, ObjectLockKeepsItFromWhoeverHasTheKeys) {
  DAVIT_NEEDS_RESTIC();
  DAVIT_NEEDS_CEPH(ceph);
  Bucket bucket(ceph);
  bucket.make();
  test::TempDir directory;
  test::make_quick_repository(directory / "primary");
  store::StoreOptions s3;
  s3.s3_credentials = test::ceph_keys();
  const std::shared_ptr<store::Store> mirror = store::open_store(bucket.url(), s3);
  jobs::MirrorBook book(directory / "mirrors");
  book.set({{mirror->describe(), true}});
  store::MirrorOptions options;
  const auto removals = std::make_shared<jobs::MirrorRemovals>(book, std::vector{mirror->describe()});
  options.before_remove = [&](const Name& name) { removals->note(name); };
  const auto stores = std::make_shared<store::MirrorStore>(
      store::MirrorStore::Copy{store::open_store(directory / "primary"), true},
      std::vector<store::MirrorStore::Copy>{{mirror, false, true}}, options);
  const auto repository = repo::Repository::open(stores, test::kQuickPassword);
  base::SystemClock clock;
  const auto sync = [&] {
    jobs::MirrorSyncOptions with;
    with.identity = {.host = "here"};
    with.timing.settle = std::chrono::milliseconds(1);
    with.is_ours = [](const repo::LockInfo&) { return true; };
    with.clock = &clock;
    return jobs::sync_mirror(*repository, *stores, 0, book, with);
  };
  const test::Files content{{"a", test::noise(1, 50'000)}, {"b/c", "text"}};
  const base::Id first = test::save_files(*repository, content, test::packs_of(20'000));
  sync();
  test::save_files(*repository, {{"d", test::noise(2, 20'000)}});
  stores->remove({Kind::snapshot, first});
  repository->refresh_index();
  upkeep::execute_prune(*repository, upkeep::plan_prune(*repository, {}), {},
                        [](const auto& second_phase) { second_phase(); });
  EXPECT_EQ(sync().removed, 0u);
  const auto check = [&] {
    const auto checked =
        test::Restic(bucket.url(), test::kQuickPassword)
            .run({"check", "--read-data", "--no-lock"},
                 {"AWS_ACCESS_KEY_ID=davit", "AWS_SECRET_ACCESS_KEY=davit-secret"});
    EXPECT_EQ(checked.exit_code, 0) << checked.output;
  };
  check();
  EXPECT_EQ(test::ids_of(*mirror, Kind::snapshot).size(), 2u);

  // Written over: the older version stays, and what davit puts there again is one more.
  const Name pack{Kind::data, test::ids_of(*stores, Kind::data).front()};
  mirror->put(pack, base::as_bytes("encrypted by somebody else"));
  EXPECT_TRUE(repository->heal(pack));
  check();
  size_t of_pack = 0;
  for (const auto& version : bucket.versions()) of_pack += version.key.ends_with(pack.id.hex());
  EXPECT_EQ(of_pack, 3u);

  // Removed by somebody who has the keys: that leaves marks only, and no version goes.
  for (const Kind kind : {Kind::key, Kind::data, Kind::index, Kind::snapshot})
    for (const auto& id : test::ids_of(*mirror, kind)) mirror->remove({kind, id});
  mirror->remove({});
  EXPECT_EQ(mirror->find_size({}), std::nullopt);
  const auto versions = bucket.versions();
  size_t kept = 0;
  for (const auto& version : versions) {
    if (version.is_marker || version.key.starts_with("locks/")) continue;
    EXPECT_EQ(bucket.send("DELETE", version.key, {{"versionId", version.id}}).status, 403)
        << version.key;
    ++kept;
  }
  EXPECT_GT(kept, 8u);
  // Without the marks it is whole again.
  for (const auto& version : versions)
    if (version.is_marker && !version.key.starts_with("locks/")) {
      EXPECT_EQ(bucket.send("DELETE", version.key, {{"versionId", version.id}}).status, 204);
    }
  check();
  const auto alone = repo::Repository::open(mirror, test::kQuickPassword);
  alone->refresh_index();
  EXPECT_EQ(test::read_files(*alone, first), content);
}

}  // namespace
}  // namespace davit
