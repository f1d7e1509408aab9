// A backup or a restore that dies at any step. After it the earlier snapshot is whole, the next
// backup succeeds whatever the dead one left (packs, half a scan cache), and nothing was believed
// that was not true.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <random>

#include "base/fault.h"
#include "support/fake_clock.h"
#include "support/restic.h"
#include "support/tree_maker.h"
#include "support/tree_manifest.h"
#include "support/volume_fixture.h"

namespace davit {
namespace {

std::atomic<uint64_t> g_points{0};
uint64_t g_die_at = 0;

// Runs `act` in a process of its own that ends at its Nth step. False when there were fewer.
template <typename Act>
bool dies_at(uint64_t step, Act act) {
  const pid_t child = ::fork();
  if (child < 0) throw base::Error("cannot fork");
  if (child == 0) {
    g_die_at = step;
    base::fault_hook = [](const char*) {
      if (++g_points == g_die_at) ::_exit(9);
    };
    try {
      act();
      ::_exit(0);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\n", error.what());
      ::_exit(1);
    }
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) != 1) << "step " << step;
  return WEXITSTATUS(status) == 9;
}

class TreeCrash : public ::testing::Test {
 protected:
  TreeCrash() {
    test::TreeSpec spec;
    spec.devices = spec.owners = spec.trusted_xattrs = ::geteuid() == 0;
    spec.random_files = 30;
    spec.wide_entries = 10;
    spec.deep_levels = 3;
    spec.large = spec.sparse = false;
    test::make_tree(fixture_.volume("v"), spec);
    options_.scan_cache_path = fixture_.cache_of("v");
    options_.clock = &clock_;
  }
  void change(uint64_t round) {
    const std::string path = fixture_.volume("v") + "/random/round";
    const base::Fd fd = base::open_file(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    base::write_all(fd.get(), base::as_bytes("round " + std::to_string(round)));
    clock_.set(base::SystemClock().now() + std::chrono::hours(1));
  }
  void expect_restores(const base::Id& tree, const std::string& expected) {
    const std::string name = "back" + std::to_string(++restored_);
    fixture_.restore(tree, "v", name);
    EXPECT_EQ(test::manifest_difference(expected, test::tree_manifest(fixture_.volume(name))), "");
    base::remove_tree(fixture_.volume(name));
  }
  std::mt19937_64 random_{[] {
    const char* seed = std::getenv("DAVIT_SEED");
    return seed ? std::strtoull(seed, nullptr, 10) : uint64_t(::time(nullptr)) / 86400;
  }()};
  uint64_t stride() { return std::getenv("DAVIT_SOAK") ? 1 : 1 + random_() % 4; }

  test::VolumeFixture fixture_{test::VolumeFixture::Kind::real};
  archive::Options options_;
  test::FakeClock clock_;
  int restored_ = 0;
};

TEST_F(TreeCrash, ABackupThatDiesAtAnyStepHarmsNothing) {
  change(0);
  auto last = fixture_.save("v", options_);
  std::string last_manifest = test::tree_manifest(fixture_.volume("v"));
  uint64_t steps = 0;
  for (uint64_t step = 1;; step += stride()) {
    change(step);
    const bool died = dies_at(step, [&] { fixture_.save("v", options_); });
    fixture_.reopen();
    expect_restores(last.result.tree, last_manifest);
    change(step + 1'000'000);
    last = fixture_.save("v", options_);
    last_manifest = test::tree_manifest(fixture_.volume("v"));
    expect_restores(last.result.tree, last_manifest);
    EXPECT_EQ(last.result.files_unmodified + 1, last.result.total_files);
    if (!died) break;
    steps = step;
  }
  EXPECT_GT(steps, 10u);
  if (test::Restic::is_installed()) {
    const test::Restic restic(fixture_.repository_path(), test::VolumeFixture::kPassword);
    EXPECT_TRUE(succeeded(restic.ask({"check", "--read-data"})));
  }
}

TEST_F(TreeCrash, ARestoreThatDiesLeavesNoCacheThatLies) {
  change(0);
  const auto saved = fixture_.save("v", options_);
  const std::string manifest = test::tree_manifest(fixture_.volume("v"));
  uint64_t steps = 0;
  for (uint64_t step = 1;; ++step) {
    restore::Options options;
    options.scan_cache_path = fixture_.cache_of("back");
    const bool died =
        dies_at(step, [&] { fixture_.restore(saved.result.tree, "v", "back", options); });
    // Whatever part is there: a backup with whatever cache is there saves that part as it is.
    archive::Options again;
    again.scan_cache_path = options.scan_cache_path;
    const auto part = fixture_.save("back", again);
    const std::string part_manifest = test::tree_manifest(fixture_.volume("back"));
    fixture_.restore(part.result.tree, "back", "part");
    EXPECT_EQ(
        test::manifest_difference(part_manifest, test::tree_manifest(fixture_.volume("part"))), "");
    if (!died) {
      EXPECT_EQ(test::manifest_difference(manifest, part_manifest), "");
      EXPECT_EQ(part.result.files_unmodified, part.result.total_files);
    }
    base::remove_tree(fixture_.volume("back"));
    base::remove_tree(fixture_.volume("part"));
    ::unlink(options.scan_cache_path.c_str());
    if (!died) break;
    steps = step;
  }
  EXPECT_GE(steps, 3u);
}

}  // namespace
}  // namespace davit
