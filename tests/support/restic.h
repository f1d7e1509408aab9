// The stock restic as a judge: runs its command on a local repository.
#pragma once

#include <gtest/gtest.h>

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
  // DAVIT_RESTIC in the environment names another binary than the one in PATH.
  Restic(std::string repository, std::string password)
      : repository_(std::move(repository)), password_(std::move(password)) {}

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

  std::string repository_, password_;
};

// For EXPECT_TRUE: success, or all that it said.
testing::AssertionResult succeeded(const Outcome& outcome);

}  // namespace davit::test

// At the beginning of a test.
#define DAVIT_NEEDS_RESTIC()                                           \
  if (!::davit::test::Restic::is_installed()) {                        \
    if (std::getenv("CI") != nullptr) FAIL() << "restic is not there"; \
    GTEST_SKIP() << "restic is not there";                             \
  }                                                                    \
  static_assert(true)
