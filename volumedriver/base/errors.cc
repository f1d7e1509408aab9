#include "base/errors.h"

#include <cstdio>
#include <cstdlib>
#include <system_error>

namespace davit::base {

void throw_errno(std::string_view what, int number) {
  throw IoError(std::string(what) + ": " + std::generic_category().message(number), number);
}

std::string current_message() {
  try {
    throw;
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return "an unknown error";
  }
}

void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: this must hold and does not: %s\n", file, line, condition);
  std::abort();
}

}  // namespace davit::base
