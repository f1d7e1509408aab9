// The S3 store on a real server, Ceph's gateway.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/errors.h"
#include "base/files.h"
#include "repo/repository.h"
#include "store/open.h"
#include "store_contract.h"
#include "support/ceph.h"
#include "support/made_repository.h"
#include "support/restic.h"
#include "support/skip.h"
#include "support/temp_dir.h"
#include "upkeep/check.h"

namespace davit::store {
namespace {

using base::IoError;
using test::Ceph;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

S3Options options_of(const std::string& user = "davit") {
  S3Options options;
  options.credentials = test::ceph_keys(user);
  return options;
}

// A bucket's name that no other test has.
std::string new_bucket() {
  return "b" + base::make_uuid();
}

struct CephPlace : StorePlace {
  CephPlace(std::string url, S3Options with)
      : address(s3::parse_address(url)), options(std::move(with)) {}
  std::unique_ptr<Store> open() override { return std::make_unique<S3Store>(address, options); }
  s3::Address address;
  S3Options options;
  test::TempDir directory;
};

// Nothing to ask where there is no Ceph: every test fails then, or says that it is left out.
StoreMaker maker(const std::function<std::unique_ptr<StorePlace>(const Ceph&)>& make) {
  return [make]() -> std::unique_ptr<StorePlace> {
    const auto ceph = Ceph::find(DAVIT_CEPH);
    return ceph ? make(*ceph) : nullptr;
  };
}

INSTANTIATE_TEST_SUITE_P(
    S3BeneathAPrefix, StoreContract, ::testing::Values(maker([](const Ceph& ceph) {
      S3Options options = options_of();
      options.files_per_page = 97;
      return std::make_unique<CephPlace>(
          "s3:http://" + ceph.http + "/contract/" + base::make_uuid() + "/a b+é", options);
    })));
INSTANTIATE_TEST_SUITE_P(S3BucketInTheHost, StoreContract,
                         ::testing::Values(maker([](const Ceph& ceph) {
                           S3Options options = options_of();
                           options.style = s3::Style::host;
                           auto place = std::make_unique<CephPlace>(
                               "s3:http://" + ceph.named + "/" + new_bucket(), options);
                           place->options.spool_directory = place->directory.path();
                           return place;
                         })));

const Name kFile{Kind::index, {}};

std::string words(S3Store store) {
  try {
    store.get(kFile, 100);
  } catch (const IoError& error) {
    EXPECT_FALSE(error.transient()) << error.what();
    EXPECT_THAT(error.what(), Not(HasSubstr("secret'")));
    return error.what();
  } catch (const base::NotFound&) {
    return "not found";
  }
  return "no error";
}

TEST(S3OnCeph, SaysWhatIsWrong) {
  DAVIT_NEEDS_CEPH(ceph);
  const auto address = s3::parse_address("s3:http://" + ceph.http + "/" + new_bucket());
  EXPECT_THAT(words(S3Store(address, options_of())),
              HasSubstr("there is no bucket " + address.bucket));
  EXPECT_THROW(S3Store(address, options_of()).find_size(kFile), IoError);
  EXPECT_THROW(S3Store(address, options_of()).list(Kind::data, [](const FileInfo&) {}), IoError);
  EXPECT_THROW(S3Store(address, options_of()).remove(kFile), IoError);
  EXPECT_THROW(S3Store(address, options_of()).put(kFile, base::as_bytes("x")), IoError);
  S3Store(address, options_of()).prepare();
  EXPECT_EQ(words(S3Store(address, options_of())), "not found");

  S3Options options = options_of();
  options.credentials = [] { return s3::Credentials{"davit", "another", ""}; };
  EXPECT_THAT(words(S3Store(address, options)), HasSubstr("check AWS_SECRET_ACCESS_KEY"));
  options.credentials = [] { return s3::Credentials{"nobody", "another", ""}; };
  EXPECT_THAT(words(S3Store(address, options)), HasSubstr("check AWS_ACCESS_KEY_ID"));
  EXPECT_THAT(words(S3Store(address, options_of("stranger"))),
              HasSubstr("these keys may not do this"));
  EXPECT_THROW(S3Store(address, options_of("stranger")).find_size(kFile), IoError);
  for (const auto off : {std::chrono::hours(1), std::chrono::hours(-1)}) {
    options = options_of();
    options.now = [off] { return base::SystemClock().now() + off; };
    EXPECT_THAT(words(S3Store(address, options)),
                AllOf(HasSubstr("set this machine's clock"), HasSubstr(" GMT")));
  }
}

TEST(S3OnCeph, SpeaksTlsToWhomItTrustsOnly) {
  DAVIT_NEEDS_CEPH(ceph);
  const auto address = s3::parse_address("s3:https://" + ceph.https + "/" + new_bucket());
  EXPECT_THAT(words(S3Store(address, options_of())),
              AllOf(HasSubstr("certificate"), HasSubstr("RESTIC_CACERT")));
  S3Options options = options_of();
  options.ca_file = ceph.ca;
  S3Store store(address, options);
  store.prepare();
  store.put(kFile, base::as_bytes("content"));
  EXPECT_EQ(base::as_text(store.get(kFile, 100)), "content");
  options.ca_file = "/nowhere";
  EXPECT_THAT(words(S3Store(address, options)), HasSubstr("/nowhere"));
  options.ca_file = ceph.ca;
  const size_t colon = ceph.https.find(':');
  EXPECT_THAT(words(S3Store(s3::parse_address("s3:https://ip6-loopback.localhost" +
                                              ceph.https.substr(colon) + "/b"),
                            options)),
              HasSubstr("RESTIC_CACERT"))
      << "a certificate for another name";
}

// Two hosts that say `davit init` at once: one of them wins, and the other one is told.
TEST(S3OnCeph, OnlyOneOfTwoMakesTheRepository) {
  DAVIT_NEEDS_CEPH(ceph);
  const auto address = s3::parse_address("s3:http://" + ceph.http + "/" + new_bucket());
  S3Store one(address, options_of()), two(address, options_of());
  one.prepare();
  one.put(Name{}, base::as_bytes("one"));
  EXPECT_THROW(two.put(Name{}, base::as_bytes("two")), base::Conflict);
  EXPECT_EQ(base::as_text(two.get(Name{}, 10)), "one");
  EXPECT_NO_THROW(two.put(Name{}, base::as_bytes("one")));
}

TEST(S3OnCeph, ResticAndWeUseOneRepositoryInABucket) {
  DAVIT_NEEDS_RESTIC();
  DAVIT_NEEDS_CEPH(ceph);
  const std::string url = "s3:http://" + ceph.http + "/" + new_bucket() + "/a/b";
  StoreOptions options;
  options.s3_credentials = test::ceph_keys();
  const auto run = [&](const std::vector<std::string>& words) {
    const auto result =
        test::Restic(url, "password")
            .run(words, {"AWS_ACCESS_KEY_ID=davit", "AWS_SECRET_ACCESS_KEY=davit-secret",
                         "RESTIC_PROGRESS_FPS=0"});
    EXPECT_EQ(result.exit_code, 0) << words[0] << ": " << result.output;
    return result.output;
  };
  // Ours, for restic.
  const test::Files ours{{"big", test::noise(1, 3'000'000)}, {"d/small", "content"}, {"empty", ""}};
  test::TempDir directory;
  {
    const auto repository = repo::Repository::init(open_store(url, options), "password");
    const base::Id snapshot = test::save_files(*repository, ours, test::packs_of(500'000));
    run({"check", "--read-data"});
    run({"restore", snapshot.hex(), "--target", directory / "restored"});
  }
  for (const auto& [path, content] : ours)
    EXPECT_EQ(base::as_text(base::get_file(directory / ("restored/" + path), 10 << 20)), content)
        << path;
  // Restic's, for us; and what it removes and repacks.
  base::make_directories(directory / "theirs");
  const std::string content = test::noise(2, 2'000'000);
  base::write_file_atomic(directory / "theirs/file", base::as_bytes(content));
  run({"backup", directory / "theirs"});
  run({"forget", "--prune", "--max-unused", "0", "--keep-last", "1", "--group-by", ""});
  const auto repository = repo::Repository::open(open_store(url, options), "password");
  repository->refresh_index();
  const auto snapshots = test::ids_of(repository->store(), Kind::snapshot);
  ASSERT_EQ(snapshots.size(), 1u);
  const test::Files read = test::read_files(*repository, snapshots[0]);
  EXPECT_EQ(read.at(directory.path().substr(1) + "/theirs/file"), content);
  const auto report = [&] {
    upkeep::CheckOptions options;
    options.read_data = true;
    return upkeep::check(*repository, options);
  }();
  EXPECT_TRUE(report.ok()) << report.errors.at(0);
  EXPECT_GT(report.bytes_read, content.size());
}

}  // namespace
}  // namespace davit::store
