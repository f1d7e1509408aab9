// restic's exclude patterns, one a line: '*' and '?' within a component, '[a-z]', '**' across
// components;
// "/x" is anchored at the volume's root, "x" matches at any depth; a directory that matches is left
// out whole;
// "!x" takes a file back in; empty lines and lines that begin with '#' are ignored.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace davit::archive {

class Excludes {
 public:
  Excludes() = default;
  // Throws UsageError naming the line of a bad pattern.
  static Excludes parse(std::string_view lines);

  bool empty() const { return patterns_.empty(); }
  // `path`: relative to the root, components joined by '/', no leading slash.
  bool matches(std::string_view path) const;
  std::vector<std::string> lines() const;

 private:
  struct Pattern {
    std::string text;
    std::vector<std::string> components;
    bool anchored = false;
    bool negated = false;
  };
  std::vector<Pattern> patterns_;
};

}  // namespace davit::archive
