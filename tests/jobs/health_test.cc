// What davit does about the repository's health: check, scrub, damage and who is told, repair.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "base/synchronized.h"
#include "jobs_fixture.h"
#include "support/made_repository.h"
#include "support/raw_server.h"
#include "support/restic.h"

namespace davit::jobs {
namespace {

using namespace std::chrono_literals;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class Health : public JobsFixture {
 protected:
  std::string save(const std::string& volume, const std::string& content,
                   const volumes::OptionMap& options = {}) {
    if (!registry().find(volume)) rooms().create(volume, options);
    rooms().write(volume, "file", content);
    return rooms().backup(volume).snapshot;
  }
  repo::BlobLocation location_of(const std::string& content) {
    std::optional<repo::BlobLocation> found;
    repository().index().for_each([&](const repo::IndexEntry& entry) {
      if (entry.type == repo::BlobType::data &&
          repository_->load_blob(entry.type, entry.id) == base::to_bytes(base::as_bytes(content)))
        found = entry.location;
    });
    return found.value();
  }
  std::string path_of(const base::Id& pack) {
    return data() + "/repository/data/" + pack.hex().substr(0, 2) + "/" + pack.hex();
  }
  // Flips a bit of it; its pack's size stays.
  void damage(const std::string& content) {
    const auto location = location_of(content);
    const std::string path = path_of(location.pack);
    base::Bytes bytes = base::get_file(path);
    bytes.at(location.offset + 20) ^= 1;
    base::remove_file(path);
    base::write_file_atomic(path, bytes, 0400);
  }
  void lose(const std::string& content) { base::remove_file(path_of(location_of(content).pack)); }
  size_t packs() {
    size_t count = 0;
    for (const auto& prefix : files_in("repository/data"))
      count += files_in("repository/data/" + prefix).size();
    return count;
  }
  // As the scheduler does it.
  void scrub() {
    std::atomic<int> done{0};
    manager().start_scheduled_scrub([&](bool ok) { done = ok ? 1 : 2; });
    ASSERT_TRUE(test::eventually([&] { return done != 0; }));
    ASSERT_EQ(done, 1) << manager().last_scrub().error;
  }
  std::map<std::string, std::string> inspect(const std::string& volume) {
    return manager().status_of(*registry().find(volume));
  }
};

TEST_F(Health, DamageIsToldUntilItIsRepaired) {
  const std::string good = test::noise(1, 40'000), bad = test::noise(2, 40'000);
  const auto kept = save("good", good);
  const auto hit = save("bad", bad);
  EXPECT_TRUE(manager().check(true, {}, {}).ok());
  EXPECT_FALSE(manager().status().damage);
  damage(bad);
  EXPECT_TRUE(manager().check(false, {}, {}).ok()) << "it shows only when data is read";
  const auto report = manager().check(true, {}, {});
  EXPECT_FALSE(report.ok());
  EXPECT_THAT(report.errors, Contains(HasSubstr("/volumes/bad/file")));

  // A check that reads nothing else, and a new start, know of it still.
  EXPECT_FALSE(manager().check(false, {}, {}).ok());
  stop();
  const Status status = manager().status();
  ASSERT_TRUE(status.damage);
  EXPECT_EQ(status.damage->by, "check");
  EXPECT_THAT(status.damage->volumes, ElementsAre("bad"));
  EXPECT_THAT(status.damage->messages, Contains(HasSubstr("/volumes/bad/file")));
  for (const auto& volume : status.volumes)
    EXPECT_EQ(volume.damaged,
              volume.volume.name == "bad" ? std::vector{hit} : std::vector<std::string>{});
  EXPECT_THAT(inspect("bad")["damaged"], HasSubstr(hit.substr(0, 8)));
  EXPECT_FALSE(inspect("good").contains("damaged"));

  const auto would =
      manager().repair({.read_data = false, .forget = true, .dry_run = true}, {}, {});
  ASSERT_THAT(would.lost, SizeIs(1));
  EXPECT_EQ(would.lost[0].path, "/volumes/bad/file");
  EXPECT_TRUE(manager().status().damage);
  EXPECT_THAT(rooms().snapshots("bad"), SizeIs(1));

  const auto did = manager().repair({.read_data = false, .forget = true, .dry_run = false}, {}, {});
  EXPECT_EQ(did.packs_salvaged, 1u);
  ASSERT_THAT(did.lost, SizeIs(1));
  EXPECT_FALSE(manager().status().damage);
  EXPECT_FALSE(inspect("bad").contains("damaged"));
  EXPECT_TRUE(manager().check(true, {}, {}).ok());
  // What is left is no complete snapshot, so that nobody gets it unasked.
  const auto left = rooms().snapshots("bad");
  ASSERT_THAT(left, SizeIs(1));
  EXPECT_TRUE(left[0].partial);
  EXPECT_NE(refusal([&] { rooms().create("copy", {{"from", "bad"}}); }), "accepted");
  rooms().create("rest", {{"from", "bad@" + left[0].id.hex().substr(0, 12)}});
  EXPECT_EQ(rooms().read("rest", "file"), "");
  rooms().create("whole", {{"from", "good@" + kept.substr(0, 12)}});
  EXPECT_EQ(rooms().read("whole", "file"), good);
}

TEST_F(Health, TheNextBackupAfterARepairSavesAgainWhatWasLost) {
  const std::string content = test::noise(3, 50'000);
  save("db", content);
  lose(content);
  EXPECT_FALSE(manager().check(false, {}, {}).ok());
  manager().repair({.read_data = false, .forget = true, .dry_run = false}, {}, {});
  EXPECT_FALSE(manager().status().damage);
  const auto again = rooms().backup("db");
  EXPECT_EQ(again.outcome, Outcome::ok);
  EXPECT_TRUE(manager().check(true, {}, {}).ok());
  rooms().create("copy", {{"from", "db"}});
  EXPECT_EQ(rooms().read("copy", "file"), content);
}

TEST_F(Health, TwoChecksAtOnceBothTellWhatTheyFound) {
  const std::string content = test::noise(3, 50'000);
  save("db", content);
  lose(content);
  std::atomic<int> found{0};
  std::vector<std::jthread> threads;
  for (int i = 0; i < 3; ++i)
    threads.emplace_back([&] { found += !manager().check(false, {}, {}).ok(); });
  threads.clear();
  EXPECT_EQ(found, 3);
}

TEST_F(Health, AScrubReadsAllWithinItsPeriodAndSaysHowMuch) {
  for (int i = 0; i < 8; ++i) save("v" + std::to_string(i), test::noise(i, 30'000 + i));
  scrub();
  ScrubStatus status = manager().status().scrub;
  EXPECT_EQ(status.period, std::chrono::days(30));
  EXPECT_EQ(status.coverage.packs, packs());
  // A thirtieth of all bytes: one pack of data, and packs of trees, which are small, before it.
  EXPECT_GE(status.coverage.covered, 1u);
  EXPECT_LE(status.coverage.covered, 1u + 8);
  EXPECT_EQ(status.coverage.never, packs() - status.coverage.covered);
  EXPECT_EQ(status.last, clock_.now());
  for (int day = 1; day < 30; ++day) {
    clock_.advance(24h);
    scrub();
  }
  status = manager().status().scrub;
  EXPECT_EQ(status.coverage.covered, packs());
  EXPECT_EQ(status.coverage.never, 0u);
  ASSERT_TRUE(status.coverage.oldest);
  EXPECT_LE(clock_.now() - *status.coverage.oldest, std::chrono::days(30));
  // A check that reads all counts, too.
  EXPECT_TRUE(manager().check(true, {}, {}).ok());
  EXPECT_GE(*manager().status().scrub.coverage.oldest, clock_.now() - 1min);
  // It forgets nothing by a restart, and packs that are gone.
  stop();
  EXPECT_EQ(manager().status().scrub.coverage.covered, packs());
  EXPECT_EQ(base::get_file(data() + "/state/packs-read").size(), 48 + packs() * 16);
}

TEST_F(Health, AScrubFindsWhatNobodyReads) {
  const std::string content = test::noise(3, 50'000);
  const auto id = save("db", content);
  damage(content);
  for (int days = 0; days < 31; ++days) {
    scrub();
    clock_.advance(24h);
  }
  const auto damage = manager().status().damage;
  ASSERT_TRUE(damage);
  EXPECT_EQ(damage->by, "scrub");
  EXPECT_THAT(damage->volumes, ElementsAre("db"));
  EXPECT_EQ(manager().last_scrub().error, "") << "it did what it is for";
  // The damaged one does not count as read.
  EXPECT_EQ(manager().status().scrub.coverage.never, 1u);
}

TEST_F(Health, MonitorsAreToldOfDamageUntilItIsGone) {
  base::Synchronized<std::vector<std::string>> asked;
  test::RawServer monitor([&](test::RawServer::Connection& connection) {
    for (test::RawServer::Request request; connection.read(request);) {
      asked.lock()->push_back(request.line.substr(0, request.line.rfind(' ')) + " " + request.body);
      connection.answer(200, "OK");
    }
  });
  const auto told = [&](const std::string& what) {
    return test::eventually([&] {
      const auto lines = asked.with([](const auto& all) { return all; });
      return !lines.empty() && lines.back().find(what) != std::string::npos;
    });
  };
  environment_["DAVIT_PING_URL"] = monitor.url("/all");
  const std::string content = test::noise(3, 50'000);
  save("db", content);
  EXPECT_TRUE(told("POST /all saved volume db")) << ::testing::PrintToString(*asked.lock());
  damage(content);
  manager().check(true, {}, {});
  EXPECT_TRUE(told("POST /all/fail the check found"));
  // A backup that goes well does not make it good.
  save("db", content + "more");
  EXPECT_TRUE(told("POST /all/fail saved volume db"));
  manager().repair({.read_data = false, .forget = true, .dry_run = false}, {}, {});
  EXPECT_TRUE(told("POST /all the repository is whole again"));
  save("db", content + "and more");
  EXPECT_TRUE(told("POST /all saved volume db"));
}

TEST_F(Health, ASubsetIsCheckedAndNonsenseRefused) {
  for (int i = 0; i < 8; ++i) save("v" + std::to_string(i), test::noise(i, 30'000 + i));
  const auto all = manager().check(true, {}, {});
  uint64_t packs = 0, bytes = 0;
  for (const char* part : {"1/3", "2/3", "3/3"}) {
    const auto report = manager().check({false, part}, {}, {});
    packs += report.packs_read;
    bytes += report.bytes_read;
  }
  EXPECT_EQ(packs, all.packs);
  EXPECT_EQ(bytes, all.bytes_read);
  EXPECT_EQ(manager().check({false, "50%"}, {}, {}).packs_read, (all.packs + 1) / 2);
  EXPECT_THROW(manager().check({false, "some"}, {}, {}), base::UsageError);
  EXPECT_THROW(manager().check({true, "1/3"}, {}, {}), base::UsageError);
}

TEST_F(Health, ThePeriodIsADayAtLeastOrOff) {
  for (const char* good : {"off", "0", "1d", "30d", "12w"})
    EXPECT_NO_THROW(manager().set_setting("DAVIT_SCRUB_PERIOD", good)) << good;
  for (const char* bad : {"1h", "often", "-1d"})
    EXPECT_THROW(manager().set_setting("DAVIT_SCRUB_PERIOD", bad), base::UsageError) << bad;
  manager().set_setting("DAVIT_SCRUB_PERIOD", "off");
  EXPECT_EQ(manager().scrub_period(), 0s);
  EXPECT_EQ(manager().status().scrub.period, 0s);
}

TEST_F(Health, ANoteOfDamageThatCannotBeReadIsAsIfNothingWasFound) {
  save("db", "text");
  stop();
  base::write_file_atomic(data() + "/state/damage.json", base::as_bytes("{\"errors\": 3"));
  EXPECT_FALSE(manager().status().damage);
  base::remove_file(data() + "/repository/snapshots/" + files_in("repository/snapshots").at(0));
  EXPECT_TRUE(manager().check(true, {}, {}).ok());
}

TEST_F(Health, ARepairUnderResticsEyes) {
  DAVIT_NEEDS_RESTIC();
  const std::string content = test::noise(3, 50'000);
  save("db", content);
  save("other", test::noise(4, 50'000));
  damage(content);
  const test::Restic restic(data() + "/repository", test::kQuickPassword);
  EXPECT_NE(restic.run({"check", "--read-data"}).exit_code, 0);
  manager().repair({.read_data = true, .forget = true, .dry_run = false}, {}, {});
  const auto check = restic.run({"check", "--read-data"});
  EXPECT_EQ(check.exit_code, 0) << check.output;
  EXPECT_THAT(files_in("repository/locks"), IsEmpty());
}

}  // namespace
}  // namespace davit::jobs
