// The stock restic as a judge: runs its command on a local repository.
#pragma once

#include <cstdlib>
#include <string>
#include <vector>

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
  // Arguments as they are; nothing passes through a shell.
  ResticRun run(const std::vector<std::string>& arguments,
                const std::vector<std::string>& environment = {}) const;

 private:
  std::string repository_, password_;
};

}  // namespace davit::test
