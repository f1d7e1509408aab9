// The real restic as an oracle: runs it on a local repository with the password "password", its
// cache and temporary files below a directory of the test's own. Another binary is chosen by the
// environment variable DAVIT_RESTIC.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/errors.h"
#include "base/files.h"
#include "support/temp_dir.h"

namespace davit::test {

class Restic {
 public:
  explicit Restic(std::string repository) : repository_(std::move(repository)) {
    base::make_directories(home_ / "tmp");
  }

  static bool is_there() {
    return std::system((binary() + " version >/dev/null 2>&1").c_str()) == 0;
  }

  struct Outcome {
    int status = -1;   // exit code
    std::string text;  // stdout and stderr
  };
  // `arguments` go through a shell.
  Outcome try_run(const std::string& arguments) const {
    const std::string command = "RESTIC_PASSWORD=password RESTIC_CACHE_DIR='" + (home_ / "cache") +
                                "' TMPDIR='" + (home_ / "tmp") + "' TZ=UTC " + binary() + " -r '" +
                                repository_ + "' " + arguments + " 2>&1";
    FILE* pipe = ::popen(command.c_str(), "re");
    if (!pipe) throw base::Error("popen failed");
    Outcome outcome;
    char part[4096];
    while (const size_t count = std::fread(part, 1, sizeof part, pipe))
      outcome.text.append(part, count);
    const int status = ::pclose(pipe);
    outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return outcome;
  }
  // Throws with everything that restic said unless it ended well.
  std::string run(const std::string& arguments) const {
    const Outcome outcome = try_run(arguments);
    if (outcome.status != 0)
      throw base::Error("restic " + arguments + ": exit " + std::to_string(outcome.status) + "\n" +
                        outcome.text);
    return outcome.text;
  }

 private:
  static std::string binary() {
    const char* chosen = std::getenv("DAVIT_RESTIC");
    return chosen && *chosen ? chosen : "restic";
  }

  const std::string repository_;
  const TempDir home_;
};

}  // namespace davit::test
