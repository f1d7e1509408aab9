// Images back with the volume: loaded once, in the background, whatever happens in between; and a failure fails nothing.
#include "jobs/load_images.h"

#include "archive/image_stream.h"
#include "jobs/image_names.h"
#include "jobs/points.h"
#include "jobs_fixture.h"
#include "repo/upload.h"

namespace davit::jobs {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;
using volumes::ImageLoad;
using volumes::State;

class LoadImages : public JobsFixture {
 protected:
  test::FakeEngine& engine() { return rooms().engine; }

  // The container's piece of a point, as a commit stores it; the image is gone from the engine afterwards. Returns the
  // image's name.
  std::string save_container(const PointMark& point, const std::string& name, const std::string& davit_json = "",
                             engine::Kind kind = engine::Kind::docker) {
    const ImageName image = commit_image_name(kind, name, point.time);
    engine().commit({.container_id = engine().inspect_container(name).id, .repository = image.repository, .tag = image.tag,
                     .labels = {{kLabelPoint, point.id}}, .pause = true, .comment = ""},
                    {});
    base::Bytes stream;
    engine().save_image(image.reference(), [&](base::ByteView part) { base::append(stream, part); }, {});
    engine().remove_image(image.reference());
    repo::Repository& repository = this->repository();
    repo::UploadSession session(repository);
    const std::string json = davit_json.empty() ? "{\"version\":1,\"image\":\"" + image.reference() + "\"}" : davit_json;
    bool given = false;
    const auto result = archive::archive_container(
        repository, session, {name, {{"davit.json", base::to_bytes(base::as_bytes(json))}}, point.time},
        [&] { return std::exchange(given, true) ? base::Bytes() : stream; }, {});
    session.finish();
    repo::Snapshot snapshot;
    snapshot.time.time = point.time;
    snapshot.tree = result.tree;
    snapshot.hostname = "here";
    snapshot.paths = {kContainersPath + name};
    snapshot.tags = {"davit", point_tag(point.id), volume_tag("db")};
    repository.save_snapshot(snapshot);
    return image.reference();
  }
  // The volume's piece.
  std::string save_volume(const PointMark& point, const std::string& name) {
    if (!registry().find(name)) rooms().create(name);
    rooms().write(name, "table", "of " + point.id);
    const auto id = *base::Id::parse(rooms().backup(name).snapshot);
    repo::Snapshot snapshot = repository().load_snapshot(id);
    snapshot.tags = {"davit", point_tag(point.id)};
    repository().store().remove({store::Kind::snapshot, id});
    return repository().save_snapshot(snapshot).hex();
  }
  PointMark next_point() {
    clock_.advance(std::chrono::hours(1));
    return make_point(clock_.now());
  }
  void add_container(const std::string& name, const std::string& layer = "layer") {
    engine().add_container({.name = name, .volumes = {"db"}, .layer = layer});
  }
  std::vector<ImageLoad> images_of(const std::string& volume) { return registry().find(volume)->images; }
  // All images of the volume are loaded, or have failed.
  bool settles(const std::string& name) {
    return test::eventually([&] {
      const auto volume = registry().find(name);
      if (volume->images_owed) return false;
      for (const auto& image : volume->images)
        if (image.state == ImageLoad::State::pending) return false;
      return true;
    });
  }
  size_t loads() {
    const auto calls = engine().calls();
    return static_cast<size_t>(std::count_if(calls.begin(), calls.end(), [](const std::string& call) {
      return call.starts_with("load_image");
    }));
  }
  std::string status() { return driver().get("copy")->status.at("images"); }
};

TEST_F(LoadImages, TheImagesOfThePointComeWithTheVolume) {
  add_container("web", "first");
  const PointMark first = next_point();
  save_volume(first, "db");
  save_container(first, "web");
  const PointMark second = next_point();
  const std::string snapshot = save_volume(second, "db");
  add_container("Worker_1");
  const std::string web = save_container(second, "web"), worker = save_container(second, "Worker_1");
  ASSERT_THAT(engine().references(), Not(Contains(web)));

  rooms().create("copy", {{"from", snapshot}});
  ASSERT_TRUE(settles("copy"));
  EXPECT_THAT(engine().references(), UnorderedElementsAre("base:1", web, worker));
  EXPECT_EQ(engine().find_image(web)->labels.at(kLabelPoint), second.id);
  EXPECT_EQ(rooms().read("copy", "table"), "of " + second.id);
  EXPECT_THAT(status(), HasSubstr(web + ": loaded"));
  EXPECT_THAT(status(), HasSubstr(worker + ": loaded"));
  // The older point brings its own.
  rooms().create("older", {{"from", "db@" + base::format_utc(first.time)}});
  ASSERT_TRUE(settles("older"));
  EXPECT_THAT(engine().references(), Contains(commit_reference(engine::Kind::docker, "web", first.time)));
}

TEST_F(LoadImages, NothingIsLoadedThatNobodyWants) {
  add_container("web");
  const PointMark point = next_point();
  const std::string snapshot = save_volume(point, "db");
  save_container(point, "web");
  rooms().create("plain", {{"from", snapshot}, {"images", "false"}});
  EXPECT_THAT(images_of("plain"), IsEmpty());
  manager().set_setting("DAVIT_LOAD_IMAGES", "off");
  rooms().create("quiet", {{"from", snapshot}});
  EXPECT_FALSE(registry().find("quiet")->images_owed);
  manager().restore({.reference = snapshot, .target = "by-hand", .in_place = false, .options = {}}, {}, {});
  EXPECT_FALSE(registry().find("by-hand")->images_owed);
  EXPECT_EQ(loads(), 0u);
  EXPECT_FALSE(driver().get("quiet")->status.contains("images"));
  // The option comes before the setting, and is not inherited.
  rooms().create("loud", {{"from", snapshot}, {"images", "on"}});
  ASSERT_TRUE(settles("loud"));
  EXPECT_EQ(loads(), 1u);
  manager().set_setting("DAVIT_LOAD_IMAGES", std::nullopt);
  engine().remove_image(images_of("loud")[0].reference);
  manager().restore({.reference = snapshot, .target = "restored", .in_place = false, .options = {}}, {}, {});
  ASSERT_TRUE(settles("restored"));
  EXPECT_EQ(loads(), 2u);
}

TEST_F(LoadImages, APointWithoutImagesOwesNothing) {
  const std::string snapshot = save_volume(next_point(), "db");
  rooms().create("copy", {{"from", snapshot}});
  ASSERT_TRUE(settles("copy"));
  EXPECT_THAT(images_of("copy"), IsEmpty());
  // As snapshots of older versions, without a point.
  rooms().create("plain");
  rooms().create("next", {{"from", rooms().backup("plain").snapshot}});
  ASSERT_TRUE(settles("next"));
  EXPECT_THAT(images_of("next"), IsEmpty());
}

TEST_F(LoadImages, SeveralVolumesOfAPointLoadItOnce) {
  add_container("web");
  const PointMark point = next_point();
  const std::string first = save_volume(point, "db"), second = save_volume(point, "uploads");
  const std::string web = save_container(point, "web");
  std::atomic<bool> open{false};
  engine().on_call([&](const std::string& call) {
    if (!call.starts_with("load_image")) return;
    EXPECT_TRUE(test::eventually([&] { return open.load(); }));
  });
  rooms().create("one", {{"from", first}});
  rooms().create("two", {{"from", second}});
  EXPECT_TRUE(test::eventually([&] { return images_of("one").size() == 1 && images_of("two").size() == 1; }));
  EXPECT_EQ(registry().find("one")->state, State::ready) << "the volume waits for its image";
  EXPECT_THAT(driver().get("one")->status.at("images"), HasSubstr(web + ": loading"));
  open = true;
  ASSERT_TRUE(settles("one"));
  ASSERT_TRUE(settles("two"));
  rooms().create("three", {{"from", first}});
  ASSERT_TRUE(settles("three"));
  EXPECT_EQ(loads(), 1u);
}

TEST_F(LoadImages, AFailureIsToldAndTheVolumeIsGood) {
  add_container("web");
  const PointMark point = next_point();
  const std::string snapshot = save_volume(point, "db");
  const std::string web = save_container(point, "web");
  engine().on_call([](const std::string& call) {
    if (call.starts_with("load_image")) throw base::Error("no space left on the engine");
  });
  rooms().create("copy", {{"from", snapshot}});
  ASSERT_TRUE(settles("copy"));
  manager().wait("copy", {}, {});  // throws nothing
  EXPECT_EQ(registry().find("copy")->state, State::ready);
  EXPECT_EQ(rooms().read("copy", "table"), "of " + point.id);
  EXPECT_EQ(status(), web + ": failed: no space left on the engine");
  EXPECT_EQ(driver().mount("copy", "id", test::Rooms::budget()), rooms().directory("copy"));
  // The next start tries again.
  engine().on_call({});
  stop();
  start();
  ASSERT_TRUE(test::eventually([&] { return status() == web + ": loaded"; })) << status();
}

TEST_F(LoadImages, AnEngineThatGoesAwayInTheMiddleIsAskedAgain) {
  add_container("web", std::string(200'000, 'x'));
  const PointMark point = next_point();
  const std::string snapshot = save_volume(point, "db");
  const std::string web = save_container(point, "web");
  std::atomic<int> cuts{0};
  engine().on_stream([&](const std::string& call, uint64_t bytes) {
    if (call.starts_with("load_image") && bytes > 50'000 && cuts++ == 0)
      throw base::IoError("the engine went away", 0, true);
  });
  rooms().create("copy", {{"from", snapshot}});
  ASSERT_TRUE(settles("copy"));
  EXPECT_EQ(status(), web + ": loaded");
  EXPECT_EQ(loads(), 2u);
}

TEST_F(LoadImages, GoesOnAfterARestart) {
  add_container("web");
  const PointMark point = next_point();
  const std::string snapshot = save_volume(point, "db");
  const std::string web = save_container(point, "web");
  engine().on_call([](const std::string& call) {
    if (call.starts_with("load_image")) throw base::Cancelled();  // as when davit ends
  });
  rooms().create("copy", {{"from", snapshot}});
  ASSERT_TRUE(test::eventually([&] { return loads() > 0 && !manager().find_job("image:" + web); }));
  EXPECT_EQ(images_of("copy").at(0).state, ImageLoad::State::pending);
  stop();
  // And where it ended before they were looked up.
  volumes::Registry(data(), clock_).update(volumes::Registry(data(), clock_).find("copy")->uuid, [](volumes::Volume& record) {
    record.images_owed = true;
    record.images.clear();
  });
  start();
  ASSERT_TRUE(test::eventually([&] { return driver().get("copy")->status.contains("images") && status() == web + ": loaded"; }));
}

TEST_F(LoadImages, AnotherImageOfThatNameIsLeftAlone) {
  add_container("web");
  const PointMark point = next_point();
  const std::string snapshot = save_volume(point, "db");
  const std::string web = save_container(point, "web");
  const std::string mine = engine().add_image(web, {{"davit.point", "of another"}}, "mine");
  rooms().create("copy", {{"from", snapshot}});
  ASSERT_TRUE(settles("copy"));
  EXPECT_THAT(status(), HasSubstr("failed: the engine has another image of the name " + web));
  EXPECT_EQ(engine().find_image(web)->id, mine);
  EXPECT_EQ(loads(), 0u);
}

TEST_F(LoadImages, WhatPodmanSavedIsCalledOnDockerAsDockerCallsIt) {
  add_container("web");
  const PointMark point = next_point();
  const std::string snapshot = save_volume(point, "db");
  const std::string there = save_container(point, "web", "", engine::Kind::podman);
  ASSERT_TRUE(there.starts_with("localhost/"));
  rooms().create("copy", {{"from", snapshot}});
  ASSERT_TRUE(settles("copy"));
  EXPECT_THAT(engine().references(), ElementsAre("base:1", commit_reference(engine::Kind::docker, "web", point.time)));
}

TEST_F(LoadImages, DamagedSnapshotsFailTheirImageOnly) {
  add_container("web");
  add_container("worker");
  for (const std::string bad : {"no json", "{}", "[]", "{\"image\":5}", "{\"image\":\"no-tag\"}", "{\"image\":\":\"}"}) {
    const PointMark point = next_point();
    const std::string snapshot = save_volume(point, "db");
    save_container(point, "web", bad);
    const std::string worker = save_container(point, "worker");
    const std::string name = "copy-" + point.id;
    rooms().create(name, {{"from", snapshot}});
    ASSERT_TRUE(settles(name)) << bad;
    ASSERT_EQ(images_of(name).size(), 2u);
    for (const auto& image : images_of(name)) {
      EXPECT_EQ(image.state == ImageLoad::State::loaded, image.reference == worker) << image.reference << ": " << image.error;
      EXPECT_EQ(image.error.empty(), image.reference == worker);
    }
    EXPECT_EQ(registry().find(name)->state, State::ready);
  }
}

TEST_F(LoadImages, AVolumeThatIsRemovedMeanwhileHarmsNothing) {
  add_container("web");
  const PointMark point = next_point();
  const std::string snapshot = save_volume(point, "db");
  const std::string web = save_container(point, "web");
  std::atomic<bool> open{false};
  engine().on_call([&](const std::string& call) {
    if (!call.starts_with("load_image")) return;
    EXPECT_TRUE(test::eventually([&] { return open.load(); }));
  });
  rooms().create("copy", {{"from", snapshot}, {"final-backup", "off"}});
  ASSERT_TRUE(test::eventually([&] { return loads() == 1; }));
  driver().remove("copy");
  open = true;
  EXPECT_TRUE(test::eventually([&] { return !manager().find_job("image:" + web); }));
  EXPECT_THAT(engine().references(), Contains(web));
}

}  // namespace
}  // namespace davit::jobs
