// Containers as pieces of points: what is stored, what is left in the engine (nothing), and what happens when the
// engine, the container or the store fail in the middle.
#include <nlohmann/json.hpp>

#include "jobs/commits.h"
#include "jobs/points.h"
#include "jobs_fixture.h"
#include "restore/restorer.h"
#include "support/made_repository.h"
#include "support/raw_server.h"

namespace davit::jobs {
namespace {

using namespace std::chrono_literals;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;
using nlohmann::json;

const engine::Labels kLabelled{{"davit.commit", "true"}};

class Commit : public JobsFixture {
 protected:
  test::FakeEngine& engine() { return rooms().engine; }
  // A volume and a labelled container that uses it.
  void make_pair(const std::string& volume, const std::string& container) {
    rooms().create(volume);
    rooms().write(volume, "file", "in " + volume);
    engine().add_container({.name = container, .labels = kLabelled, .volumes = {volume}, .networks = {"shop"}});
  }
  std::vector<BackupOutcome> backup(const std::vector<std::string>& volumes, const std::vector<std::string>& containers = {}) {
    return manager().backup(volumes, containers, {}, {});
  }
  std::vector<SnapshotInfo> of_container(const std::string& name) {
    auto all = manager().snapshots("", "");
    std::erase_if(all, [&](const auto& info) { return info.container != name; });
    return all;
  }
  std::string file(const SnapshotInfo& info, const std::string& path) {
    const auto bytes = restore::find_small_file(repository(), info.snapshot.tree, path, 1 << 20);
    return bytes ? std::string(base::as_text(*bytes)) : "";
  }
  // No image, no pause, no open entry is left of any commit.
  void expect_nothing_left(const std::vector<std::string>& images = {"base:1"}) {
    EXPECT_TRUE(test::eventually([&] { return files_in("state/commits").empty(); }))
        << files_in("state/commits").size() << " commits are not settled";
    EXPECT_EQ(engine().references(), images);
    EXPECT_EQ(engine().dangling(), 0u);
  }
  bool settled(const std::string& name) {
    return test::eventually([&] { return manager().find_job("container:" + name) == nullptr; });
  }
};

TEST_F(Commit, AVolumeAndItsContainerAreOnePoint) {
  make_pair("db", "web");
  const auto outcomes = backup({"db"});
  ASSERT_THAT(outcomes, SizeIs(2));
  EXPECT_EQ(outcomes[0].volume, "db");
  EXPECT_EQ(outcomes[1].container, "web");
  EXPECT_EQ(outcomes[1].outcome, Outcome::ok) << outcomes[1].error;
  EXPECT_TRUE(is_point_id(outcomes[0].point));
  EXPECT_EQ(outcomes[0].point, outcomes[1].point);
  EXPECT_THAT(outcomes[0].problems, IsEmpty());
  EXPECT_THAT(outcomes[1].problems, IsEmpty());

  const auto points = group_points(manager().snapshots("", ""));
  ASSERT_THAT(points, SizeIs(1));
  ASSERT_THAT(points[0].pieces, SizeIs(2));
  for (const auto& piece : points[0].pieces) EXPECT_EQ(piece.snapshot.time.time, clock_.now());
  const SnapshotInfo& web = *points[0].find_container("web");
  EXPECT_THAT(web.snapshot.tags, ElementsAre("davit", "point:" + points[0].id, "volume:db"));
  EXPECT_THAT(web.snapshot.paths, ElementsAre("/containers/web"));
  expect_nothing_left();
  EXPECT_EQ(engine().state("web"), "running");
}

TEST_F(Commit, TheSnapshotHoldsTheImageAndAllThatIsKnownOfTheContainer) {
  make_pair("db", "Web_");
  backup({}, {"Web_"});
  const auto made = of_container("Web_");
  ASSERT_THAT(made, SizeIs(1));
  const json about = json::parse(file(made[0], "/containers/Web_/davit.json"));
  EXPECT_THAT(about["image"].get<std::string>(), HasSubstr("davit/web:20261121T180000Z-"));
  EXPECT_EQ(about["original_image"], "base:1");
  EXPECT_EQ(about["point"], made[0].point);
  EXPECT_EQ(about["time"], "2026-11-21T18:00:00Z");
  EXPECT_EQ(about["volumes"], json::array({"db"}));
  EXPECT_EQ(about["engine"], "docker");
  EXPECT_EQ(json::parse(file(made[0], "/containers/Web_/container.json"))["Name"], "/Web_");
  const json networks = json::parse(file(made[0], "/containers/Web_/networks.json"));
  ASSERT_THAT(networks, SizeIs(1));
  EXPECT_EQ(networks[0]["Name"], "shop");
  EXPECT_TRUE(json::accept(file(made[0], "/containers/Web_/top.json")));
  EXPECT_TRUE(json::accept(file(made[0], "/containers/Web_/changes.json")));
  const json manifest = json::parse(file(made[0], "/containers/Web_/image/manifest.json"));
  EXPECT_EQ(manifest[0]["RepoTags"][0], about["image"]);
  const json config = json::parse(file(made[0], "/containers/Web_/image/config.json"));
  const auto labels = config["config"]["Labels"];
  EXPECT_EQ(labels["davit.point"], made[0].point);
  EXPECT_EQ(labels["davit.container"], "Web_");
  EXPECT_EQ(labels["davit.image"], "base:1");
  EXPECT_EQ(labels["davit.host"], "here");
}

TEST_F(Commit, LabelsAndTheSettingSayWhich) {
  rooms().create("db");
  engine().add_container({.name = "asks", .labels = kLabelled, .volumes = {"db"}});
  engine().add_container({.name = "refuses", .labels = {{"davit.commit", "false"}}, .volumes = {"db"}});
  engine().add_container({.name = "silent", .volumes = {"db"}});
  const auto saved = [&] {
    std::vector<std::string> names;
    for (const auto& outcome : backup({"db"})) names.push_back(outcome.volume + outcome.container);
    return names;
  };
  EXPECT_THAT(saved(), UnorderedElementsAre("db", "asks"));
  manager().set_setting("DAVIT_COMMIT", "all");
  EXPECT_THAT(saved(), UnorderedElementsAre("db", "asks", "silent"));
  manager().set_setting("DAVIT_COMMIT", "none");
  EXPECT_THAT(saved(), ElementsAre("db"));
  EXPECT_THAT(refusal([&] { manager().set_setting("DAVIT_COMMIT", "some"); }), HasSubstr("all, labelled, none"));
  // A person may ask for any.
  const auto outcomes = backup({}, {"refuses"});
  ASSERT_THAT(outcomes, SizeIs(2));
  EXPECT_EQ(outcomes[0].container, "refuses");
}

TEST_F(Commit, WhatIsConnectedIsOnePointAndWithOneJobAtATimeNothingWaitsForEver) {
  environment_["DAVIT_JOBS"] = "1";
  for (const char* name : {"a", "b", "c", "alone"}) rooms().create(name);
  engine().add_container({.name = "ab", .labels = kLabelled, .volumes = {"a", "b"}});
  engine().add_container({.name = "bc", .labels = kLabelled, .volumes = {"b", "c"}});
  engine().add_container({.name = "lonely", .labels = kLabelled});
  const auto outcomes = backup({"c"});
  std::vector<std::string> names;
  for (const auto& outcome : outcomes) {
    EXPECT_EQ(outcome.outcome, Outcome::ok) << outcome.error;
    EXPECT_EQ(outcome.point, outcomes[0].point);
    names.push_back(outcome.volume + outcome.container);
  }
  EXPECT_THAT(names, UnorderedElementsAre("a", "b", "c", "ab", "bc"));
  // All: each volume and container once, and the connected ones together.
  clock_.advance(1h);
  const auto all = backup({});
  std::map<std::string, std::set<std::string>> told;
  for (const auto& outcome : all) told[outcome.point].insert(outcome.volume + outcome.container);
  std::vector<std::set<std::string>> together;
  for (const auto& [point, members] : told) together.push_back(members);
  EXPECT_THAT(together, UnorderedElementsAre(std::set<std::string>{"a", "b", "c", "ab", "bc"},
                                             std::set<std::string>{"alone"}, std::set<std::string>{"lonely"}));
  EXPECT_EQ(all.size(), 7u);
  EXPECT_THAT(group_points(manager().snapshots("", "")), SizeIs(1 + 3));
  expect_nothing_left();
}

TEST_F(Commit, ASecondCommitOfTheSameAddsNextToNothing) {
  rooms().create("db");
  engine().add_container({.name = "web", .labels = kLabelled, .volumes = {"db"}, .layer = test::noise(1, 3 << 20)});
  const auto first = backup({"db"});
  clock_.advance(1h);
  const auto second = backup({"db"});
  ASSERT_THAT(second, SizeIs(2));
  EXPECT_GT(first[1].summary.data_added, 3u << 20);
  EXPECT_LT(second[1].summary.data_added, (3u << 20) / 100);
}

TEST_F(Commit, WithoutAnEngineVolumesAreSavedAllTheSame) {
  make_pair("db", "web");
  engine().fail("the engine is away");
  const auto outcomes = backup({"db"});
  ASSERT_THAT(outcomes, SizeIs(1));
  EXPECT_EQ(outcomes[0].outcome, Outcome::ok);
  EXPECT_THAT(outcomes[0].problems, ElementsAre(HasSubstr("the engine is away")));
  EXPECT_THAT(manager().status().engine_error, HasSubstr("the engine is away"));
  EXPECT_THAT(backup({}), SizeIs(1)) << "all of them";
  EXPECT_THAT(refusal([&] { backup({}, {"web"}); }), HasSubstr("the engine is away"));
  engine().fail("");
  EXPECT_THAT(backup({"db"}), SizeIs(2));
  EXPECT_EQ(manager().status().engine_error, "");
}

TEST_F(Commit, AnUnknownContainerIsToldWithWhatThereIs) {
  engine().add_container({.name = "web"});
  EXPECT_THAT(refusal([&] { backup({}, {"wbe"}); }), HasSubstr("there are: web"));
}

// ------------------------------------------------------------------------------------------------- mishaps

TEST_F(Commit, WhateverCallFailsNothingIsLeftAndTheNextRunSucceeds) {
  make_pair("db", "web");
  backup({"db"});
  // Each call of a run in turn, before it is done and after it: the engine goes away there and comes back.
  engine().on_call({});
  const size_t before = engine().calls().size();
  clock_.advance(1min);
  backup({"db"});
  const size_t calls = engine().calls().size() - before;
  ASSERT_GT(calls, 8u);
  for (size_t nth = 1; nth <= calls; ++nth)
    for (const bool done : {false, true}) {
      SCOPED_TRACE("call " + std::to_string(nth) + (done ? ", when it is done" : ""));
      clock_.advance(1min);
      std::atomic<size_t> count{0};
      const auto fail = [&](const std::string& call) {
        if (++count == nth) throw base::IoError("the engine went away in " + call, 0, true);
      };
      done ? engine().on_done(fail) : engine().on_call(fail);
      const auto outcomes = backup({"db"});
      EXPECT_EQ(outcomes.at(0).outcome, Outcome::ok) << "the volume has nothing to do with it";
      engine().on_call({});
      engine().on_done({});
      clock_.advance(2h);  // an engine that did not answer may still be at it, but not that long
      EXPECT_EQ(engine().state("web"), "running");
      expect_nothing_left();
      clock_.advance(1min);
      EXPECT_THAT(backup({"db"}), SizeIs(2));
      expect_nothing_left();
      if (HasFailure()) return;
    }
  EXPECT_THAT(manager().check(true, {}, {}).errors, IsEmpty());
}

TEST_F(Commit, AnEngineThatIsKilledInACommitLeavesNothingBehind) {
  make_pair("db", "web");
  for (const auto how : {test::FakeEngine::Killed::paused, test::FakeEngine::Killed::dangling}) {
    engine().kill_in_commit(how);
    const auto outcomes = backup({"db"});
    ASSERT_THAT(outcomes, SizeIs(2));
    EXPECT_EQ(outcomes[1].container, "web");
    EXPECT_EQ(outcomes[1].outcome, Outcome::failed);
    EXPECT_THAT(outcomes[1].error, HasSubstr("killed"));
    EXPECT_EQ(engine().state("web"), "running");
    clock_.advance(2h);
    expect_nothing_left();
    EXPECT_EQ(backup({"db"}).at(1).outcome, Outcome::ok);
  }
  const auto status = manager().status();
  ASSERT_THAT(status.containers, SizeIs(1));
  EXPECT_EQ(status.containers[0].last.error, "");
}

TEST_F(Commit, ACommitThatOutlivesItsCallIsRemovedWhenItComes) {
  make_pair("db", "web");
  // The call ends without an answer; the engine goes on, and its image comes a while later.
  engine::CommitRequest late;
  engine().on_call([&](const std::string& call) {
    if (call.starts_with("commit ")) throw base::IoError("the connection broke", 0, true);
  });
  const auto outcomes = backup({"db"});
  EXPECT_EQ(outcomes.at(1).outcome, Outcome::failed);
  engine().on_call({});
  EXPECT_THAT(files_in("state/commits"), SizeIs(1)) << "nobody knows yet";
  engine().add_image(commit_reference(engine::Kind::docker, "web", clock_.now()),
                     {{"davit.point", outcomes[1].point}, {"davit.container", "web"}});
  expect_nothing_left();
}

TEST_F(Commit, AFailureIsPingedAndShown) {
  base::Synchronized<std::vector<std::string>> asked;
  test::RawServer server([&](test::RawServer::Connection& connection) {
    for (test::RawServer::Request request; connection.read(request);) {
      asked.lock()->push_back(request.line + " " + request.body);
      connection.answer(200, "OK");
    }
  });
  environment_["DAVIT_PING_URL"] = server.url("/monitor");
  engine().add_container({.name = "web", .labels = kLabelled});
  engine().kill_in_commit(test::FakeEngine::Killed::dangling);
  EXPECT_THAT(refusal([&] { backup({}, {"web"}); }), HasSubstr("killed"));
  EXPECT_TRUE(test::eventually([&] {
    const auto lines = *asked.lock();
    return std::any_of(lines.begin(), lines.end(), [](const auto& line) {
      return line.starts_with("POST /monitor/fail ") && line.find("container web") != line.npos;
    });
  }));
  const auto status = manager().status();
  ASSERT_THAT(status.containers, SizeIs(1));
  EXPECT_THAT(status.containers[0].last.error, HasSubstr("killed"));
  EXPECT_EQ(status.containers[0].last.attempted, clock_.now());
  stop();  // before the server goes
}

TEST_F(Commit, AContainerThatSomebodyPausedStaysPaused) {
  rooms().create("db");
  engine().add_container({.name = "web", .state = "paused", .labels = kLabelled, .volumes = {"db"}});
  EXPECT_EQ(backup({"db"}).at(1).outcome, Outcome::ok);
  EXPECT_EQ(engine().state("web"), "paused");
  engine().kill_in_commit(test::FakeEngine::Killed::dangling);
  EXPECT_EQ(backup({"db"}).at(1).outcome, Outcome::failed);
  EXPECT_EQ(engine().state("web"), "paused");
  expect_nothing_left();
}

TEST_F(Commit, AnImageStreamThatIsCutMakesNoSnapshot) {
  rooms().create("db");
  engine().add_container({.name = "web", .labels = kLabelled, .volumes = {"db"}, .layer = test::noise(2, 1 << 20)});
  for (const uint64_t at : {1024u, 300u << 10, 1u << 20}) {
    engine().on_stream([&](const std::string&, uint64_t bytes) {
      if (bytes >= at) throw base::IoError("the stream broke off", 0, true);
    });
    const auto outcomes = backup({"db"});
    EXPECT_EQ(outcomes.at(1).outcome, Outcome::failed);
    EXPECT_THAT(outcomes.at(1).error, HasSubstr("the stream broke off"));
    EXPECT_THAT(of_container("web"), IsEmpty());
    expect_nothing_left();
  }
  engine().on_stream({});
  EXPECT_EQ(backup({"db"}).at(1).outcome, Outcome::ok);
}

TEST_F(Commit, AContainerThatIsRemovedWhileItsImageIsSavedIsSaved) {
  make_pair("db", "web");
  engine().on_stream([&](const std::string&, uint64_t) { engine().remove_container("web", true); });
  const auto outcomes = backup({"db"});
  EXPECT_EQ(outcomes.at(1).outcome, Outcome::ok) << outcomes.at(1).error;
  EXPECT_THAT(of_container("web"), SizeIs(1));
  expect_nothing_left();
}

TEST_F(Commit, AContainerThatGoesOrIsMadeAnewBetweenPlanAndCommit) {
  environment_["DAVIT_JOBS"] = "1";
  make_pair("db", "web");
  std::function<void()> meanwhile;
  engine().on_call([&](const std::string& call) {
    if (call.starts_with("inspect_container") && meanwhile) std::exchange(meanwhile, {})();
  });
  meanwhile = [&] { engine().remove_container("web", true); };
  auto outcomes = backup({"db"});
  ASSERT_THAT(outcomes, SizeIs(2));
  EXPECT_EQ(outcomes[1].outcome, Outcome::failed);
  EXPECT_THAT(outcomes[1].error, HasSubstr("the container web is gone"));

  engine().add_container({.name = "web", .labels = kLabelled, .volumes = {"db"}});
  meanwhile = [&] {
    engine().remove_container("web", true);
    engine().add_container({.name = "web", .labels = kLabelled, .volumes = {"db"}, .layer = "of the new one"});
  };
  outcomes = backup({"db"});
  ASSERT_THAT(outcomes, SizeIs(2));
  EXPECT_EQ(outcomes[1].outcome, Outcome::ok) << outcomes[1].error;
  EXPECT_EQ(of_container("web").size(), 1u);
  expect_nothing_left();
}

TEST_F(Commit, AStoreThatFailsLeavesNoImage) {
  make_pair("db", "web");
  backup({"db"});
  // A directory of packs that cannot be written.
  const std::string saved = data() + "/repository/data";
  engine().set_layer("web", test::noise(3, 1 << 20));
  std::string broken;
  engine().on_call([&](const std::string& call) {
    if (!call.starts_with("save_image")) return;
    broken = saved + ".away";
    std::rename(saved.c_str(), broken.c_str());
    base::write_file_atomic(saved, base::as_bytes("no directory"));
  });
  const std::string why = refusal([&] { backup({}, {"web"}); });
  engine().on_call({});
  base::remove_file(saved);
  std::rename(broken.c_str(), saved.c_str());
  EXPECT_THAT(why, HasSubstr("Not a directory"));
  expect_nothing_left();
  EXPECT_EQ(backup({}, {"web"}).at(0).outcome, Outcome::ok);
}

TEST_F(Commit, ImagesHaveNamesOfTheirOwn) {
  rooms().create("db");
  engine().add_container({.name = "Web", .labels = kLabelled, .volumes = {"db"}, .layer = "one"});
  engine().add_container({.name = "web", .labels = kLabelled, .volumes = {"db"}, .layer = "two"});
  engine().add_image("davit/web:20261121T180000Z", {}, "a user's own");
  const auto outcomes = backup({"db"});
  ASSERT_THAT(outcomes, SizeIs(3));
  for (const auto& outcome : outcomes) EXPECT_EQ(outcome.outcome, Outcome::ok) << outcome.error;
  std::vector<std::string> images;
  for (const char* name : {"Web", "web"})
    images.push_back(json::parse(file(of_container(name).at(0), std::string("/containers/") + name + "/davit.json"))["image"]);
  EXPECT_THAT(images, UnorderedElementsAre("davit/web:20261121T180000Z-297510", "davit/web:20261121T180000Z-2"));
  expect_nothing_left({"base:1", "davit/web:20261121T180000Z"});
}

// -------------------------------------------------------------------------------------------- kept images

TEST_F(Commit, AsManyImagesAsAskedForStayAndNoOtherIsTouched) {
  rooms().create("db");
  engine().add_container(
      {.name = "web", .labels = {{"davit.commit", "true"}, {"davit.keep-images", "2"}}, .volumes = {"db"}});
  engine().add_image("davit/web:20260101T000000Z", {{"davit.point", "0123456789abcdef"}, {"davit.container", "web"}},
                     "loaded by somebody");
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(backup({"db"}).at(1).outcome, Outcome::ok);
    clock_.advance(1h);
    engine().set_layer("web", "layer " + std::to_string(i));
  }
  expect_nothing_left({"base:1", "davit/web:20260101T000000Z", "davit/web:20261121T200000Z", "davit/web:20261121T210000Z"});
  // As after a crash: what is kept is kept.
  stop();
  start();
  EXPECT_THAT(files_in("state/commits"), IsEmpty());
}

// ------------------------------------------------------------------------------------ points that overlap

TEST_F(Commit, AMemberThatRunsAlreadyIsSavedAgainForTheNewPoint) {
  make_pair("db", "web");
  rooms().create("logs");
  engine().add_container({.name = "second", .labels = kLabelled, .volumes = {"db", "logs"}});
  test::PauseAt pause("commit:saved");
  std::vector<BackupOutcome> first, second;
  std::thread one([&] { first = backup({"db"}); });
  ASSERT_TRUE(pause.wait_until_reached());
  clock_.advance(1min);
  std::thread two([&] { second = backup({"logs"}); });
  ASSERT_TRUE(test::eventually([&] { return !rooms().snapshots("logs").empty(); }));
  pause.release();
  one.join();
  two.join();
  EXPECT_THAT(first, SizeIs(4));
  EXPECT_THAT(second, SizeIs(4));
  for (const auto& outcome : second) EXPECT_EQ(outcome.outcome, Outcome::ok) << outcome.error;
  for (const auto& point : group_points(manager().snapshots("", "")))
    EXPECT_NE(point.find_volume("logs") || point.find_container("second"), false);
  expect_nothing_left();
}

// --------------------------------------------------------------------------------------------- retention

TEST_F(Commit, AContainersSnapshotGoesWithTheLastOfItsVolumes) {
  rooms().create("db", {{"keep-last", "2"}});
  engine().add_container({.name = "web", .labels = kLabelled, .volumes = {"db"}});
  for (int i = 0; i < 5; ++i) {
    backup({"db"});
    clock_.advance(1h);
  }
  EXPECT_THAT(rooms().snapshots("db"), SizeIs(2));
  manager().forget({});
  const auto kept = of_container("web");
  ASSERT_THAT(kept, SizeIs(2));
  for (const auto& info : kept) EXPECT_NE(find_point(manager().snapshots("", ""), info.point)->find_volume("db"), nullptr);
}

TEST_F(Commit, AContainerWithoutVolumesHasARuleOfItsOwn) {
  engine().add_container({.name = "web", .labels = {{"davit.commit", "true"}, {"davit.keep-last", "3"}}});
  for (int i = 0; i < 5; ++i) {
    backup({}, {"web"});
    clock_.advance(1h);
  }
  EXPECT_THAT(of_container("web"), SizeIs(3));
}

TEST_F(Commit, WhileASnapshotFileCannotBeReadNoContainersSnapshotGoes) {
  rooms().create("db", {{"keep-last", "2"}});
  engine().add_container({.name = "web", .labels = kLabelled, .volumes = {"db"}});
  backup({"db"});
  clock_.advance(1h);
  backup({"db"});
  manager().set_volume_option("db", "keep-last", "1");
  damage_snapshot(rooms().snapshots("db").back().id.hex());
  ASSERT_THAT(of_container("web"), SizeIs(2));
  manager().forget({});
  EXPECT_THAT(of_container("web"), SizeIs(2));
}

TEST_F(Commit, OfAContainerThatIsGoneAllStaysForKeepRemovedAndGoesThen) {
  engine().add_container({.name = "web", .labels = {{"davit.commit", "true"}, {"davit.keep-last", "3"}}});
  rooms().create("db");
  backup({}, {"web"});
  clock_.advance(1h);
  backup({}, {"web"});
  engine().remove_container("web", true);
  backup({});  // whoever asks the engine learns it
  const auto run_retention = [&] {
    std::atomic<bool> told{false};
    manager().start_removed_retention([&](bool) { told = true; });
    EXPECT_TRUE(test::eventually([&] { return told.load(); }));
  };
  clock_.advance(24h * 89);
  run_retention();
  EXPECT_THAT(of_container("web"), SizeIs(2));
  ASSERT_THAT(manager().status().containers, SizeIs(1));
  EXPECT_EQ(manager().status().containers[0].state, "");
  clock_.advance(24h * 2);
  run_retention();
  EXPECT_THAT(of_container("web"), IsEmpty());
  EXPECT_THAT(manager().status().containers, IsEmpty());
}

// ----------------------------------------------------------------------------------------------- status

TEST_F(Commit, StatusTellsOfContainers) {
  make_pair("db", "web");
  engine().add_container({.name = "cron",
                          .image = "tool:2",
                          .labels = {{"davit.commit", "true"}, {"davit.schedule", "@hourly"}, {"davit.keep-last", "x"}}});
  EXPECT_EQ(backup({}).size(), 3u);
  stop();
  start();  // the engine is a new one, but what was noted stays
  engine().add_container({.name = "cron",
                          .image = "tool:2",
                          .labels = {{"davit.commit", "true"}, {"davit.schedule", "@hourly"}, {"davit.keep-last", "x"}}});
  make_pair("other", "web");
  backup({"other"});
  const auto status = manager().status();
  ASSERT_THAT(status.containers, SizeIs(2));
  EXPECT_EQ(status.containers[0].name, "cron");
  EXPECT_EQ(status.containers[0].image, "tool:2");
  EXPECT_EQ(status.containers[0].schedule, "@hourly");
  EXPECT_EQ(status.containers[0].last.succeeded, clock_.now());
  EXPECT_EQ(status.containers[0].snapshots, 1u);
  EXPECT_THAT(status.containers[0].problem, HasSubstr("davit.keep-last"));
  EXPECT_EQ(status.containers[1].name, "web");
  EXPECT_THAT(status.containers[1].volumes, ElementsAre("other"));
  EXPECT_EQ(status.containers[1].schedule, "");
}

}  // namespace
}  // namespace davit::jobs
