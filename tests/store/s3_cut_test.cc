// Connections to a real S3 server that are cut after each number of bytes, on the way there and on
// the way back: every call comes to its end all the same, and what it did is right.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "base/errors.h"
#include "base/files.h"
#include "store/retry_store.h"
#include "store/s3_store.h"
#include "store_contract.h"
#include "support/ceph.h"
#include "support/cutting_proxy.h"
#include "support/made_repository.h"
#include "support/passing_time.h"
#include "support/skip.h"
#include "support/soak.h"

namespace davit::store {
namespace {

using test::CuttingProxy;
using Direction = CuttingProxy::Direction;

const Name kFile{Kind::index, {}};

struct S3Cut : ::testing::Test {
  // A new client each time, so that its first connection is the one that is cut.
  RetryStore open(const std::string& at, const std::string& prefix) {
    S3Options options;
    options.credentials = test::ceph_keys();
    return RetryStore(
        std::make_shared<S3Store>(s3::parse_address("s3:http://" + at + "/cut/" + prefix), options),
        test::PassingTime::none());
  }
};

TEST_F(S3Cut, EveryCallOutlastsACutAtAnyByte) {
  DAVIT_NEEDS_CEPH(ceph);
  CuttingProxy proxy(ceph.http);
  open(ceph.http, "x").prepare();
  const std::string content = test::noise(1, 2000);
  const base::ByteView bytes = base::as_bytes(content);
  std::string prefix;
  const auto direct = [&] { return open(ceph.http, prefix); };

  struct Call {
    const char* name;
    std::function<void(RetryStore&)> run;
    std::function<void()> check;
  };
  const auto expect_content = [&](const Name& name) {
    EXPECT_EQ(base::as_text(direct().get(name, 10'000)), content);
  };
  base::Bytes part(700);
  std::vector<base::Id> listed;
  const std::vector<Call> calls{
      {"put", [&](RetryStore& store) { store.put(kFile, bytes); }, [&] { expect_content(kFile); }},
      {"put of a config", [&](RetryStore& store) { store.put(Name{}, bytes); },
       [&] { expect_content(Name{}); }},
      {"get",
       [&](RetryStore& store) { EXPECT_EQ(base::as_text(store.get(kFile, 10'000)), content); },
       [] {}},
      {"get_range", [&](RetryStore& store) { store.get_range(kFile, 1000, part); },
       [&] { EXPECT_EQ(base::as_text(part), content.substr(1000, 700)); }},
      {"find_size", [&](RetryStore& store) { EXPECT_EQ(store.find_size(kFile), 2000u); }, [] {}},
      {"list",
       [&](RetryStore& store) {
         listed.clear();
         store.list(Kind::index, [&](const FileInfo& file) { listed.push_back(file.id); });
       },
       [&] { EXPECT_EQ(listed, std::vector{kFile.id}); }},
      {"remove", [&](RetryStore& store) { store.remove(kFile); },
       [&] { EXPECT_EQ(direct().find_size(kFile), std::nullopt); }},
  };
  std::mt19937_64 random(test::daily_seed());
  SCOPED_TRACE("DAVIT_SEED=" + std::to_string(test::daily_seed()));
  uint64_t runs = 0;
  for (const Call& call : calls) {
    const auto run = [&] {
      prefix = base::make_uuid();
      if (std::string_view(call.name) != "put of a config") direct().put(kFile, bytes);
      RetryStore store = open(proxy.address(), prefix);
      call.run(store);
      call.check();
    };
    proxy.settle();
    run();
    proxy.settle();
    const uint64_t whole[] = {proxy.passed(Direction::up), proxy.passed(Direction::down)};
    for (const Direction direction : {Direction::up, Direction::down}) {
      const uint64_t passed = whole[static_cast<size_t>(direction)];
      ASSERT_GT(passed, 100u);
      for (uint64_t at = 0; at < passed; at += test::is_soak() ? 1 : 1 + random() % (passed / 4)) {
        const int before = proxy.cuts();
        proxy.cut_next(direction, at);
        run();
        ++runs;
        EXPECT_EQ(proxy.cuts(), before + 1);
        if (HasFailure())
          FAIL() << call.name << ", cut after " << at << " of " << passed << " bytes "
                 << (direction == Direction::up ? "there" : "back");
      }
    }
  }
  RecordProperty("runs", static_cast<int>(runs));
  EXPECT_GE(runs, 14u * 4);
}

}  // namespace
}  // namespace davit::store
