// A directory of the test's own, removed with everything in it.
#pragma once

#include <cstdlib>
#include <string>

#include "base/errors.h"
#include "base/files.h"

namespace davit::test {

class TempDir {
 public:
  // In `parent`; else in TMPDIR, else in /tmp.
  explicit TempDir(std::string parent = "") {
    const char* base = std::getenv("TMPDIR");
    if (parent.empty()) parent = base && *base ? base : "/tmp";
    std::string name = parent + "/davit-test-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw base::Error("cannot make " + name);
    path_ = name;
  }
  ~TempDir() {
    try {
      base::remove_tree(path_);
    } catch (...) {  // a test that left something immutable has failed already
    }
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace davit::test
