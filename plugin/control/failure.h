// What became of a command, in the words of the control protocol: the one place where kinds of
// errors turn into exit codes. They are restic's, so that scripts written for it go on working.
#pragma once

#include <exception>
#include <string>

namespace davit::control {

inline constexpr int kDone = 0, kFailed = 1, kPartial = 3, kNoRepository = 10, kLocked = 11,
                     kWrongPassword = 12, kInterrupted = 130;

struct Failure {
  int exit_code = kFailed;
  const char* kind = "internal";  // usage, not_found, conflict, corrupt, …: for programs
  std::string message;            // for people
};

Failure describe(std::exception_ptr failure);

}  // namespace davit::control
