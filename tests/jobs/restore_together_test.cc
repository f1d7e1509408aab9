// A volume made from its snapshot and its container made again, one right after the other.
#include <future>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "jobs/points.h"
#include "jobs_fixture.h"
#include "support/container_snapshot.h"

namespace davit::jobs {
namespace {

using nlohmann::json;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class RestoreTogether : public JobsFixture {
 protected:
  // A container that uses the volume `data`; both are saved as one point, and gone.
  void save_and_lose() {
    rooms().create("data", {{"schedule", "off"}, {"final-backup", "off"}});
    rooms().write("data", "file", "from the point");
    rooms().backup("data");
    volume_snapshot_ = test::put_into_point(rooms(), "data");
    const json document = {{"Id", std::string(64, 'a')},
                           {"Name", "/web"},
                           {"Config", {{"Cmd", {"serve"}}}},
                           {"HostConfig", {{"NetworkMode", "none"}, {"Binds", {"data:/data"}}}}};
    const auto id = *base::Id::parse(test::save_container(rooms(), {.inspect = document.dump()}));
    repo::Snapshot snapshot = repository().load_snapshot(id);  // says which volumes it used, as a commit's does
    snapshot.tags.push_back(volume_tag("data"));
    repository().store().remove({store::Kind::snapshot, id});
    repository().save_snapshot(snapshot);
    driver().remove("data");
    ASSERT_TRUE(vanishes("data"));
    rooms().engine.create_volume(json{{"Name", "data"}, {"Driver", "davit:latest"}}.dump());
  }
  std::future<RestoreContainerOutcome> restore_container(bool dry_run = false) {
    return std::async(std::launch::async, [this, dry_run] {
      return manager().restore_container({.reference = "web", .dry_run = dry_run}, {}, {});
    });
  }
  std::vector<std::string> loads() {
    std::vector<std::string> all;
    for (const std::string& call : rooms().engine.calls())
      if (call.starts_with("load_image")) all.push_back(call);
    return all;
  }
  bool waits(const std::string& phase) {
    return test::eventually([&] {
      const auto job = manager().find_job("restore of container web");
      return job && job->phase().find(phase) != std::string::npos;
    });
  }

  std::string volume_snapshot_;
};

TEST_F(RestoreTogether, TheContainerWaitsForItsVolume) {
  save_and_lose();
  test::PauseAt pause("restore:written");
  driver().create("data", {{"from", volume_snapshot_}, {"images", "false"}}, test::Rooms::budget());
  ASSERT_TRUE(pause.wait_until_reached());
  EXPECT_THAT(restore_container(true).get().conflicts, Contains(HasSubstr("data is restoring"))) << "a trial waits for nothing";
  auto outcome = restore_container();
  EXPECT_TRUE(waits("restoring volume data"));
  pause.release();
  EXPECT_THAT(outcome.get().conflicts, IsEmpty());
  EXPECT_EQ(rooms().engine.state("web"), "created");
  EXPECT_EQ(rooms().read("data", "file"), "from the point");
}

TEST_F(RestoreTogether, TheImageThatBothWantIsLoadedOnce) {
  save_and_lose();
  test::PauseAt pause("image:load");
  driver().create("data", {{"from", volume_snapshot_}}, test::Rooms::budget());
  ASSERT_TRUE(pause.wait_until_reached());
  rooms().settle("data");
  auto outcome = restore_container();
  EXPECT_TRUE(waits("waiting for whoever loads it"));
  pause.release();
  EXPECT_FALSE(outcome.get().image_loaded) << "it came with the volume";
  EXPECT_THAT(loads(), SizeIs(1));
  EXPECT_EQ(rooms().engine.state("web"), "created");
}

}  // namespace
}  // namespace davit::jobs
