#include "support/restic.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <stdexcept>

namespace davit::test {

namespace {

const char* binary() {
  const char* other = std::getenv("DAVIT_RESTIC");
  return other && *other ? other : "restic";
}

ResticRun run_program(const std::vector<std::string>& words,
                      const std::vector<std::string>& settings) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe");
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) throw std::runtime_error("fork");
  if (pid == 0) {
    ::dup2(ends[1], 1);
    ::dup2(ends[1], 2);
    for (const std::string& setting : settings) ::putenv(const_cast<char*>(setting.c_str()));
    ::execvp(argv[0], argv.data());
    ::_exit(127);
  }
  ::close(ends[1]);
  ResticRun run;
  char buffer[4096];
  for (ssize_t got; (got = ::read(ends[0], buffer, sizeof buffer)) > 0;)
    run.output.append(buffer, static_cast<size_t>(got));
  ::close(ends[0]);
  int status = 0;
  ::waitpid(pid, &status, 0);
  run.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return run;
}

}  // namespace

bool Restic::is_installed() {
  return run_program({binary(), "version"}, {}).exit_code == 0;
}

ResticRun Restic::run(const std::vector<std::string>& arguments,
                      const std::vector<std::string>& environment) const {
  std::vector<std::string> words{binary(), "--no-cache", "--quiet"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<std::string> settings{"RESTIC_REPOSITORY=" + repository_,
                                    "RESTIC_PASSWORD=" + password_, "RESTIC_PROGRESS_FPS=0"};
  settings.insert(settings.end(), environment.begin(), environment.end());
  return run_program(words, settings);
}

}  // namespace davit::test
