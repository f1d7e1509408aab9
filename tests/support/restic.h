// The stock restic as a judge: runs its command on a local repository.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "support/program.h"

namespace davit::test {

struct ResticRun {
  int exit_code = 0;
  std::string output;  // stdout and stderr
};

class Restic {
 public:
  // `program`: "" is the one in PATH, or the one that DAVIT_RESTIC in the environment names.
  Restic(std::string repository, std::string password, std::string program = "");

  static bool is_installed();
  // Arguments as they are; nothing passes through a shell. Quietly: only results and complaints.
  ResticRun run(const std::vector<std::string>& arguments,
                const std::vector<std::string>& environment = {}) const;
  // As talkative as it is by itself, and still running.
  std::unique_ptr<Program> start(std::vector<std::string> arguments) const;
  Outcome ask(std::vector<std::string> arguments) const {
    return start(std::move(arguments))->wait();
  }

 private:
  std::map<std::string, std::string> settings() const;

  std::string repository_, password_, program_;
};

// Debian 13's restic 0.18, as tests/engines/restic.sh gets it: once for all tests, which takes
// minutes where it has not been got yet. Throws base::Error saying why it cannot be had.
const std::string& restic_018();

// The two that tests run with, as their parameter: the one in PATH (Debian 12's 0.14), and 0.18.
enum class ResticVersion : uint8_t { installed, v018 };
inline constexpr ResticVersion kResticVersions[] = {ResticVersion::installed, ResticVersion::v018};
std::string version_name(const testing::TestParamInfo<ResticVersion>& info);
// For Restic's constructor. Throws as restic_018().
std::string restic_program(ResticVersion version);

// For EXPECT_TRUE: success, or all that it said.
testing::AssertionResult succeeded(const Outcome& outcome);

}  // namespace davit::test

// At the beginning of a test.
#define DAVIT_NEEDS_RESTIC_018()                              \
  try {                                                       \
    ::davit::test::restic_018();                              \
  } catch (const std::exception& error) {                     \
    if (std::getenv("CI") != nullptr) FAIL() << error.what(); \
    GTEST_SKIP() << error.what();                             \
  }                                                           \
  static_assert(true)

#define DAVIT_NEEDS_RESTIC_VERSION(version)              \
  if ((version) == ::davit::test::ResticVersion::v018) { \
    DAVIT_NEEDS_RESTIC_018();                            \
  } else {                                               \
    DAVIT_NEEDS_RESTIC();                                \
  }                                                      \
  static_assert(true)

#define DAVIT_NEEDS_RESTIC()                                           \
  if (!::davit::test::Restic::is_installed()) {                        \
    if (std::getenv("CI") != nullptr) FAIL() << "restic is not there"; \
    GTEST_SKIP() << "restic is not there";                             \
  }                                                                    \
  static_assert(true)
