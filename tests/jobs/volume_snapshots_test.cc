#include "jobs/volume_snapshots.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "base/bytes.h"
#include "base/errors.h"
#include "crypto/sha256.h"

namespace davit::jobs {
namespace {

using namespace std::chrono_literals;
using Ids = VolumeSnapshots::Ids;

struct VolumeSnapshotsTest : ::testing::Test {
  ~VolumeSnapshotsTest() override {
    hangs = false;
    hangs.notify_all();
    for (std::thread& thread : threads) thread.join();
  }
  Ids get(std::chrono::milliseconds wait) {
    const auto look = [this] {
      ++asked;
      hangs.wait(true);
      if (fails) throw base::IoError("away", 0, true);
      return Ids{{"db", {id}}};
    };
    return snapshots.get(
        look, [this](auto work) { threads.emplace_back(std::move(work)); }, wait);
  }

  std::atomic<bool> hangs{false}, fails{false};
  std::atomic<int> asked{0};
  std::vector<std::thread> threads;
  VolumeSnapshots snapshots;
  const base::Id id = crypto::sha256(base::as_bytes("a snapshot"));
};

TEST_F(VolumeSnapshotsTest, AsksEachTime) {
  EXPECT_EQ(get(1min)["db"], std::vector{id});
  EXPECT_EQ(get(1min)["db"], std::vector{id});
  EXPECT_EQ(asked, 2);
  fails = true;
  EXPECT_THROW(get(1min), base::IoError);
  fails = false;
  EXPECT_FALSE(get(1min).contains("other"));
}

TEST_F(VolumeSnapshotsTest, AStoreThatHangsIsAskedByOneOnly) {
  hangs = true;
  for (int i = 0; i < 5; ++i) EXPECT_THROW(get(1ms), base::IoError);
  EXPECT_EQ(threads.size(), 1u);
  hangs = false;
  hangs.notify_all();
  EXPECT_EQ(get(1min)["db"], std::vector{id});
}

}  // namespace
}  // namespace davit::jobs
