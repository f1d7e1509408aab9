// Where the tests' own files lie, whatever directory a test runs in.
#pragma once

#include <string>

namespace davit::test {

// A file of tests/data.
std::string data_path(const std::string& name);

}  // namespace davit::test
