// Other programs, as tests run them: with a limit on their time, and everything they say.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <map>
#include <string>
#include <vector>

namespace davit::test {

struct Outcome {
  int exit_code = -1;  // -1: it was killed
  std::string output;  // what it wrote to its standard output
  std::string errors;  // and to the other one
};

// A program that runs. It is killed when this goes.
class Program {
 public:
  // The environment is ours, changed as `environment` says. Its standard input stays open until
  // close_input(). Throws IoError where it cannot be started.
  explicit Program(const std::vector<std::string>& arguments,
                   const std::map<std::string, std::string>& environment = {});
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  pid_t pid() const { return pid_; }
  void write_input(std::string_view text);
  void close_input();
  // Closes its input, reads all it says, and waits; after `limit` it is killed.
  Outcome wait(std::chrono::seconds limit = std::chrono::seconds(180));

 private:
  pid_t pid_ = -1;
  int input_ = -1, output_ = -1, errors_ = -1;
};

Outcome run(const std::vector<std::string>& arguments,
            const std::map<std::string, std::string>& environment = {});

}  // namespace davit::test
