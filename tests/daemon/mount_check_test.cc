#include "mount_check.h"

#include <gtest/gtest.h>

#include <atomic>

#include "base/errors.h"
#include "base/files.h"
#include "support/fake_engine.h"
#include "support/temp_dir.h"
#include "support/unix_client.h"

namespace davit::daemon {
namespace {

const std::string kId(64, 'a');
const std::string kPlace = "plugins/" + kId + "/propagated-mount/data/volumes";

TEST(FindPropagated, TellsWhatTheHostCallsIt) {
  const std::string mounts =
      "120 78 254:0 /var/lib/docker/plugins/" + kId + "/rootfs / rw,relatime - ext4 /dev/vda rw\n" +
      "137 120 254:0 /var/lib/docker/plugins/" + kId + "/propagated-mount /mnt/davit rw shared:29 - ext4 /dev/vda rw\n" +
      "138 137 254:0 /var/lib/davit /mnt/davit/data rw,relatime shared:2 - ext4 /dev/vda rw\n";
  EXPECT_EQ(find_propagated(mounts, "/mnt/davit/data/volumes"), kPlace);
  EXPECT_EQ(find_propagated(mounts, "/mnt/davit2/volumes"), std::nullopt);
}

TEST(FindPropagated, KnowsADataRootThatIsAFileSystemOfItsOwn) {
  EXPECT_EQ(find_propagated("1 2 8:1 /plugins/" + kId + "/propagated-mount /mnt/davit rw - xfs /dev/sdb rw",
                            "/mnt/davit/data/volumes"),
            kPlace);
}

TEST(FindPropagated, IsNothingOutsideOfAPlugin) {
  EXPECT_EQ(find_propagated("25 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n", "/var/lib/davit/volumes"), std::nullopt);
  EXPECT_EQ(find_propagated("", "/var/lib/davit/volumes"), std::nullopt);
}

// An engine on whose host the directory is there, or not; as Docker says it.
class MountCheckTest : public ::testing::Test {
 protected:
  MountCheckTest() {
    engine_.on_call([this](const std::string& call) {
      if (!call.starts_with("create_container")) return;
      ++asked_;
      if (!there_)
        throw base::UsageError("the engine refused it: invalid mount config for type \"bind\": bind source path does not "
                               "exist: /var/lib/docker/" + kPlace);
    });
  }
  // One start of the daemon.
  void look() {
    const int before = asked_;
    MountCheck check(engine_, kPlace, state_, [this] { ++restarts_; });
    check.start();
    ASSERT_TRUE(test::eventually([&] { return asked_ > before; }));
    check.stop();
  }

  test::TempDir data_;
  const std::string state_ = data_.path() + "/started-again";
  test::FakeEngine engine_;
  std::atomic<bool> there_{true};
  std::atomic<int> asked_{0}, restarts_{0};
};

TEST_F(MountCheckTest, AsksTheEngineWhetherThePlaceIsThere) {
  EXPECT_EQ(find_sight(engine_, "/var/lib/docker/" + kPlace), Sight::seen);
  there_ = false;
  EXPECT_EQ(find_sight(engine_, "/var/lib/docker/" + kPlace), Sight::missing);
}

TEST_F(MountCheckTest, StartsThePluginAgainOnceWhereTheMountIsLost) {
  there_ = false;
  look();
  EXPECT_EQ(restarts_, 1);
  look();  // the new start did not help: no circle
  EXPECT_EQ(restarts_, 1);
}

TEST_F(MountCheckTest, StartsWhatTheEngineCouldNotStartMeanwhile) {
  const std::string error = "stat /var/lib/docker/" + kPlace + "/data: no such file or directory";
  const auto add = [&](const std::string& name, const std::string& restart, const std::string& why) {
    engine_.add_container(
        {.name = name, .state = "exited", .volumes = {"data"}, .restart = restart, .error = why});
  };
  add("stranded", "always", error);
  add("by-hand", "no", error);
  add("broken", "always", "exec: \"x\": no such file or directory");
  add("stopped", "unless-stopped", "");
  look();
  EXPECT_EQ(engine_.state("stranded"), "exited");  // nothing was wrong
  there_ = false;
  look();
  there_ = true;
  look();
  EXPECT_TRUE(test::eventually([&] { return engine_.state("stranded") == "running"; }));
  for (const char* other : {"by-hand", "broken", "stopped"}) EXPECT_EQ(engine_.state(other), "exited") << other;
}

TEST_F(MountCheckTest, LeavesAPluginAloneWhoseMountIsSeen) {
  look();
  EXPECT_EQ(restarts_, 0);
  EXPECT_FALSE(base::find_file(state_, 1));
}

TEST_F(MountCheckTest, GoesOnUntilTheEngineAnswers) {
  engine_.fail("it is starting");
  there_ = false;
  MountCheck check(engine_, kPlace, state_, [this] { ++restarts_; });
  check.start();
  ASSERT_TRUE(test::eventually([&] { return !engine_.calls().empty(); }));
  EXPECT_EQ(restarts_, 0);
  engine_.fail("");
  EXPECT_TRUE(test::eventually([&] { return restarts_ == 1; }));
}

}  // namespace
}  // namespace davit::daemon
