#include "support/tracked_volume.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/fd.h"
#include "base/files.h"

namespace davit::test {

TrackedVolume::TrackedVolume(const std::string& type, capture::ChangeTracker::Options options,
                             uint64_t size_bytes)
    : disk(type, size_bytes),
      fixture(VolumeFixture::Kind::quick, disk.path()),
      root(fixture.volume("v")),
      clock(base::SystemClock().now()),
      options_(options) {
  base::make_directories(root);
  tracker_.emplace(options_);
}

void TrackedVolume::restart_tracker() {
  tracker_.reset();
  mark_.reset();
  tracker_.emplace(options_);
}

std::set<int> harmless_process() {
  char target[8];
  if (::readlink("/proc/1/fd/0", target, sizeof target) < 0 && errno == EACCES) return {1};
  return {};
}

capture::OpenWriters TrackedVolume::open_writers() const {
  struct stat status;
  EXPECT_EQ(::stat(root.c_str(), &status), 0);
  const base::Fd directory = base::open_file(root, O_RDONLY | O_DIRECTORY);
  if (capture::ChangeTracker::sees_all_writers(directory.get())) return {};
  return capture::find_open_writers(status.st_dev, harmless_process());
}

VolumeFixture::Saved TrackedVolume::save_tracked() {
  const base::Fd directory = base::open_file(root, O_RDONLY | O_DIRECTORY);
  auto writers = open_writers();
  // Other tests have engines and rings, too.
  for (int i = 0; waits && i < 100 && !writers.doubt.empty(); ++i) {
    ::usleep(100'000);
    writers = open_writers();
  }
  auto taken = tracker_->take(directory.get(), mark_, writers.files);
  why = writers.doubt.empty() ? taken.why : writers.doubt;
  archive::Options options;
  options.scan_cache_path = fixture.cache_of("v");
  // Change times are the kernel's own: what was made just now is doubtful for two seconds.
  clock.set(base::SystemClock().now() + std::chrono::hours(1));
  options.clock = &clock;
  options.keeps_handles = taken.mark.has_value();
  if (taken.changed && writers.doubt.empty()) {
    for (const uint64_t handle : writers.overlaid) taken.changed->add_below(handle);
    options.changed = &*taken.changed;
  }
  auto saved = fixture.save("v", options);
  mark_ = taken.mark;
  return saved;
}

VolumeFixture::Saved TrackedVolume::save_fresh() {
  return fixture.save("v", {});
}

VolumeFixture::Saved TrackedVolume::expect_same(const std::string& what) {
  auto tracked = save_tracked();
  const auto fresh = save_fresh();
  looked_at += tracked.result.looked_at;
  looked_at_fresh += fresh.result.looked_at;
  EXPECT_EQ(tracked.result.tree, fresh.result.tree) << what;
  EXPECT_EQ(tracked.result.total_files, fresh.result.total_files) << what;
  EXPECT_EQ(tracked.result.total_bytes, fresh.result.total_bytes) << what;
  EXPECT_EQ(tracked.result.dirs_new + tracked.result.dirs_changed + tracked.result.dirs_unmodified,
            fresh.result.dirs_new + fresh.result.dirs_changed + fresh.result.dirs_unmodified)
      << what;
  return tracked;
}

}  // namespace davit::test
