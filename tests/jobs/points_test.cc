// Points: which snapshots belong together.
#include "jobs/points.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "jobs/forget.h"

namespace davit::jobs {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

SnapshotInfo snapshot(const std::string& path, int second, std::vector<std::string> tags) {
  repo::Snapshot made;
  made.id.bytes[0] = static_cast<uint8_t>(second);
  made.time.time = base::Time(std::chrono::seconds(1'000'000 + second));
  made.paths = {path};
  made.hostname = "here";
  made.tags = std::move(tags);
  return describe_snapshot(made);
}

TEST(Points, HaveRandomNames) {
  const PointMark one = make_point({}), other = make_point({});
  EXPECT_TRUE(is_point_id(one.id)) << one.id;
  EXPECT_NE(one.id, other.id);
  EXPECT_FALSE(is_point_id("0123456789ABCDEF"));
  EXPECT_FALSE(is_point_id("0123456789abcde"));
}

TEST(Points, ASnapshotTellsWhatItIsOf) {
  const auto container = snapshot("/containers/web", 1, {"davit", "point:0123456789abcdef", "volume:b", "volume:a"});
  EXPECT_EQ(container.container, "web");
  EXPECT_EQ(container.volume, "");
  EXPECT_EQ(container.point, "0123456789abcdef");
  EXPECT_THAT(volumes_used(container.snapshot), ElementsAre("b", "a"));
  const auto volume = snapshot("/volumes/a", 1, {"davit"});
  EXPECT_EQ(volume.volume, "a");
  EXPECT_EQ(volume.container, "");
  EXPECT_EQ(volume.point, "");
  EXPECT_EQ(snapshot("/containers/a/b", 1, {}).container, "");
  EXPECT_EQ(snapshot("/volumes/a", 1, {"point:me"}).point, "") << "somebody else's tag";
}

TEST(Points, AreGroupedByTheirTagsAndOrderedByTime) {
  const std::string one = "point:1111111111111111", two = "point:2222222222222222";
  const std::vector<SnapshotInfo> all{
      snapshot("/containers/web", 20, {two}), snapshot("/volumes/b", 10, {one}), snapshot("/volumes/old", 1, {}),
      snapshot("/volumes/a", 20, {two}),      snapshot("/volumes/c", 20, {two})};
  const auto points = group_points(all);
  ASSERT_EQ(points.size(), 2u);
  EXPECT_EQ(points[0].id, "1111111111111111");
  EXPECT_EQ(points[0].pieces.size(), 1u);
  EXPECT_EQ(points[1].time, all[0].snapshot.time.time);
  ASSERT_EQ(points[1].pieces.size(), 3u);
  EXPECT_EQ(points[1].pieces[0].volume, "a");
  EXPECT_EQ(points[1].pieces[1].volume, "c");
  EXPECT_EQ(points[1].pieces[2].container, "web");
  ASSERT_NE(points[1].find_container("web"), nullptr);
  EXPECT_EQ(points[1].find_container("b"), nullptr);
  EXPECT_EQ(points[1].find_volume(""), nullptr) << "a container's piece is no volume without a name";
  EXPECT_EQ(find_point(all, "2222222222222222")->pieces.size(), 3u);
  EXPECT_FALSE(find_point(all, "3333333333333333"));
  EXPECT_THAT(group_points({}), IsEmpty());
}

}  // namespace
}  // namespace davit::jobs
