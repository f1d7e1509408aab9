// The one family of errors. Everything that can go wrong in operation is thrown as an Error of a kind
// below; its what() is a sentence for a user: what failed, why, and what to do where that is known.
// Programmer errors are CHECKs. Absence is no error: find_*() returns optional, get_*() throws NotFound.
// No message ever holds a secret. Errors may cross threads as std::exception_ptr.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace davit::base {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The request itself is wrong: a bad option, name, reference, setting.
class UsageError : public Error {
 public:
  using Error::Error;
};

class NotFound : public Error {
 public:
  using Error::Error;
};

// The request is right but cannot be now: name taken, in use, still restoring.
class Conflict : public Error {
 public:
  using Error::Error;
};

// Stored or received bytes are not what they must be. Data from disk or network never reaches a CHECK.
class Corrupt : public Error {
 public:
  using Error::Error;
};

class Unsupported : public Error {
 public:
  using Error::Error;
};

// The three that restic gives exit codes of their own (10, 11, 12).
class NoRepository : public NotFound {
 public:
  using NotFound::NotFound;
};
class Locked : public Conflict {
 public:
  using Conflict::Conflict;
};
class WrongPassword : public UsageError {
 public:
  using UsageError::UsageError;
};

// A system or transport call failed. `number` is an errno (0 where there is none); `transient` means that
// the same call may succeed later without anybody doing anything.
class IoError : public Error {
 public:
  IoError(const std::string& message, int number, bool transient = false)
      : Error(message), number_(number), transient_(transient) {}
  int number() const { return number_; }
  bool transient() const { return transient_; }

 private:
  int number_;
  bool transient_;
};

// Throws IoError "WHAT: strerror". Pass errno as captured right after the call.
[[noreturn]] void throw_errno(std::string_view what, int number);

// Not an Error, so that no handler for operating errors swallows it.
class Cancelled : public std::exception {
 public:
  const char* what() const noexcept override { return "cancelled"; }
};

// The message of whatever exception is in flight; for the few catch sites.
std::string current_message();

[[noreturn]] void check_failed(const char* condition, const char* file, int line);

}  // namespace davit::base

// A programmer's error; stays on in release.
#define DAVIT_CHECK(condition) \
  ((condition) ? void(0) : ::davit::base::check_failed(#condition, __FILE__, __LINE__))
