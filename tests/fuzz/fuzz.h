// A fuzzed parser may read what it is given or refuse it as Corrupt or Unsupported; anything else
// is a finding.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "base/errors.h"

namespace davit::fuzz {

template <typename Parse>
int attempt(const uint8_t* data, size_t size, Parse parse) {
  try {
    parse(base::ByteView(data, size));
  } catch (const base::Corrupt&) {
  } catch (const base::Unsupported&) {
  }
  return 0;
}

}  // namespace davit::fuzz
