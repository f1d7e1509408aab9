// davit-tracked-writers-bench DIRECTORY RUNS: what those pay who write to a file system of which
// the kernel tells the changes, beside one of which it does not, in turn; processor time of the
// writing thread, medians. DIRECTORY is empty, on ext4 or XFS. As root.
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "base/files.h"
#include "capture/change_tracker.h"

namespace davit {
namespace {

constexpr int kTimes = 20'000;
constexpr std::array<const char*, 3> kWork = {"write of 4 KiB", "create", "unlink"};
using Costs = std::array<double, kWork.size()>;  // µs each

double processor_us() {
  rusage used;
  ::getrusage(RUSAGE_THREAD, &used);
  const auto us = [](const timeval& time) { return time.tv_sec * 1e6 + time.tv_usec; };
  return us(used.ru_utime) + us(used.ru_stime);
}

template <typename Work>
double cost_of(Work&& work) {
  const double begin = processor_us();
  for (int i = 0; i < kTimes; ++i) work(i);
  return (processor_us() - begin) / kTimes;
}

Costs measure(const std::string& directory) {
  const auto name = [&](int i) { return directory + "/f" + std::to_string(i); };
  const base::Bytes block(4096, 'x');
  Costs costs;
  {
    const base::Fd file = base::open_file(directory + "/written", O_RDWR | O_CREAT, 0600);
    for (uint64_t i = 0; i < 256; ++i) base::pwrite_all(file.get(), block, i * block.size());
    costs[0] = cost_of([&](int i) {
      base::pwrite_all(file.get(), block, static_cast<uint64_t>(i % 256) * block.size());
    });
  }
  costs[1] = cost_of([&](int i) { base::open_file(name(i), O_WRONLY | O_CREAT, 0600); });
  costs[2] = cost_of([&](int i) { ::unlink(name(i).c_str()); });
  return costs;
}

int run(const std::string& directory, int runs) {
  const base::Fd root = base::open_file(directory, O_RDONLY | O_DIRECTORY);
  std::array<std::array<std::vector<double>, kWork.size()>, 2> all;
  for (int i = 0; i < runs; ++i)
    for (const bool tracked : {false, true}) {
      std::optional<capture::ChangeTracker> tracker;
      if (tracked)
        if (const auto taken = tracker.emplace().take(root.get(), {}, {}); !taken.mark) {
          std::fprintf(stderr, "%s\n", taken.why.c_str());
          return 1;
        }
      const Costs costs = measure(directory);
      for (size_t work = 0; work < costs.size(); ++work) all[tracked][work].push_back(costs[work]);
    }
  for (size_t work = 0; work < kWork.size(); ++work) {
    const auto median = [&](std::vector<double>& costs) {
      std::sort(costs.begin(), costs.end());
      return costs[costs.size() / 2];
    };
    const double without = median(all[false][work]), with = median(all[true][work]);
    std::printf("%s: %.2f us, tracked %.2f us (%.2f)\n", kWork[work], without, with,
                with / without);
  }
  return 0;
}

}  // namespace
}  // namespace davit

int main(int count, char** words) {
  if (count != 3) {
    std::fprintf(stderr, "usage: davit-tracked-writers-bench DIRECTORY RUNS\n");
    return 2;
  }
  return davit::run(words[1], std::atoi(words[2]));
}
