// A volume's record as it lies in DATA/registry/UUID.json: an object with "version": 1. Times are
// RFC 3339 in UTC. Pure functions; any thread.
#pragma once

#include <string>

#include "base/bytes.h"
#include "volumes/registry.h"

namespace davit::volumes {

// No record is larger: options are what a command line holds.
inline constexpr size_t kLargestRecord = 4 << 20;

std::string format_record(const Volume& volume);
// Throws Corrupt saying what is wrong with it; nothing is guessed. Unsupported: written by a newer
// davit.
Volume parse_record(base::ByteView bytes);

// 8-4-4-4-12 lower-case hex digits.
bool is_uuid(std::string_view text);

}  // namespace davit::volumes
