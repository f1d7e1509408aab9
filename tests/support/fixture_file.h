// What a fixture of ctest's says about the server that it started: KEY=VALUE, one a line
// (tests/store/sshd.sh, rest.sh).
#pragma once

#include <map>
#include <sstream>
#include <string>

#include "base/files.h"

namespace davit::test {

using FixtureFile = std::map<std::string, std::string>;

// Empty where none runs.
inline FixtureFile read_fixture(const std::string& path) {
  FixtureFile values;
  const auto bytes = base::find_file(path);
  std::istringstream text{std::string(bytes ? base::as_text(*bytes) : "")};
  for (std::string line; std::getline(text, line);)
    if (const size_t equals = line.find('='); equals != line.npos)
      values[line.substr(0, equals)] = line.substr(equals + 1);
  return values;
}

}  // namespace davit::test

// At the beginning of a test.
#define DAVIT_NEEDS_FIXTURE(name, path)                                      \
  const ::davit::test::FixtureFile name = ::davit::test::read_fixture(path); \
  if (name.empty()) DAVIT_SKIP("its server does not run here: run it by ctest")
