// The REST store on a real server, `rclone serve restic`.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/errors.h"
#include "base/files.h"
#include "store/rest_store.h"
#include "store_contract.h"
#include "support/cutting_proxy.h"
#include "support/fixture_file.h"
#include "support/skip.h"
#include "support/temp_dir.h"

namespace davit::store {
namespace {

using base::IoError;
using test::CuttingProxy;
using test::FixtureFile;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Direction = CuttingProxy::Direction;

#define DAVIT_NEEDS_REST(name) DAVIT_NEEDS_FIXTURE(name, DAVIT_REST "/rest")

struct RestPlace : StorePlace {
  RestPlace(const std::string& url, RestOptions with)
      : address(rest::parse_address(url)), options(std::move(with)) {}
  std::unique_ptr<Store> open() override { return std::make_unique<RestStore>(address, options); }
  test::TempDir directory;
  rest::Address address;
  RestOptions options;
};

StoreMaker maker(const std::function<std::unique_ptr<RestPlace>(const FixtureFile&)>& make) {
  return [make]() -> std::unique_ptr<StorePlace> {
    const FixtureFile rest = test::read_fixture(DAVIT_REST "/rest");
    return rest.empty() ? nullptr : make(rest);
  };
}

RestOptions guarded(const FixtureFile& rest) {
  RestOptions options;
  options.ca_file = rest.at("CA");
  options.login = [user = rest.at("USER"), password = rest.at("PASSWORD")] {
    return rest::Login{user, password};
  };
  return options;
}

INSTANTIATE_TEST_SUITE_P(Rest, StoreContract, ::testing::Values(maker([](const FixtureFile& rest) {
                           return std::make_unique<RestPlace>(
                               "rest:http://" + rest.at("PLAIN") + "/" + base::make_uuid(),
                               RestOptions());
                         })));
INSTANTIATE_TEST_SUITE_P(RestWithTlsAndAUser, StoreContract,
                         ::testing::Values(maker([](const FixtureFile& rest) {
                           auto place = std::make_unique<RestPlace>(
                               "rest:https://" + rest.at("GUARDED") + "/" + base::make_uuid() + "/",
                               guarded(rest));
                           place->options.spool_directory = place->directory.path();
                           return place;
                         })));

const Name kFile{Kind::index, {}};

std::string words(const std::string& url, const RestOptions& options) {
  RestStore store(rest::parse_address(url), options);
  try {
    store.get(kFile, 100);
  } catch (const IoError& error) {
    EXPECT_FALSE(error.transient()) << error.what();
    EXPECT_THAT(error.what(), AllOf(Not(HasSubstr("hunter2")), Not(HasSubstr("pass/word"))));
    return error.what();
  } catch (const base::NotFound&) {
    return "not found";
  }
  return "no error";
}

TEST(RestOnRclone, SaysWhoIsNotLetIn) {
  DAVIT_NEEDS_REST(rest);
  const std::string place = rest.at("GUARDED") + "/" + base::make_uuid() + "/";
  RestOptions options = guarded(rest);
  RestStore(rest::parse_address("rest:https://" + place), options).prepare();
  EXPECT_EQ(words("rest:https://" + place, options), "not found");
  options.login = {};
  EXPECT_EQ(words("rest:https://davit:a%20pass%2Fword@" + place, options), "not found");
  EXPECT_THAT(words("rest:https://davit:hunter2@" + place, options),
              AllOf(HasSubstr("RESTIC_REST_PASSWORD"), HasSubstr("(401)")));
  EXPECT_THAT(words("rest:https://" + place, options), HasSubstr("RESTIC_REST_USERNAME"));
  options.ca_file = "";
  EXPECT_THAT(words("rest:https://" + place, options),
              AllOf(HasSubstr("certificate"), HasSubstr("RESTIC_CACERT")));
}

// Who has stolen this machine's password cannot remove what is stored.
TEST(RestOnRclone, AppendsOnlyWhereTheServerSaysSo) {
  DAVIT_NEEDS_REST(rest);
  const std::string id = base::make_uuid();
  RestStore store(rest::parse_address("rest:http://" + rest.at("APPEND") + "/" + id), {});
  store.prepare();
  store.put(kFile, base::as_bytes("content"));
  EXPECT_NO_THROW(store.put(kFile, base::as_bytes("content"))) << "it is there already";
  EXPECT_THROW(store.put(kFile, base::as_bytes("another")), base::Conflict);
  try {
    store.remove(kFile);
    ADD_FAILURE() << "removed";
  } catch (const IoError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("append-only"), HasSubstr("(403)")));
    EXPECT_EQ(error.number(), EPERM);
    EXPECT_FALSE(error.transient());
  }
  EXPECT_EQ(base::as_text(store.get(kFile, 100)), "content");
  // Locks can be removed, or nobody could work there.
  const Name lock{Kind::lock, {}};
  store.put(lock, base::as_bytes("lock"));
  EXPECT_NO_THROW(store.remove(lock));
  EXPECT_EQ(store.find_size(lock), std::nullopt);
}

TEST(RestOnRclone, OutlastsAConnectionThatIsCut) {
  DAVIT_NEEDS_REST(rest);
  CuttingProxy proxy(rest.at("PLAIN"));
  const std::string id = base::make_uuid();
  RestStore(rest::parse_address("rest:http://" + rest.at("PLAIN") + "/" + id), {}).prepare();
  base::Bytes content(3'000'000);
  base::random_fill(content);
  const auto cut_call = [&](Direction direction, uint64_t bytes,
                            const std::function<void(Store&)>& call) {
    SCOPED_TRACE(bytes);
    RestStore store(rest::parse_address("rest:http://" + proxy.address() + "/" + id), {});
    const int before = proxy.cuts();
    proxy.cut_next(direction, bytes);
    try {
      call(store);
    } catch (const IoError& error) {
      EXPECT_TRUE(error.transient()) << error.what();
    }
    EXPECT_EQ(proxy.cuts(), before + 1);
    // The server may still be at what was cut.
    for (int tries = 0;; ++tries) {
      try {
        call(store);
        break;
      } catch (const IoError& error) {
        ASSERT_TRUE(error.transient() && tries < 1000) << error.what();
      }
    }
  };
  for (const uint64_t bytes : {0u, 100u, 100'000u, 2'990'000u})
    cut_call(Direction::up, bytes, [&](Store& store) {
      store.put(kFile, content);
      EXPECT_EQ(store.get(kFile, 4'000'000), content);
    });
  cut_call(Direction::down, 10, [&](Store& store) { store.put(kFile, content); });
  for (const uint64_t bytes : {0u, 100u, 2'900'000u})
    cut_call(Direction::down, bytes,
             [&](Store& store) { EXPECT_EQ(store.get(kFile, 4'000'000), content); });
}

}  // namespace
}  // namespace davit::store
