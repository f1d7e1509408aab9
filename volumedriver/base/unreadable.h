// Whether a failure to read a file says that the file itself is damaged, not that the place where it
// lies is away.
#pragma once

#include <cerrno>

#include "base/errors.h"

namespace davit::base {

// A disk that cannot read a sector any more.
inline bool is_bad_medium(const IoError& error) {
  return !error.transient() && error.number() == EIO;
}

// The place does not give the file now, which says nothing about the file.
inline bool is_place_failing(const Error& error) {
  const auto* io = dynamic_cast<const IoError*>(&error);
  return io && !is_bad_medium(*io);
}

inline bool is_damage(const Error& error) {
  if (dynamic_cast<const Corrupt*>(&error)) return true;
  const auto* io = dynamic_cast<const IoError*>(&error);
  return io && is_bad_medium(*io);
}

}  // namespace davit::base
