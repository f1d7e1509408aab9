// Containers made again, through all rooms: the engine is in memory, the volumes and the repository are real.
#include "jobs/restore_container.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "base/fault.h"
#include "jobs/undo_restore.h"
#include "jobs_fixture.h"
#include "support/container_snapshot.h"
#include "support/vectors.h"

namespace davit::jobs {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;
using Volumes = RestoreContainerRequest::Volumes;

const std::string kPoint = "0123456789abcdef";

// A container of Docker with the volume `data` and the network `shop`.
json document() {
  return {{"Id", std::string(64, 'a')},
          {"Name", "/web"},
          {"Config", {{"Cmd", {"serve"}}, {"Labels", {{"app", "shop"}}}, {"Hostname", std::string(12, 'a')}}},
          {"HostConfig", {{"NetworkMode", "shop"}, {"Binds", {"data:/data"}}}},
          {"Mounts", {{{"Type", "volume"}, {"Name", "data"}, {"Driver", "davit:latest"}, {"Destination", "/data"}, {"RW", true}}}},
          {"NetworkSettings", {{"Networks", {{"shop", json::object()}}}}}};
}

class RestoreContainer : public JobsFixture {
 protected:
  // The engine's calls about volumes reach the driver, as they do.
  void connect() {
    auto& engine = rooms().engine;
    engine.on_done([this](const std::string& call) {
      if (fault_ && call.starts_with(*fault_)) {
        if (--faults_ <= 0) fault_.reset();
        throw base::IoError("the engine was killed in " + call, 0);
      }
    });
    engine.on_call([this](const std::string& call) {
      if (call.starts_with("create_volume ")) {
        const std::string name = call.substr(14);
        if (!registry().find(name)) driver().create(name, {{"from", snapshot_of_[name]}, {"images", "false"}}, test::Rooms::budget());
      }
      if (call == "create_container web" && std::exchange(rival_, false))
        rooms().engine.create_container("web", json{{"Image", test::saved_reference()}}.dump());
      if (call.starts_with("remove_volume ") && registry().find(call.substr(14))) driver().remove(call.substr(14));
    });
  }
  // A volume with a file, saved as a piece of the point, and gone; and the container's snapshot.
  void save() {
    rooms().create("data", {{"schedule", "off"}});
    rooms().write("data", "file", "from the point");
    rooms().backup("data");
    snapshot_of_["data"] = snapshot_of_["copy-data"] = test::put_into_point(rooms(), "data");
    snapshot_ = test::save_container(
        rooms(), {.inspect = document().dump(),
                  .networks = {json{{"Name", "shop"}, {"Driver", "bridge"}, {"Scope", "local"}}.dump()}});
    connect();
  }
  void lose_volume() {
    driver().remove("data");
    ASSERT_TRUE(vanishes("data"));
  }
  RestoreContainerOutcome restore(RestoreContainerRequest request = {}) {
    if (request.reference.empty()) request.reference = "web";
    return manager().restore_container(request, {}, {});
  }
  // Entries that are still to be undone: all but those of images that may come.
  size_t left_to_undo() {
    const auto entries = RestoreJournal(data()).list();
    return static_cast<size_t>(std::count_if(entries.begin(), entries.end(), [](const auto& entry) { return !entry.undone; }));
  }
  // Nothing that a restore makes is there.
  void expect_nothing_made() {
    EXPECT_EQ(rooms().engine.state("web"), "");
    EXPECT_FALSE(rooms().engine.has_network("shop"));
    EXPECT_FALSE(registry().find("data"));
    EXPECT_THAT(rooms().engine.references(), Not(Contains(test::saved_reference())));
    EXPECT_EQ(left_to_undo(), 0u);
  }

  std::string snapshot_;
  std::map<std::string, std::string> snapshot_of_;
  std::optional<std::string> fault_;
  int faults_ = 1;  // so many times
  bool rival_ = false;  // somebody else makes the container a moment before
};

TEST_F(RestoreContainer, BringsImageNetworkVolumeAndContainerBack) {
  save();
  lose_volume();
  const auto outcome = restore({.reference = "web", .start = true});
  EXPECT_THAT(outcome.conflicts, IsEmpty());
  EXPECT_EQ(rooms().engine.state("web"), "running");
  EXPECT_TRUE(outcome.started) << outcome.start_error;
  EXPECT_TRUE(outcome.image_loaded);
  EXPECT_EQ(outcome.image, test::saved_reference());
  EXPECT_EQ(outcome.snapshot, snapshot_);
  EXPECT_THAT(outcome.networks, ElementsAre("shop"));
  ASSERT_EQ(outcome.volumes.size(), 1u);
  EXPECT_EQ(outcome.volumes[0].action, "restored");
  EXPECT_EQ(rooms().read("data", "file"), "from the point");
  const auto details = rooms().engine.inspect_container("web");
  EXPECT_EQ(details.image, test::saved_reference());
  EXPECT_EQ(details.labels.at("app"), "shop");
  EXPECT_THAT(details.json, HasSubstr("data:/data"));
  EXPECT_THAT(files_in("state/restores"), IsEmpty());
}

TEST_F(RestoreContainer, KeepsAVolumeThatIsThere) {
  save();
  rooms().write("data", "file", "newer");
  EXPECT_EQ(restore().volumes[0].action, "kept");
  EXPECT_EQ(rooms().read("data", "file"), "newer");
}

TEST_F(RestoreContainer, ReplacesAVolumeWhereThePointIsWanted) {
  save();
  rooms().write("data", "file", "newer");
  const auto outcome = restore({.reference = "web", .volumes = Volumes::point});
  ASSERT_EQ(outcome.volumes[0].action, "replaced");
  EXPECT_EQ(rooms().read("data", "file"), "from the point");
  manager().restore({.reference = outcome.volumes[0].safety_snapshot, .target = "before", .in_place = false, .options = {}}, {}, {});
  EXPECT_EQ(rooms().read("before", "file"), "newer");
}

TEST_F(RestoreContainer, ACopyHasVolumesOfItsOwn) {
  save();
  restore({.reference = "web"});
  rooms().write("data", "file", "newer");
  const auto outcome = restore({.reference = "web", .as = "copy"});
  EXPECT_THAT(outcome.conflicts, IsEmpty());
  EXPECT_FALSE(outcome.image_loaded) << "it is there";
  ASSERT_EQ(outcome.volumes.size(), 1u);
  EXPECT_EQ(outcome.volumes[0].name, "copy-data");
  EXPECT_EQ(rooms().read("copy-data", "file"), "from the point");
  EXPECT_EQ(rooms().read("data", "file"), "newer");
  EXPECT_THAT(rooms().engine.inspect_container("copy").json, HasSubstr("copy-data:/data"));
}

TEST_F(RestoreContainer, ADryRunMakesNothingAndTellsAll) {
  save();
  lose_volume();
  const auto outcome = restore({.reference = "web", .dry_run = true});
  EXPECT_TRUE(outcome.dry_run);
  EXPECT_EQ(outcome.id, "");
  EXPECT_THAT(outcome.networks, ElementsAre("shop"));
  EXPECT_EQ(outcome.volumes[0].action, "restored");
  expect_nothing_made();
  for (const std::string& call : rooms().engine.calls())
    EXPECT_FALSE(call.starts_with("create") || call.starts_with("load") || call.starts_with("remove")) << call;
}

TEST_F(RestoreContainer, ConflictsAreToldTogetherAndNothingIsMade) {
  save();
  rooms().engine.add_container({.name = "web", .volumes = {"data"}});
  rooms().engine.add_image(test::saved_reference(), {}, "another");
  const auto outcome = restore({.reference = "web", .volumes = Volumes::point});
  EXPECT_THAT(outcome.conflicts,
              UnorderedElementsAre(HasSubstr("a container web already"), HasSubstr("another image of the name"),
                                   HasSubstr("data is in use by web")));
  EXPECT_FALSE(rooms().engine.has_network("shop"));
  EXPECT_THAT(files_in("state/restores"), IsEmpty());
}

TEST_F(RestoreContainer, AVolumeThatNobodySavedIsAConflict) {
  rooms();
  json lost = document();
  test::save_container(rooms(), {.inspect = lost.dump(), .networks = {json{{"Name", "shop"}, {"Driver", "bridge"}}.dump()}});
  connect();
  EXPECT_THAT(restore().conflicts, ElementsAre(HasSubstr("the volume data is missing")));
}

TEST_F(RestoreContainer, WhatFailsHalfWayIsUndone) {
  save();
  for (const char* call : {"load_image", "create_network", "create_volume", "create_container"}) {
    SCOPED_TRACE(call);
    if (registry().find("data")) lose_volume();
    fault_ = call;
    EXPECT_THAT(refusal([&] { restore(); }), HasSubstr(std::string("killed in ") + call));
    expect_nothing_made();
  }
  restore();
  EXPECT_EQ(rooms().engine.state("web"), "created");
}

TEST_F(RestoreContainer, AStartThatFailsOnceIsTriedAgain) {
  save();
  fault_ = "start_container";
  const auto outcome = restore({.reference = "web", .start = true});
  EXPECT_TRUE(outcome.started) << outcome.start_error;
  EXPECT_EQ(rooms().engine.state("web"), "running");
}

TEST_F(RestoreContainer, AContainerThatDoesNotStartStays) {
  save();
  fault_ = "start_container";
  faults_ = 2;
  const auto outcome = restore({.reference = "web", .start = true});
  EXPECT_FALSE(outcome.started);
  EXPECT_THAT(outcome.start_error, HasSubstr("killed in start_container"));
  EXPECT_NE(rooms().engine.state("web"), "");
  EXPECT_EQ(rooms().read("data", "file"), "from the point");
}

TEST_F(RestoreContainer, BadInputIsRefusedInPlainWords) {
  save();
  EXPECT_THAT(refusal([&] { restore({.reference = "nobody"}); }), AllOf(HasSubstr("nobody"), HasSubstr("web (1, newest")));
  EXPECT_THAT(refusal([&] { restore({.reference = "data"}); }), HasSubstr("no snapshot of data")) << "a volume's name";
  EXPECT_THAT(refusal([&] { restore({.reference = "web@1999-01-01"}); }), HasSubstr("the earliest is"));
  EXPECT_THAT(refusal([&] { restore({.reference = "web", .as = "no/name"}); }), HasSubstr("is no name for a container"));
  EXPECT_THAT(refusal([&] { restore({.reference = snapshot_of_["data"]}); }), HasSubstr("not one of a container"));
  test::save_container(rooms(), {.name = "imageless", .inspect = document().dump(), .with_image = false});
  EXPECT_THAT(refusal([&] { restore({.reference = "imageless"}); }), HasSubstr("holds no image"));
  test::save_container(rooms(), {.name = "mute", .inspect = "", .with_image = true});
  EXPECT_THAT(refusal([&] { restore({.reference = "mute"}); }), HasSubstr("holds no description"));
  test::save_container(rooms(), {.name = "rotten", .inspect = "{\"Id\": \"a\"", .with_image = true});
  EXPECT_THAT(refusal([&] { restore({.reference = "rotten"}); }), HasSubstr("is damaged"));
  EXPECT_THAT(rooms().engine.references(), IsEmpty());
  EXPECT_THAT(files_in("state/restores"), IsEmpty());
}

// Ends the work at a fault point once, as a kill does: nothing after it is done, and nobody cleans up but the journal.
std::atomic<const char*> stop_at{nullptr};
void stop_there(const char* point) {
  const char* wanted = stop_at.load();
  if (wanted && std::string(point) == wanted && stop_at.exchange(nullptr)) throw base::Cancelled();
}

TEST_F(RestoreContainer, TheJournalUndoesItWhereverItStops) {
  save();
  base::fault_hook = stop_there;
  for (const char* point : {"container:journal", "image:load", "image:loaded", "container:image", "container:network",
                            "container:volume", "container:volumes", "container:created"}) {
    SCOPED_TRACE(point);
    if (registry().find("data")) lose_volume();
    stop_at = point;
    EXPECT_THAT(refusal([&] { restore(); }), HasSubstr("was interrupted"));
    ASSERT_TRUE(test::eventually([&] { return left_to_undo() == 0; }));
    ASSERT_TRUE(vanishes("data"));
    expect_nothing_made();
  }
  stop_at = "container:done";
  EXPECT_THAT(refusal([&] { restore(); }), HasSubstr("was interrupted"));
  EXPECT_EQ(rooms().engine.state("web"), "created") << "it was whole";
  EXPECT_EQ(rooms().read("data", "file"), "from the point");
  base::fault_hook = nullptr;
  EXPECT_THAT(files_in("state/restores"), IsEmpty()) << "who restores the image has it";
}

TEST_F(RestoreContainer, AVolumeIsPutBackWhereItStopsBehindTheExchange) {
  save();
  rooms().write("data", "file", "before");
  base::fault_hook = stop_there;
  stop_at = "container:replaced";
  EXPECT_THAT(refusal([&] { restore({.reference = "web", .volumes = Volumes::point}); }), HasSubstr("was interrupted"));
  ASSERT_TRUE(test::eventually([&] { return files_in("state/restores").empty(); }));
  base::fault_hook = nullptr;
  EXPECT_EQ(rooms().engine.state("web"), "");
  EXPECT_EQ(rooms().read("data", "file"), "before");
}

TEST_F(RestoreContainer, HalfARestoreIsUndoneAtTheNextStart) {
  save();
  lose_volume();
  // As it stands where davit was killed right before its end.
  const std::string uuid = "11111111-1111-1111-1111-111111111111";
  auto& engine = rooms().engine;
  RestoreJournal(data()).write({.uuid = uuid,
                                .container = "web",
                                .image = test::saved_reference(),
                                .point = kPoint,
                                .loads_image = true,
                                .networks = {"shop", "users"},
                                .volumes = {{"data", snapshot_of_["data"]}},
                                .asked = RestoreEntry::Asked::container});
  engine.add_image(test::saved_reference(), {{"davit.point", kPoint}, {"davit.container", "web"}});
  engine.create_network(json{{"Name", "shop"}, {"Driver", "bridge"}, {"Labels", {{"davit.restore", uuid}}}}.dump());
  engine.create_network(json{{"Name", "users"}, {"Driver", "bridge"}}.dump());
  engine.create_volume(json{{"Name", "data"}, {"Driver", "davit:latest"}}.dump());
  engine.create_container("web", json{{"Image", test::saved_reference()}}.dump());
  manager().start();
  ASSERT_TRUE(test::eventually([&] { return files_in("state/restores").empty(); }));
  expect_nothing_made();
  EXPECT_TRUE(engine.has_network("users")) << "somebody else's of the same name";
}

TEST_F(RestoreContainer, AContainerThatWasStartedSinceIsNotUndone) {
  save();
  restore({.reference = "web", .start = true});
  RestoreJournal(data()).write({.uuid = "1", .container = "web", .image = test::saved_reference(), .point = kPoint,
                                .loads_image = true, .networks = {"shop"}, .volumes = {{"data", snapshot_of_["data"]}},
                                .asked = RestoreEntry::Asked::container});
  manager().start();
  ASSERT_TRUE(test::eventually([&] { return files_in("state/restores").empty(); }));
  EXPECT_EQ(rooms().engine.state("web"), "running");
  EXPECT_EQ(rooms().read("data", "file"), "from the point");
}

TEST_F(RestoreContainer, UndoingPutsBackWhatAVolumeHeld) {
  save();
  rooms().write("data", "file", "before");
  clock_.advance(std::chrono::hours(48));
  const std::string safety = rooms().backup("data").snapshot;
  clock_.advance(std::chrono::hours(48));
  rooms().write("data", "file", "half restored");
  RestoreJournal(data()).write({.uuid = "1", .container = "web", .image = test::saved_reference(),
                                .replaced = {{"data", safety}}});
  manager().start();
  ASSERT_TRUE(test::eventually([&] { return files_in("state/restores").empty(); }));
  EXPECT_EQ(rooms().read("data", "file"), "before");
}

TEST_F(RestoreContainer, WhatTheEngineWasStillMakingIsWaitedForAndUndoneInItsOrder) {
  save();
  lose_volume();
  auto& engine = rooms().engine;
  // Killed while the engine made the container: it asks the volume's driver again, and comes to its end later.
  const std::string uuid = "11111111-1111-1111-1111-111111111111";
  RestoreJournal(data()).write({.uuid = uuid,
                                .container = "web",
                                .image = test::saved_reference(),
                                .point = kPoint,
                                .loads_image = true,
                                .networks = {"shop"},
                                .volumes = {{"data", snapshot_of_["data"]}},
                                .asked = RestoreEntry::Asked::container,
                                .asked_at = clock_.now()});
  engine.add_image(test::saved_reference(), {{"davit.point", kPoint}, {"davit.container", "web"}});
  engine.create_network(json{{"Name", "shop"}, {"Driver", "bridge"}, {"Labels", {{"davit.restore", uuid}}}}.dump());
  engine.create_volume(json{{"Name", "data"}, {"Driver", "davit:latest"}}.dump());
  const auto count = [&](const std::string& wanted) {
    const auto calls = engine.calls();
    return std::count(calls.begin(), calls.end(), wanted);
  };
  manager().start();
  ASSERT_TRUE(test::eventually([&] { return count("inspect_container web") >= 3; }));
  EXPECT_TRUE(registry().find("data")) << "the container that comes would make an empty one";
  EXPECT_TRUE(engine.has_network("shop"));
  engine.create_container("web", json{{"Image", test::saved_reference()}}.dump());
  ASSERT_TRUE(test::eventually([&] { return left_to_undo() == 0; }));
  expect_nothing_made();
  EXPECT_THAT(files_in("state/restores"), IsEmpty());
}

TEST_F(RestoreContainer, AnImageThatComesAfterTheUndoingIsTakenAway) {
  save();
  lose_volume();
  auto& engine = rooms().engine;
  const auto add_image = [&] {
    engine.add_image(test::saved_reference(), {{"davit.point", kPoint}, {"davit.container", "web"}});
  };
  const auto leave_late = [&] {
    // What a davit leaves that was killed with the whole stream sent.
    RestoreJournal(data()).write({.uuid = "1", .container = "web", .image = test::saved_reference(), .point = kPoint,
                                  .loads_image = true, .asked = RestoreEntry::Asked::image, .asked_at = clock_.now()});
    manager().start();
    ASSERT_TRUE(test::eventually([&] { return left_to_undo() == 0; }));
    ASSERT_THAT(files_in("state/restores"), ElementsAre("1.json"));
  };
  leave_late();
  remove_late_images(rooms().context, {});
  ASSERT_THAT(files_in("state/restores"), ElementsAre("1.json")) << "it may still come";
  add_image();
  remove_late_images(rooms().context, {});
  EXPECT_THAT(engine.references(), Not(Contains(test::saved_reference())));
  EXPECT_THAT(files_in("state/restores"), IsEmpty());

  // Nobody waits for ever.
  leave_late();
  clock_.advance(std::chrono::hours(2));
  remove_late_images(rooms().context, {});
  EXPECT_THAT(files_in("state/restores"), IsEmpty());

  // The next restore needs it, and has it.
  leave_late();
  restore();
  EXPECT_THAT(files_in("state/restores"), IsEmpty());
  remove_late_images(rooms().context, {});
  EXPECT_THAT(engine.references(), Contains(test::saved_reference()));
}

TEST_F(RestoreContainer, AnImageThatAVolumeBroughtIsNotUndone) {
  save();
  rooms().create("copy", {{"from", snapshot_of_["data"]}});
  ASSERT_TRUE(test::eventually([&] { return registry().find("copy")->images.size() == 1 && rooms().engine.find_image(test::saved_reference()); }));
  RestoreJournal(data()).write({.uuid = "1", .container = "web", .image = test::saved_reference(), .point = kPoint,
                                .loads_image = true, .asked = RestoreEntry::Asked::image, .asked_at = clock_.now()});
  manager().start();
  ASSERT_TRUE(test::eventually([&] { return files_in("state/restores").empty(); }));
  EXPECT_THAT(rooms().engine.references(), Contains(test::saved_reference()));
}

TEST_F(RestoreContainer, ARefusedNameTakesNothingFromWhoHasIt) {
  save();
  lose_volume();
  rival_ = true;
  EXPECT_THAT(refusal([&] { restore(); }), HasSubstr("the name web is in use"));
  EXPECT_EQ(rooms().engine.state("web"), "created");
}

}  // namespace
}  // namespace davit::jobs
