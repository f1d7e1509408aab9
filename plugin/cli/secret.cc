#include "cli/secret.h"

#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "base/errors.h"
#include "base/fd.h"

namespace davit::cli {

namespace {

constexpr size_t kMaxSecretBytes = 64 << 10;

// The terminal does not show what is typed while this lives.
class Silence {
 public:
  Silence() {
    if (::tcgetattr(STDIN_FILENO, &before_) != 0)
      base::throw_errno("cannot ask on this terminal", errno);
    termios silent = before_;
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    silent.c_lflag |= ECHONL;
    // What was typed ahead was typed in the open: it is no answer.
    if (::tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent) != 0)
      base::throw_errno("cannot ask on this terminal", errno);
  }
  ~Silence() { ::tcsetattr(STDIN_FILENO, TCSANOW, &before_); }
  Silence(const Silence&) = delete;
  Silence& operator=(const Silence&) = delete;

 private:
  termios before_{};
};

std::string read_all(int fd, bool to_line_end, const Interrupt* interrupt) {
  std::string text;
  while (true) {
    if (interrupt != nullptr) {
      pollfd waiting[2] = {{fd, POLLIN, 0}, {interrupt->fd(), POLLIN, 0}};
      if (::poll(waiting, 2, -1) < 0 && errno != EINTR) base::throw_errno("poll", errno);
      if (waiting[1].revents != 0) throw base::Cancelled();
    }
    char byte = 0;
    const ssize_t got = ::read(fd, &byte, 1);  // one by one: what follows the line is not ours
    const int number = errno;
    if (got < 0 && number == EINTR) continue;
    if (got < 0) base::throw_errno("cannot read the secret", number);
    if (got == 0 || (to_line_end && byte == '\n')) break;
    text += byte;
    if (text.size() > kMaxSecretBytes)
      throw base::UsageError("a secret of more than 64 KiB is a mistake");
  }
  if (!text.empty() && text.back() == '\n') text.pop_back();
  if (!text.empty() && text.back() == '\r') text.pop_back();
  return text;
}

// The terminal must be silent before it asks: some type faster than others can switch.
std::string ask(const Silence&, const std::string& prompt, const Interrupt& interrupt) {
  std::fputs((prompt + ": ").c_str(), stderr);
  return read_all(STDIN_FILENO, true, &interrupt);
}

void refuse_empty(const std::string& secret) {
  if (secret.empty()) throw base::UsageError("an empty password protects nothing");
}

}  // namespace

std::string read_secret_file(const std::string& path) {
  const base::Fd file = base::open_file(path, O_RDONLY);
  std::string secret = read_all(file.get(), false, nullptr);
  const char* kBlank = " \t\r\n\v\f";
  const size_t begin = secret.find_first_not_of(kBlank);
  if (begin == std::string::npos) throw base::UsageError(path + " is empty");
  return secret.substr(begin, secret.find_last_not_of(kBlank) + 1 - begin);
}

std::string read_secret(const std::string& prompt, bool twice, const Interrupt& interrupt) {
  if (::isatty(STDIN_FILENO) != 1) {
    std::string secret = read_all(STDIN_FILENO, true, &interrupt);
    refuse_empty(secret);
    return secret;
  }
  const Silence silence;
  std::string secret = ask(silence, prompt, interrupt);
  refuse_empty(secret);
  if (twice && ask(silence, prompt + " again", interrupt) != secret)
    throw base::UsageError("the two were not the same");
  return secret;
}

std::string read_value(const std::string& prompt, const Interrupt& interrupt) {
  if (::isatty(STDIN_FILENO) != 1) return read_all(STDIN_FILENO, false, &interrupt);
  return ask(Silence(), prompt, interrupt);
}

}  // namespace davit::cli
