#include "support/program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/errors.h"
#include "base/fd.h"

extern char** environ;

namespace davit::test {

namespace {

using base::Fd;

std::array<Fd, 2> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) base::throw_errno("cannot make a pipe", errno);
  return {Fd(ends[0]), Fd(ends[1])};
}

void close_end(int& fd) {
  if (fd >= 0) ::close(std::exchange(fd, -1));
}

// Takes what is there; closes the end where nothing more comes.
void read_some(int& fd, std::string& to) {
  std::array<char, 65536> buffer;
  const ssize_t got = ::read(fd, buffer.data(), buffer.size());
  if (got > 0) {
    to.append(buffer.data(), static_cast<size_t>(got));
  } else if (got == 0 || errno != EINTR) {
    close_end(fd);
  }
}

}  // namespace

Program::Program(const std::vector<std::string>& arguments,
                 const std::map<std::string, std::string>& environment) {
  std::map<std::string, std::string> merged;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const size_t equals = text.find('=');
    if (equals != std::string::npos) merged[text.substr(0, equals)] = text.substr(equals + 1);
  }
  for (const auto& [name, value] : environment) merged[name] = value;
  std::vector<std::string> lines;
  for (const auto& [name, value] : merged) lines.push_back(name + "=" + value);
  std::vector<char*> argv, envp;
  for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  for (const auto& line : lines) envp.push_back(const_cast<char*>(line.c_str()));
  argv.push_back(nullptr);
  envp.push_back(nullptr);

  auto input = make_pipe(), output = make_pipe(), errors = make_pipe();
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, input[0].get(), 0);
  ::posix_spawn_file_actions_adddup2(&actions, output[1].get(), 1);
  ::posix_spawn_file_actions_adddup2(&actions, errors[1].get(), 2);
  const int error = ::posix_spawnp(&pid_, argv[0], &actions, nullptr, argv.data(), envp.data());
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) base::throw_errno("cannot run " + arguments.at(0), error);
  input_ = input[1].release();
  output_ = output[0].release();
  errors_ = errors[0].release();
}

Program::~Program() {
  close_end(input_);
  close_end(output_);
  close_end(errors_);
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
}

void Program::write_input(std::string_view text) {
  base::write_all(input_, base::as_bytes(text));
}
void Program::close_input() {
  close_end(input_);
}

Outcome Program::wait(std::chrono::seconds limit) {
  close_input();
  Outcome outcome;
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (output_ >= 0 || errors_ >= 0) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) {
      ::kill(pid_, SIGKILL);
      outcome.errors += "\n(killed: it took too long)";
      break;
    }
    pollfd ends[] = {{output_, POLLIN, 0}, {errors_, POLLIN, 0}};
    if (::poll(ends, 2, static_cast<int>(left.count())) <= 0) continue;
    if (ends[0].revents != 0) read_some(output_, outcome.output);
    if (ends[1].revents != 0) read_some(errors_, outcome.errors);
  }
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  if (WIFEXITED(status)) outcome.exit_code = WEXITSTATUS(status);
  return outcome;
}

Outcome run(const std::vector<std::string>& arguments,
            const std::map<std::string, std::string>& environment) {
  return Program(arguments, environment).wait();
}

}  // namespace davit::test
