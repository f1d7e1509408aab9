// davit-tracking-bench DIRECTORY FILES CHANGED RUNS: makes a volume of so many files, 100 a
// directory, in DIRECTORY (on ext4 or XFS), changes some before each run, and prints what the runs
// cost that look at everything, and those that follow the changes, in turn. As root.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "base/files.h"
#include "capture/change_tracker.h"
#include "capture/open_writers.h"
#include "support/fake_clock.h"
#include "support/tracked_volume.h"
#include "support/volume_fixture.h"

namespace davit {
namespace {

double processor_seconds() {
  rusage used;
  ::getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& time) { return time.tv_sec + time.tv_usec / 1e6; };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

struct Cost {
  double wall, processor, find;
  uint64_t looked_at;
};

class Bench {
 public:
  Bench(const std::string& directory, int files)
      : fixture_(test::VolumeFixture::Kind::quick, directory) {
    for (int i = 0; i < files; ++i) {
      if (i % 100 == 0) base::make_directories(name(i).substr(0, name(i).rfind('/')));
      change(i, "first");
    }
    save(false, "full");
    save(true, "tracked");
  }
  void change(int i, const std::string& text) const {
    const base::Fd fd = base::open_file(name(i), O_WRONLY | O_CREAT, 0644);
    base::write_all(fd.get(), base::as_bytes(text));
  }
  Cost save(bool tracked, const std::string& cache) {
    const auto begin = std::chrono::steady_clock::now();
    const double processor = processor_seconds();
    const base::Fd root = base::open_file(fixture_.volume("v"), O_RDONLY | O_DIRECTORY);
    archive::Options options;
    options.scan_cache_path = fixture_.cache_of(cache);
    clock_.set(base::SystemClock().now() + std::chrono::hours(1));
    options.clock = &clock_;
    capture::ChangeTracker::Taken taken;
    double find = 0;
    if (tracked) {
      struct stat status;
      ::fstat(root.get(), &status);
      const auto writers = capture::find_open_writers(status.st_dev, test::harmless_process());
      if (!writers.doubt.empty()) std::printf("doubt: %s\n", writers.doubt.c_str());
      find = seconds_since(begin);
      taken = tracker_.take(root.get(), mark_, writers.files);
      mark_ = taken.mark;
      options.keeps_handles = taken.mark.has_value();
      if (taken.changed && writers.doubt.empty()) options.changed = &*taken.changed;
    }
    const auto saved = fixture_.save("v", options);
    return {seconds_since(begin), processor_seconds() - processor, find, saved.result.looked_at};
  }

 private:
  static double seconds_since(std::chrono::steady_clock::time_point begin) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }
  std::string name(int i) const {
    return fixture_.volume("v") + "/d" + std::to_string(i / 10'000) + "/e" +
           std::to_string(i / 100 % 100) + "/f" + std::to_string(i % 100);
  }

  test::VolumeFixture fixture_;
  test::FakeClock clock_;
  capture::ChangeTracker tracker_;
  std::optional<capture::ChangeTracker::Mark> mark_;
};

int run(const std::string& directory, int files, int changed, int runs) {
  Bench bench(directory, files);
  std::mt19937 random(1);
  std::vector<Cost> all[2];
  for (int i = 0; i < runs; ++i) {
    for (int j = 0; j < changed; ++j)
      bench.change(static_cast<int>(random() % static_cast<unsigned>(files)), std::to_string(i));
    all[0].push_back(bench.save(false, "full"));
    all[1].push_back(bench.save(true, "tracked"));
  }
  for (const bool tracked : {false, true}) {
    auto& costs = all[tracked];
    std::sort(costs.begin(), costs.end(), [](auto& a, auto& b) { return a.wall < b.wall; });
    const Cost& cost = costs[costs.size() / 2];
    std::printf("%s: %.3f s wall, %.3f s of processors, %.3f s for the open files, %lu looked at\n",
                tracked ? "following" : "everything", cost.wall, cost.processor, cost.find,
                cost.looked_at);
  }
  return 0;
}

}  // namespace
}  // namespace davit

int main(int count, char** words) {
  if (count != 5) {
    std::fprintf(stderr, "usage: davit-tracking-bench DIRECTORY FILES CHANGED RUNS\n");
    return 2;
  }
  return davit::run(words[1], std::atoi(words[2]), std::atoi(words[3]), std::atoi(words[4]));
}
