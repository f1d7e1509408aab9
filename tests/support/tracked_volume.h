// A volume on a file system of its own that is saved by what the kernel tells of changes, and
// beside it by a run that looks at everything: for tests of tracking.
#pragma once

#include <optional>
#include <set>
#include <string>

#include "capture/change_tracker.h"
#include "capture/open_writers.h"
#include "support/fake_clock.h"
#include "support/loop_mount.h"
#include "support/volume_fixture.h"

namespace davit::test {

// Where the machine's first process is one whose descriptors nobody may see: it writes to no test's
// file system.
std::set<int> harmless_process();

class TrackedVolume {
 public:
  explicit TrackedVolume(const std::string& type, capture::ChangeTracker::Options options = {},
                         uint64_t size_bytes = LoopMount::kSmallest);

  // As a job does it: by what changed where that is known, else everything.
  VolumeFixture::Saved save_tracked();
  capture::OpenWriters open_writers() const;
  VolumeFixture::Saved save_fresh();
  // Both; the trees must be equal. Returns the tracked one.
  VolumeFixture::Saved expect_same(const std::string& what);
  // The daemon ends and begins again.
  void restart_tracker();

  std::string path(const std::string& name) const { return root + "/" + name; }
  std::string outside(const std::string& name) const { return disk / name; }

  LoopMount disk;
  VolumeFixture fixture;
  const std::string root;
  FakeClock clock;
  uint64_t looked_at = 0, looked_at_fresh = 0;  // of all expect_same()
  // For others' doubts to pass, a while; without it everything is looked at at once.
  bool waits = true;
  std::string why;  // of the last save_tracked(): why everything was looked at; "" where it was not

 private:
  const capture::ChangeTracker::Options options_;
  std::optional<capture::ChangeTracker> tracker_;
  std::optional<capture::ChangeTracker::Mark> mark_;
};

}  // namespace davit::test
