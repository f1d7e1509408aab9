// Whether all of a sweep is to run, where else a seeded sample does (DAVIT_SOAK); and the sample's
// seed: DAVIT_SEED, or another one each day.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <ctime>

namespace davit::test {

inline bool is_soak() {
  return std::getenv("DAVIT_SOAK") != nullptr;
}

inline uint64_t daily_seed() {
  const char* const given = std::getenv("DAVIT_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 10)
                          : static_cast<uint64_t>(std::time(nullptr)) / 86400;
}

}  // namespace davit::test
