// A repository on disk whose password costs a millisecond instead of a third of a second: a true one for davit and
// restic, for tests that open it often.
#pragma once

#include <string>

namespace davit::test {

inline constexpr const char* kQuickPassword = "quick";

// `path` must not hold one.
void make_quick_repository(const std::string& path, const std::string& password = kQuickPassword);

}  // namespace davit::test
