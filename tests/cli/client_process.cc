#include "cli/client_process.h"

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>

#include "base/errors.h"
#include "support/temp_dir.h"

namespace davit::test {

namespace {

constexpr std::chrono::milliseconds kDeadline{60'000};

void check(int result, const char* what) {
  if (result != 0) base::throw_errno(what, result);
}

struct Pipe {
  Pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) base::throw_errno("pipe2", errno);
    read = base::Fd(ends[0]);
    write = base::Fd(ends[1]);
  }
  base::Fd read, write;
};

}  // namespace

ClientProcess::ClientProcess(const std::vector<std::string>& arguments, Options options) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  check(::posix_spawn_file_actions_init(&actions), "posix_spawn_file_actions_init");
  check(::posix_spawnattr_init(&attributes), "posix_spawnattr_init");

  base::Fd child_out, child_err, child_in;
  char terminal[64];
  if (options.on_terminal) {
    out_ = base::Fd(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    if (!out_ || ::grantpt(out_.get()) != 0 || ::unlockpt(out_.get()) != 0)
      base::throw_errno("cannot make a terminal", errno);
    const winsize size{25, 100, 0, 0};
    ::ioctl(out_.get(), TIOCSWINSZ, &size);
    check(::ptsname_r(out_.get(), terminal, sizeof terminal), "ptsname_r");
    // A session of its own: opening the terminal makes it the controlling one, so that Ctrl-C
    // works.
    check(::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID), "posix_spawnattr_setflags");
    check(::posix_spawn_file_actions_addopen(&actions, 0, terminal, O_RDWR, 0), "addopen");
    check(::posix_spawn_file_actions_adddup2(&actions, 0, 1), "adddup2");
    check(::posix_spawn_file_actions_adddup2(&actions, 0, 2), "adddup2");
  } else {
    Pipe out, err;
    const TempDir directory;  // its file lives on while it is open
    base::write_file_atomic(directory / "input", base::as_bytes(options.input));
    child_in = base::open_file(directory / "input", O_RDONLY);
    out_ = std::move(out.read);
    err_ = std::move(err.read);
    child_out = std::move(out.write);
    child_err = std::move(err.write);
    check(::posix_spawn_file_actions_adddup2(&actions, child_in.get(), 0), "adddup2");
    check(::posix_spawn_file_actions_adddup2(&actions, child_out.get(), 1), "adddup2");
    check(::posix_spawn_file_actions_adddup2(&actions, child_err.get(), 2), "adddup2");
  }

  std::vector<std::string> words{options.name};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<std::string> variables{"TZ=XST-2"};
  for (const auto& [name, value] : options.environment) variables.push_back(name + "=" + value);
  std::vector<char*> argv, envp;
  for (std::string& word : words) argv.push_back(word.data());
  for (std::string& variable : variables) envp.push_back(variable.data());
  argv.push_back(nullptr);
  envp.push_back(nullptr);
  check(::posix_spawn(&pid_, options.program.c_str(), &actions, &attributes, argv.data(),
                      envp.data()),
        "posix_spawn");
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
}

ClientProcess::~ClientProcess() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

bool ClientProcess::read_more() {
  if (!out_ && !err_) return false;
  pollfd waiting[2] = {{out_.get(), POLLIN, 0}, {err_.get(), POLLIN, 0}};
  if (::poll(waiting, 2, static_cast<int>(kDeadline.count())) <= 0) return false;
  const auto read = [](base::Fd& fd, const pollfd& state, std::string& into) {
    if (state.revents == 0) return;
    char bytes[4096];
    const ssize_t got = ::read(fd.get(), bytes, sizeof bytes);
    if (got > 0)
      into.append(bytes, static_cast<size_t>(got));
    else
      fd.reset();  // the end; a terminal says EIO
  };
  read(out_, waiting[0], ran_.out);
  read(err_, waiting[1], ran_.err);
  return true;
}

bool ClientProcess::wait_for(const std::string& text) {
  while (ran_.out.find(text) == std::string::npos && ran_.err.find(text) == std::string::npos)
    if (!read_more()) return false;
  return true;
}

void ClientProcess::type(const std::string& keys) {
  base::write_all(out_.get(), base::as_bytes(keys));
}

void ClientProcess::signal(int number) {
  ::kill(pid_, number);
}

Ran ClientProcess::finish() {
  while (read_more()) {
  }
  if (out_ || err_) return ran_;  // the deadline
  int status = 0;
  if (::waitpid(pid_, &status, 0) == pid_) {
    pid_ = -1;
    ran_.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  return ran_;
}

}  // namespace davit::test
