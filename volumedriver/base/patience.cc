#include "base/patience.h"

#include <utility>

namespace davit::base {

namespace {
thread_local Patience current;
}

const Patience& patience() {
  return current;
}

PatienceScope::PatienceScope(Patience patience) : outer_(std::exchange(current, std::move(patience))) {}

PatienceScope::~PatienceScope() {
  current = std::move(outer_);
}

}  // namespace davit::base
