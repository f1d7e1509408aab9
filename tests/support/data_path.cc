#include "support/data_path.h"

namespace davit::test {

std::string data_path(const std::string& name) {
  return std::string(TESTDATA "/") + name;
}

}  // namespace davit::test
